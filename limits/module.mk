PROGRAMS += limits
limits_SRCS := limits/main.c limits/counts.c
limits_LIBS := service msgs config ipc net base

tests/unit/limits_SRCS := limits/counts.c
tests/unit/limits_LIBS := base
