LIBS += mail
mail_SRCS := lib/mail/status.c lib/mail/path.c lib/mail/utf8.c
tests/unit/lib/mail_LIBS := mail base
