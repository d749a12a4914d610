# Compiler, flags and libraries: what the machine has, found once per run.
# The packager's CFLAGS, CPPFLAGS and LDFLAGS are never overridden; ours are
# in variables of their own.

V ?=
Q := $(if $(V),,@)
CFLAGS  ?= -O2 -g
CPPFLAGS ?=
LDFLAGS ?=

IS_CLANG := $(shell $(CC) --version 2>/dev/null | grep -ci clang)

try_flag = $(shell echo 'int main(void){return 0;}' | \
	$(CC) -O2 -Werror $(1) -x c -o /dev/null - 2>/dev/null && echo '$(1)')

WARN_CFLAGS := -Wall -Wextra -Wshadow -Wstrict-prototypes \
	-Wmissing-prototypes -Wformat=2 -Wvla -Wno-missing-field-initializers -Werror

ifeq ($(SAN),)
HARDEN := $(call try_flag,-fstack-protector-strong) \
	$(call try_flag,-fstack-clash-protection) \
	$(call try_flag,-fcf-protection=full) \
	$(if $(filter 0,$(IS_CLANG)),$(call try_flag,-ftrivial-auto-var-init=zero),$(call try_flag,-ftrivial-auto-var-init=pattern)) \
	-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3
else
HARDEN := -fsanitize=$(SAN) -fno-omit-frame-pointer -fno-sanitize-recover=all \
	-DPOSTERN_SAN=1
endif
HARDEN += -fno-strict-aliasing -fno-delete-null-pointer-checks -fPIE

ALL_CFLAGS = -std=gnu17 -D_GNU_SOURCE -I. -Ilib -MMD -MP \
	-ffile-prefix-map=$(CURDIR)=. -DPOSTERN_VERSION='"$(VERSION)"' \
	-DPOSTERN_SYSCONFDIR='"$(SYSCONFDIR)"' \
	-DPOSTERN_LIBEXECDIR='"$(LIBEXECDIR)"' \
	$(WARN_CFLAGS) $(HARDEN) $(CPPFLAGS) $(CFLAGS)
ALL_LDFLAGS = -pie -Wl,-z,relro,-z,now,-z,noexecstack,--as-needed $(LDFLAGS)

OPENSSL_LDLIBS  := -lssl -lcrypto
UNBOUND_LDLIBS  := -lunbound
SECCOMP_LDLIBS  := -lseccomp
# Berkeley DB has no .pc file: found by a compile test.
BDB_LDLIBS := $(shell echo '\#include <db.h>' | $(CC) -E -x c - >/dev/null 2>&1 && echo -ldb)

# Flags are part of what an object is made from.
$(B)/flags: FORCE
	@mkdir -p $(@D); echo '$(CC) $(ALL_CFLAGS)' | cmp -s - $@ || echo '$(CC) $(ALL_CFLAGS)' > $@
FORCE:
