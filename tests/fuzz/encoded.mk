fuzz_encoded_LIBS := store mail base
