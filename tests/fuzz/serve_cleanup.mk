fuzz_serve_cleanup_SRCS := $(FUZZ_SERVE) cleanup/header.c cleanup/recipients.c \
	cleanup/message.c
fuzz_serve_cleanup_WRAP := $(FUZZ_LOOP)
fuzz_serve_cleanup_LIBS := queue mail msgs config ipc net base
