fuzz_mime_LIBS := mail base
