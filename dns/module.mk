LIBS += resolver
resolver_SRCS := dns/answer.c dns/servers.c dns/ubloop.c dns/resolver.c \
	dns/client.c
resolver_LDLIBS := $(UNBOUND_LDLIBS)
PROGRAMS += dns
dns_SRCS := dns/main.c
dns_LIBS := resolver service msgs config ipc base
tests/unit/dns_LIBS := resolver msgs ipc base

# Questions from standard input, without conversations and walls: for tests.
TOOLS += dns-bare
dns-bare_SRCS := tests/tools/dns_bare.c
dns-bare_LIBS := resolver msgs ipc base
