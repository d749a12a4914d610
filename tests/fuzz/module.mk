# A target is tests/fuzz/TARGET.c. Beside it there may be
#   TARGET.mk    fuzz_TARGET_SRCS: files of programs (or of tests) it tests
#                fuzz_TARGET_LIBS: only these instead of FUZZ_LIBS
#                fuzz_TARGET_WRAP: functions whose calls it takes (ld --wrap)
#                fuzz_TARGET_LDLIBS
#   TARGET.dict  words of its grammar, for libFuzzer
#   TARGET.args  arguments for libFuzzer ("-max_len=20000")
#
# Two builds, each in a directory of its own, made by a second make:
# $(B)/fuzz with clang and libFuzzer, $(B)/fuzz-replay with the ordinary
# compiler and replay.c. Coverage is compiled into both: it counts steps.

FUZZ_TARGETS := $(sort $(filter-out fuzz replay, \
	$(patsubst tests/fuzz/%.c,%,$(wildcard tests/fuzz/*.c))))
FUZZ_PACKAGES := clang libclang-rt-14-dev
FUZZ_LIBS := store table queue mail msgs service config tls net ipc base
FUZZ_CLANG ?= clang
FUZZ_CFLAGS := -O1 -g -fsanitize-coverage=trace-pc
# In the second make: what has a main().
FUZZ_ENGINE ?= replay
FUZZ_MAIN_replay := $(B)/tests/fuzz/replay.o
FUZZ_FLAGS_libfuzzer := -fsanitize=fuzzer

# What fakes/loop.c takes; the second where times matter.
FUZZ_LOOP := watch_new watch_want watch_free timer_new timer_at timer_in \
	timer_stop timer_runs timer_free loop_now
FUZZ_CLOCK := clock_now clock_wall
# For a program that serves conversations (fakes/serve.h).
FUZZ_SERVE := $(addprefix tests/fuzz/fakes/,serve.c loop.c conv.c) \
	tests/tools/garble.c
# For an agent (fakes/agent.h).
FUZZ_AGENT := $(FUZZ_SERVE) tests/fuzz/fakes/agent.c
FUZZ_AGENT_WRAP := usleep pthread_cond_timedwait

-include $(FUZZ_TARGETS:%=tests/fuzz/%.mk)

define FUZZ_RULE
$(B)/bin/fuzz-$(1): $(B)/tests/fuzz/$(1).o $(B)/tests/fuzz/fuzz.o \
    $(FUZZ_MAIN_$(FUZZ_ENGINE)) $$(fuzz_$(1)_SRCS:%.c=$(B)/%.o) \
    $$(patsubst %,$(B)/lib%.a,$$(or $$(fuzz_$(1)_LIBS),$$(FUZZ_LIBS)))
	@mkdir -p $$(@D)
	$$(Q)$$(CC) $$(ALL_CFLAGS) $$(ALL_LDFLAGS) $(FUZZ_FLAGS_$(FUZZ_ENGINE)) \
	    -Wl,--wrap=__sanitizer_cov_trace_pc \
	    $$(fuzz_$(1)_WRAP:%=-Wl,--wrap=%) -o $$@ $$(filter %.o,$$^) \
	    -Wl,--start-group $$(filter %.a,$$^) -Wl,--end-group \
	    $$(foreach l,$$(or $$(fuzz_$(1)_LIBS),$$(FUZZ_LIBS)),$$($$(l)_LDLIBS)) \
	    $$(fuzz_$(1)_LDLIBS) -lpthread
endef
$(foreach t,$(FUZZ_TARGETS),$(eval $(call FUZZ_RULE,$(t))))

TARGET ?= $(FUZZ_TARGETS)
fuzz-programs: $(TARGET:%=$(B)/bin/fuzz-%)

# What run-tests.py (kind fuzz) replays.
fuzz-replay:
	@$(MAKE) --no-print-directory B=$(B)/fuzz-replay SAN=address,undefined \
	    CFLAGS='$(FUZZ_CFLAGS)' FUZZ_ENGINE=replay fuzz-programs

# make fuzz SECONDS=60 TARGET="path header"
SECONDS ?= 60
fuzz-build:
	$(foreach t,$(filter-out $(FUZZ_TARGETS),$(TARGET)),$(error there is \
	    no fuzz target $(t): $(FUZZ_TARGETS)))
	@tests/install-packages $(BUILD_PACKAGES) $(FUZZ_PACKAGES)
	@$(MAKE) --no-print-directory B=$(B)/fuzz CC=$(FUZZ_CLANG) \
	    SAN=fuzzer-no-link,address,undefined CFLAGS='$(FUZZ_CFLAGS)' \
	    FUZZ_ENGINE=libfuzzer fuzz-programs
fuzz: fuzz-build
	@$(PYTHON) tests/fuzz/fuzz.py run $(B)/fuzz $(SECONDS) $(TARGET)
# What make fuzz found new goes into tests/fuzz/corpus, minimised.
fuzz-merge: fuzz-build
	@$(PYTHON) tests/fuzz/fuzz.py merge $(B)/fuzz $(TARGET)

.PHONY: fuzz-programs fuzz-replay fuzz-build fuzz fuzz-merge
