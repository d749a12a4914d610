fuzz_recode_SRCS := smtp/recode.c sendmail/input.c
fuzz_recode_LIBS := mail base
