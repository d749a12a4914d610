PROGRAMS += lookup
lookup_SRCS := lookup/main.c lookup/tables.c lookup/domains.c \
	lookup/rewrite.c lookup/find.c lookup/resolve.c lookup/recipient.c \
	lookup/expand.c lookup/answer.c lookup/users.c
lookup_LIBS := table mail service msgs ipc config base
tests/unit/lookup_SRCS := $(filter-out lookup/main.c lookup/users.c,$(lookup_SRCS))
tests/unit/lookup_LIBS := table mail msgs ipc config base
