PROGRAMS += postern
# cmd_*.c: one verb a file; commands.def lists them for main.c.
postern_SRCS := $(sort $(wildcard postern/*.c))
postern_LIBS := queue mail table service msgs config ipc net base
postern_LDLIBS := -lcrypto -lcrypt

# Names that scripts know are the same binary.
POSTERN_NAMES := mailq newaliases postconf postmap postalias postqueue \
	postsuper postcat
links: $(B)/bin/postern
	$(Q)for n in $(POSTERN_NAMES); do ln -sf postern $(B)/bin/$$n; done
