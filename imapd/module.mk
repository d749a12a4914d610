PROGRAMS += imapd
imapd_SESSION_SRCS := imapd/session.c imapd/commands.c imapd/parse.c \
	imapd/sync.c imapd/notify.c imapd/list_match.c imapd/fetch_parse.c \
	imapd/search_parse.c imapd/search_match.c imapd/cmd_append.c \
	imapd/cmd_capability.c imapd/cmd_copy.c imapd/cmd_expunge.c \
	imapd/cmd_fetch.c imapd/cmd_folders.c imapd/cmd_id.c \
	imapd/cmd_idle.c imapd/cmd_list.c imapd/cmd_logout.c \
	imapd/cmd_noop.c imapd/cmd_search.c imapd/cmd_select.c \
	imapd/cmd_status.c imapd/cmd_store.c imapd/cmd_uid.c
imapd_SRCS := imapd/main.c $(imapd_SESSION_SRCS)
imapd_LIBS := store mail service msgs config ipc net base

tests/unit/imapd_SRCS := imapd/parse.c imapd/list_match.c
tests/unit/imapd_LIBS := mail base

# Sessions on a port, without login and walls: for tests and measurements of
# the sessions alone.
TOOLS += imapd-bare
imapd-bare_SRCS := tests/tools/imapd_bare.c $(imapd_SESSION_SRCS)
imapd-bare_LIBS := store mail net base
