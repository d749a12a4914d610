fuzz_serve_cleanup_SRCS := tests/fuzz/fakes/serve.c tests/fuzz/fakes/conv.c \
	tests/tools/garble.c cleanup/header.c cleanup/recipients.c \
	cleanup/message.c
fuzz_serve_cleanup_WRAP := watch_new watch_free loop_now
fuzz_serve_cleanup_LIBS := queue mail msgs config ipc net base
