PROGRAMS += qmgr
qmgr_SRCS := qmgr/main.c qmgr/message.c qmgr/schedule.c qmgr/agents.c \
	qmgr/stock.c qmgr/record.c qmgr/load.c qmgr/retry.c \
	qmgr/operator.c qmgr/registry.c qmgr/disk.c
qmgr_LIBS := service msgs config ipc queue base
