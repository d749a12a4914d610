fuzz_serve_launch_SRCS := $(FUZZ_SERVE)
fuzz_serve_launch_LIBS := msgs config ipc net base
fuzz_serve_launch_WRAP := $(FUZZ_LOOP) waitpid kill
