PROGRAMS += launch
launch_SRCS := launch/main.c
launch_LIBS := service msgs config ipc base
