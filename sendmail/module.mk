PROGRAMS += sendmail pickup
sendmail_SRCS := sendmail/main.c sendmail/options.c sendmail/input.c \
	sendmail/message.c sendmail/send.c sendmail/drop.c
sendmail_LIBS := mail msgs config ipc base
pickup_SRCS := sendmail/pickup_main.c sendmail/submission.c \
	sendmail/maildrop.c sendmail/operator.c
pickup_LIBS := mail service msgs config ipc base
sendmail/main_CFLAGS := -DPOSTERN_BINDIR='"$(BINDIR)"'
tests/unit/sendmail_SRCS := sendmail/input.c
tests/unit/sendmail_LIBS := config ipc base
