PROGRAMS += smtpd
smtpd_PARTS := smtpd/access.c smtpd/restriction.c smtpd/esmtp.c \
	smtpd/command.c smtpd/session.c smtpd/client.c smtpd/policy.c \
	smtpd/txn.c smtpd/config.c \
	smtpd/cmd_auth.c smtpd/cmd_bdat.c smtpd/cmd_data.c smtpd/cmd_helo.c \
	smtpd/cmd_mail.c smtpd/cmd_noop.c smtpd/cmd_quit.c smtpd/cmd_rcpt.c \
	smtpd/cmd_rset.c smtpd/cmd_starttls.c smtpd/cmd_vrfy.c
smtpd_SRCS := smtpd/main.c $(smtpd_PARTS)
smtpd_LIBS := mail service msgs config ipc tls net base

tests/unit/smtpd_SRCS := $(smtpd_PARTS) tests/unit/smtpd/fake.c
tests/unit/smtpd_LIBS := mail msgs config ipc tls net base
