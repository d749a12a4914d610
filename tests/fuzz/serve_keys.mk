fuzz_serve_keys_SRCS := tests/fuzz/fakes/serve.c tests/fuzz/fakes/conv.c \
	tests/tools/garble.c keys/recognise.c keys/sign.c
fuzz_serve_keys_WRAP := watch_new watch_free loop_now
fuzz_serve_keys_LIBS := msgs config ipc tls net base
