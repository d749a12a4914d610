PROGRAMS += cleanup
cleanup_PARTS := cleanup/header.c cleanup/recipients.c cleanup/message.c \
	cleanup/stock.c
cleanup_SRCS := cleanup/main.c $(cleanup_PARTS)
cleanup_LIBS := queue mail service msgs config ipc net base

tests/unit/cleanup_SRCS := $(cleanup_PARTS)
tests/unit/cleanup_LIBS := queue mail msgs config ipc net base
