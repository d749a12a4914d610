fuzz_table_LIBS := table config base
