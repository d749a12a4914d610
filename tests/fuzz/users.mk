fuzz_users_SRCS := auth/users.c auth/password.c
fuzz_users_LIBS := config base
fuzz_users_LDLIBS := -lcrypt -lcrypto
