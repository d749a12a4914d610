LIBS += resolver
resolver_SRCS := dns/answer.c dns/servers.c dns/ubloop.c dns/resolver.c
resolver_LDLIBS := $(UNBOUND_LDLIBS)
tests/unit/dns_LIBS := resolver msgs ipc base
