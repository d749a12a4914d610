PROGRAMS += pop3d
pop3d_SESSION_SRCS := pop3d/session.c pop3d/commands.c pop3d/emit.c \
	pop3d/cmd_capa.c pop3d/cmd_dele.c pop3d/cmd_list.c \
	pop3d/cmd_noop.c pop3d/cmd_quit.c pop3d/cmd_retr.c \
	pop3d/cmd_rset.c pop3d/cmd_stat.c pop3d/cmd_top.c pop3d/cmd_uidl.c
pop3d_SRCS := pop3d/main.c $(pop3d_SESSION_SRCS)
pop3d_LIBS := store service msgs config ipc net base

tests/unit/pop3d_SRCS := $(pop3d_SESSION_SRCS)
tests/unit/pop3d_LIBS := store net base

# Sessions on a port, without login and walls: for tests and measurements of
# the sessions alone.
TOOLS += pop3d-bare
pop3d-bare_SRCS := tests/tools/pop3d_bare.c $(pop3d_SESSION_SRCS)
pop3d-bare_LIBS := store net base
