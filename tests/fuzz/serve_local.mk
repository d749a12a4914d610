fuzz_serve_local_SRCS := $(FUZZ_AGENT) tests/fuzz/fakes/submit.c \
	tests/fuzz/fakes/queue_file.c local/recipient.c local/targets.c \
	local/forward.c
fuzz_serve_local_LIBS := queue mail msgs config ipc net base
fuzz_serve_local_WRAP := $(FUZZ_LOOP) $(FUZZ_CLOCK) $(FUZZ_AGENT_WRAP)
