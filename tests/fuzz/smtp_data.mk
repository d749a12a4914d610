fuzz_smtp_data_LIBS := net base
