fuzz_charset_LIBS := mail base
