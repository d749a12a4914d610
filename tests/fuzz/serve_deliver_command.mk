fuzz_serve_deliver_command_SRCS := $(FUZZ_SERVE) \
	tests/fuzz/fakes/queue_file.c local/deliver_common.c
fuzz_serve_deliver_command_LIBS := queue mail msgs config ipc net base
fuzz_serve_deliver_command_WRAP := $(FUZZ_LOOP) $(FUZZ_CLOCK) clock_poll_ms \
	poll
