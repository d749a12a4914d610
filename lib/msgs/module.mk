LIBS += msgs
# One source file a conversation.
msgs_SRCS := $(sort $(wildcard lib/msgs/*.c))
tests/unit/lib/msgs_LIBS := msgs ipc base
