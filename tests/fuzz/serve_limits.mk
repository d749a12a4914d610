fuzz_serve_limits_SRCS := tests/fuzz/fakes/serve.c tests/fuzz/fakes/conv.c \
	tests/tools/garble.c limits/counts.c
fuzz_serve_limits_WRAP := watch_new watch_free loop_now
fuzz_serve_limits_LIBS := msgs config ipc net base
