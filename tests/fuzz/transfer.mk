fuzz_transfer_LIBS := mail base
