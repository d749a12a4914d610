fuzz_header_SRCS := cleanup/header.c
fuzz_header_LIBS := mail base
