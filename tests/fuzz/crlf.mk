fuzz_crlf_LIBS := store mail net base
