fuzz_queue_file_LIBS := queue base
