fuzz_login_SRCS := tests/fuzz/fakes/wire.c tests/fuzz/fakes/conv.c \
	$(filter-out login/main.c login/relay.c,$(wildcard login/*.c))
fuzz_login_WRAP := recv send poll sendfile
fuzz_login_LIBS := msgs config ipc tls net base
