PROGRAMS += keys
keys_SRCS := keys/main.c keys/recognise.c keys/sign.c
keys_LIBS := service msgs config ipc base
keys_LDLIBS := -lcrypto

tests/unit/keys_SRCS := keys/recognise.c keys/sign.c
tests/unit/keys_LIBS := tls net base
