fuzz_uidlist_LIBS := store mail base
