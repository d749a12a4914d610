fuzz_log_SRCS := smtp/reply.c
fuzz_log_LIBS := mail net base
