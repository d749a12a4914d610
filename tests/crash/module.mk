TOOLS += crash-h1
crash-h1_SRCS := tests/crash/h1.c tests/crash/scratch.c tests/crash/shadow.c
crash-h1_LIBS := queue base
TOOLS += crash-store
crash-store_SRCS := tests/crash/h1_store.c tests/crash/scratch.c \
	tests/crash/shadow.c
crash-store_LIBS := store base
TOOLS += crash-mbox
crash-mbox_SRCS := tests/crash/h1_mbox.c tests/crash/scratch.c \
	tests/crash/shadow.c local/deliver_mbox.c local/dotlock.c \
	local/deliver_common.c
crash-mbox_LIBS := queue msgs ipc base
crash-mbox_LDLIBS := $(OPENSSL_LDLIBS)
TOOLS += crash-swap
crash-swap_SRCS := tests/crash/swap.c
TOOLS += crash-recorder crash-replay crash-losing
crash-recorder_SRCS := tests/crash/recorder.c
tests/crash/recorder_CFLAGS := $(shell $(PKG_CONFIG) --cflags fuse3 2>/dev/null)
crash-recorder_LDLIBS := $(shell $(PKG_CONFIG) --libs fuse3 2>/dev/null)
crash-replay_SRCS := tests/crash/replay.c
crash-losing_SRCS := tests/crash/losing.c
crash-losing_LIBS := queue base
crash-losing_LDLIBS := $(OPENSSL_LDLIBS)
TOOLS += crash-trace
crash-trace_SRCS := tests/crash/trace.c tests/crash/trace_rule.c \
	tests/crash/trace_death.c
crash-trace_LDLIBS := -lseccomp
TOOLS += crash-oracle
crash-oracle_SRCS := tests/crash/oracle.c tests/crash/oracle_ledger.c \
	tests/crash/oracle_content.c tests/crash/oracle_places.c
crash-oracle_LIBS := queue msgs ipc base
crash-oracle_LDLIBS := $(OPENSSL_LDLIBS)
TOOLS += crash-early-deliver
crash-early-deliver_SRCS := $(deliver_SRCS) tests/crash/early_deliver.c
crash-early-deliver_LIBS := $(deliver_LIBS)
crash-early-deliver_LDLIBS := -Wl,--wrap=delivery_commit,--wrap=inbox_release
