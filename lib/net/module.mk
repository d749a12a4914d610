LIBS += net tls
net_SRCS := lib/net/stream.c lib/net/smtp_data.c lib/net/addr.c \
	lib/net/nexthop.c
tls_SRCS := lib/net/tls.c lib/net/tls_conn.c lib/net/tls_key.c
tls_LDLIBS := $(OPENSSL_LDLIBS)

tests/unit/lib/net_LIBS := tls net base
