fuzz_msgs_LIBS := msgs ipc base
# All that the headers declare, so that a new message cannot be left out.
tests/fuzz/msgs_CFLAGS := -D'SCHEMAS=$(shell sed -n \
	's/^extern const struct msg_schema \([a-z_]*\);.*/X(\1)/p' lib/msgs/*.h)'
