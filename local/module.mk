PROGRAMS += local deliver deliver_command
local_SRCS := local/main.c local/recipient.c local/users.c local/targets.c \
	local/forward.c
local_LIBS := queue mail service msgs config ipc base
DELIVER_COMMON := local/deliver_common.c local/deliver_mbox.c \
	local/deliver_maildir.c local/dotlock.c
deliver_SRCS := local/deliver_main.c local/deliver_forward.c \
	$(DELIVER_COMMON)
deliver_LIBS := store queue mail service msgs config ipc net base
deliver_command_SRCS := local/deliver_command_main.c \
	local/deliver_command.c local/keeper.c $(DELIVER_COMMON)
deliver_command_LIBS := store queue mail service msgs config ipc net base
tests/unit/local_SRCS := local/targets.c local/keeper.c local/dotlock.c
tests/unit/local_LIBS := mail base
