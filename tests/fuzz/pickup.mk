fuzz_pickup_SRCS := $(FUZZ_SERVE) tests/fuzz/fakes/submit.c \
	sendmail/submission.c
fuzz_pickup_LIBS := mail msgs config ipc net base
fuzz_pickup_WRAP := $(FUZZ_LOOP)
