fuzz_expand_LIBS := config base
