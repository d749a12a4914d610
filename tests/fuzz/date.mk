fuzz_date_LIBS := mail base
