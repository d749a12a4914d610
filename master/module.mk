PROGRAMS += master
master_SRCS := master/main.c master/plan.c master/sockets.c master/spool.c \
	master/children.c master/files.c
master_LIBS := service msgs config ipc base
