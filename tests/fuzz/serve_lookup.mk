fuzz_serve_lookup_SRCS := tests/fuzz/fakes/serve.c tests/fuzz/fakes/conv.c \
	tests/tools/garble.c $(filter-out lookup/main.c,$(wildcard lookup/*.c))
fuzz_serve_lookup_WRAP := watch_new watch_free loop_now
fuzz_serve_lookup_LIBS := table mail msgs ipc config base net
