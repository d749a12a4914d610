fuzz_serve_pickup_SRCS := $(FUZZ_SERVE) tests/fuzz/fakes/submit.c \
	sendmail/submission.c sendmail/operator.c
fuzz_serve_pickup_LIBS := mail msgs config ipc net base
fuzz_serve_pickup_WRAP := $(FUZZ_LOOP)
