fuzz_numbers_SRCS := imapd/parse.c
fuzz_numbers_LIBS := queue mail net base
