fuzz_serve_limits_SRCS := $(FUZZ_SERVE) limits/counts.c
fuzz_serve_limits_WRAP := $(FUZZ_LOOP)
fuzz_serve_limits_LIBS := msgs config ipc net base
