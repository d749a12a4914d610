PROGRAMS += log
log_SRCS := log/main.c
log_LIBS := service msgs config ipc base
