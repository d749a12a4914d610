fuzz_serve_qmgr_SRCS := $(FUZZ_SERVE) $(addprefix tests/fuzz/fakes/,disk.c \
	qmgr_neighbours.c qmgr_hostile.c qmgr_spool.c) \
	$(filter-out qmgr/disk.c,$(qmgr_CORE))
fuzz_serve_qmgr_WRAP := $(FUZZ_LOOP) $(FUZZ_CLOCK) nanosleep
fuzz_serve_qmgr_LIBS := msgs config ipc queue net base
