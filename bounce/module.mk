PROGRAMS += bounce
bounce_CORE := bounce/notice.c bounce/submission.c
bounce_SRCS := bounce/main.c $(bounce_CORE)
bounce_LIBS := service msgs config ipc queue mail base
