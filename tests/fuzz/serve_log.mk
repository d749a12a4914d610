fuzz_serve_log_SRCS := $(FUZZ_SERVE)
fuzz_serve_log_LIBS := msgs config ipc net base
fuzz_serve_log_WRAP := $(FUZZ_LOOP) $(FUZZ_CLOCK) syslog openlog
