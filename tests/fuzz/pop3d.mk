fuzz_pop3d_SRCS := tests/fuzz/fakes/wire.c tests/fuzz/fakes/maildir.c \
	$(filter-out pop3d/main.c,$(wildcard pop3d/*.c))
fuzz_pop3d_WRAP := recv send poll sendfile clock_wall
fuzz_pop3d_LIBS := store net base
