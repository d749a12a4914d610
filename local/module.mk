PROGRAMS += local deliver
local_SRCS := local/main.c local/users.c
local_LIBS := service msgs config ipc base
deliver_SRCS := local/deliver_main.c local/deliver_maildir.c
deliver_LIBS := store queue mail service msgs config ipc net base
