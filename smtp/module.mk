PROGRAMS += smtp
smtp_CORE := smtp/reply.c smtp/why.c smtp/target.c \
	smtp/config.c smtp/session.c smtp/message.c smtp/recode.c smtp/job.c \
	smtp/transact.c smtp/cache.c smtp/deliver.c
smtp_SRCS := smtp/main.c $(smtp_CORE)
smtp_LIBS := service msgs config ipc tls net queue mail base
tests/unit/smtp_SRCS := $(smtp_CORE)
tests/unit/smtp_LIBS := msgs config ipc tls net queue mail base
