fuzz_names_SRCS := imapd/list_match.c
fuzz_names_LIBS := store mail base
