LIBS += mail
mail_SRCS := lib/mail/status.c lib/mail/path.c lib/mail/utf8.c \
	lib/mail/crlf.c lib/mail/compose.c lib/mail/date.c lib/mail/header.c
tests/unit/lib/mail_LIBS := mail base
