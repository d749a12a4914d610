fuzz_serve_auth_SRCS := tests/fuzz/fakes/serve.c tests/fuzz/fakes/conv.c \
	tests/tools/garble.c $(filter-out auth/main.c,$(wildcard auth/*.c))
fuzz_serve_auth_WRAP := watch_new watch_free loop_now nanosleep \
	crypt_rn
fuzz_serve_auth_LIBS := msgs config ipc net base
fuzz_serve_auth_LDLIBS := -lcrypt -lcrypto
