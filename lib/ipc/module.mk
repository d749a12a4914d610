LIBS += ipc
ipc_SRCS := lib/ipc/msg.c lib/ipc/conv.c
tests/unit/lib/ipc_LIBS := ipc base
