fuzz_serve_dns_SRCS := $(FUZZ_SERVE) dns/answer.c dns/servers.c \
	dns/resolver.c dns/client.c
fuzz_serve_dns_LIBS := msgs config ipc net base
fuzz_serve_dns_WRAP := $(FUZZ_LOOP) $(FUZZ_CLOCK)
