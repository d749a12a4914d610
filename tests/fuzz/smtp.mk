fuzz_smtp_SRCS := tests/fuzz/fakes/wire.c tests/fuzz/fakes/conv.c \
	$(filter-out smtp/main.c,$(wildcard smtp/*.c))
fuzz_smtp_WRAP := recv send poll sendfile net_connect reply_read
fuzz_smtp_LIBS := msgs config ipc tls net queue mail base
