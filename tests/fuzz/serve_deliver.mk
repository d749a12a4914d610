fuzz_serve_deliver_SRCS := $(FUZZ_SERVE) \
	tests/fuzz/fakes/queue_file.c local/deliver_common.c \
	local/deliver_mbox.c local/deliver_forward.c local/dotlock.c
fuzz_serve_deliver_LIBS := store queue mail msgs config ipc net base
fuzz_serve_deliver_WRAP := $(FUZZ_LOOP)
