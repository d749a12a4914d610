PROGRAMS += auth
auth_SRCS := auth/main.c auth/users.c auth/password.c auth/cache.c \
	auth/sessions.c
auth_LIBS := service msgs config ipc base
auth_LDLIBS := -lcrypt -lcrypto

tests/unit/auth_SRCS := auth/users.c auth/password.c auth/cache.c
tests/unit/auth_LIBS := config base
tests/unit/auth_LDLIBS := -lcrypt -lcrypto
