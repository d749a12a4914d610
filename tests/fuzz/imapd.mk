fuzz_imapd_SRCS := tests/fuzz/fakes/wire.c tests/fuzz/fakes/maildir.c \
	$(filter-out imapd/main.c,$(wildcard imapd/*.c))
fuzz_imapd_WRAP := recv send poll sendfile clock_wall
fuzz_imapd_LIBS := store mail net base
