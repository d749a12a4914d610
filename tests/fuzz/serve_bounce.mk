fuzz_serve_bounce_SRCS := $(FUZZ_AGENT) tests/fuzz/fakes/submit.c \
	bounce/notice.c bounce/submission.c
fuzz_serve_bounce_LIBS := queue mail msgs config ipc net base
fuzz_serve_bounce_WRAP := $(FUZZ_LOOP) $(FUZZ_AGENT_WRAP)
