fuzz_serve_auth_SRCS := $(FUZZ_SERVE) \
	$(filter-out auth/main.c,$(wildcard auth/*.c))
fuzz_serve_auth_WRAP := $(FUZZ_LOOP) nanosleep crypt_rn
fuzz_serve_auth_LIBS := msgs config ipc net base
fuzz_serve_auth_LDLIBS := -lcrypt -lcrypto
