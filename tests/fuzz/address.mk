fuzz_address_LIBS := mail base
