LIBS += queue
queue_SRCS := lib/queue/id.c lib/queue/format.c lib/queue/envelope.c \
	lib/queue/commit.c lib/queue/read.c lib/queue/log.c \
	lib/queue/spool.c lib/queue/settle.c lib/queue/recover.c lib/queue/done.c \
	lib/queue/operate.c
tests/unit/lib/queue_LIBS := queue base
