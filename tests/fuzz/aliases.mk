fuzz_aliases_SRCS := local/targets.c
fuzz_aliases_LIBS := table config mail base
