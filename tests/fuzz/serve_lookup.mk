fuzz_serve_lookup_SRCS := $(FUZZ_SERVE) $(filter-out lookup/main.c,$(wildcard lookup/*.c))
fuzz_serve_lookup_WRAP := $(FUZZ_LOOP)
fuzz_serve_lookup_LIBS := table mail msgs ipc config base net
