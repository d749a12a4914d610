fuzz_stream_LIBS := net base
