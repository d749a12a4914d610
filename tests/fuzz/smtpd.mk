WIRE_WRAP := recv send poll sendfile
FUZZ_FAKES := tests/fuzz/fakes/wire.c tests/fuzz/fakes/conv.c
fuzz_smtpd_SRCS := $(FUZZ_FAKES) \
	$(filter-out smtpd/main.c,$(wildcard smtpd/*.c))
fuzz_smtpd_WRAP := $(WIRE_WRAP) txn_storage_is_low
fuzz_smtpd_LIBS := mail msgs config ipc tls net base
