TOOLS += hostile
hostile_SRCS := tests/tools/hostile.c tests/tools/garble.c
hostile_LIBS := msgs service config tls net ipc base
TOOLS += crowd
crowd_SRCS := tests/tools/crowd.c
