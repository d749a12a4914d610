TOOLS += crash-h1
crash-h1_SRCS := tests/crash/h1.c tests/crash/shadow.c
crash-h1_LIBS := queue base
TOOLS += crash-store
crash-store_SRCS := tests/crash/h1_store.c tests/crash/shadow.c
crash-store_LIBS := store base
