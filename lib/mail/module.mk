LIBS += mail
mail_SRCS := lib/mail/status.c lib/mail/path.c lib/mail/utf8.c \
	lib/mail/crlf.c lib/mail/compose.c lib/mail/date.c lib/mail/header.c \
	lib/mail/transfer.c lib/mail/charset.c lib/mail/charset_tables.c \
	lib/mail/fold.c lib/mail/encoded.c lib/mail/params.c lib/mail/utf7.c \
	lib/mail/address.c lib/mail/address_append.c \
	lib/mail/mime.c lib/mail/imap_format.c lib/mail/imap_section.c \
	lib/mail/base_subject.c lib/mail/search_text.c \
	lib/mail/idn.c
mail_LDLIBS := -lidn2
tests/unit/lib/mail_LIBS := mail base
