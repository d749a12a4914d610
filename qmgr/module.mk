PROGRAMS += qmgr
qmgr_CORE := qmgr/core.c qmgr/message.c qmgr/schedule.c qmgr/agents.c \
	qmgr/stock.c qmgr/record.c qmgr/load.c qmgr/retry.c \
	qmgr/operator.c qmgr/registry.c qmgr/disk.c
qmgr_SRCS := qmgr/main.c $(qmgr_CORE)
qmgr_LIBS := service msgs config ipc queue base
# The tests put a service of their own around it.
tests/unit/qmgr_SRCS := $(qmgr_CORE)
tests/unit/qmgr_LIBS := msgs config ipc queue base
