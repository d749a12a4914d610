PROGRAMS += login
login_SRCS := login/main.c login/client.c login/imap.c login/imap_command.c \
	login/pop3.c login/sasl.c login/handover.c login/relay.c
login_LIBS := service msgs config ipc tls net base

tests/unit/login_SRCS := login/imap_command.c login/sasl.c
tests/unit/login_LIBS := net base
