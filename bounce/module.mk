PROGRAMS += bounce
bounce_SRCS := bounce/main.c bounce/notice.c bounce/submission.c
bounce_LIBS := service msgs config ipc queue mail base
# The test collects what would be submitted.
tests/unit/bounce_SRCS := bounce/notice.c
tests/unit/bounce_LIBS := config queue mail base
