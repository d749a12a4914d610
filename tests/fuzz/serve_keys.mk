fuzz_serve_keys_SRCS := $(FUZZ_SERVE) keys/recognise.c keys/sign.c
fuzz_serve_keys_WRAP := $(FUZZ_LOOP)
fuzz_serve_keys_LIBS := msgs config ipc tls net base
