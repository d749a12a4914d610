# One Makefile, one graph. Each directory lists its files in its module.mk.
#
#   make                 build everything into $(B) (build/)
#   make run             build, make an instance in run/, send a first message
#   make check           install what the tests need, build, lint, all tests
#   make tools           what the tests are run with (tests/crash, tests/probe,
#                        ...), to run one of them by hand
#   make crash           the crash harnesses at length: kills, power cuts,
#                        failing calls and disks (hours; POSTERN_HARNESS=h4)
#   make fuzz            every parser under libFuzzer (SECONDS=60 each,
#                        TARGET=name for one)
#   make install         DESTDIR= PREFIX= are honoured
#   make SAN=address,undefined ...   the same tree under a sanitizer
#   make deps            install the packages that the build needs (root/sudo)

B       ?= build
PREFIX  ?= /usr/local
BINDIR  ?= $(PREFIX)/bin
SBINDIR ?= $(PREFIX)/sbin
LIBEXECDIR ?= $(PREFIX)/libexec/postern
SYSCONFDIR ?= /etc/postern
MANDIR  ?= $(PREFIX)/share/man
UNITDIR ?= $(PREFIX)/lib/systemd/system
SYSUSERSDIR ?= $(PREFIX)/lib/sysusers.d
TMPFILESDIR ?= $(PREFIX)/lib/tmpfiles.d
PKG_CONFIG ?= pkg-config
PYTHON  ?= /usr/bin/python3

VERSION := 0.1.0

.DEFAULT_GOAL := all
.DELETE_ON_ERROR:

# What Debian 12 calls what we need.
BUILD_PACKAGES := gcc libc6-dev make pkg-config libssl-dev libdb-dev \
	libcap-dev libpcre2-dev libseccomp-dev libunbound-dev libidn2-dev \
	libcrypt-dev
RUN_PACKAGES   := openssl curl python3
TEST_PACKAGES  := libcmocka-dev python3 python3-pytest \
	python3-pytest-xdist nsd ldnsutils mandoc \
	curl openssl procps strace clang-tidy cppcheck libfuse3-dev e2fsprogs \
	xfsprogs btrfs-progs

include config.mk

LIBS     :=
PROGRAMS :=
TOOLS    :=
-include $(sort $(wildcard lib/*/module.mk))
-include $(sort $(wildcard */module.mk))
-include $(sort $(wildcard tests/*/module.mk))

all: programs
programs: $(PROGRAMS:%=$(B)/bin/%) links

# Objects depend on the flags they were built with.
$(B)/%.o: %.c $(B)/flags
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) $($*_CFLAGS) -c -o $@ $<

# A library is LIBS += name, name_SRCS. A program is PROGRAMS += name,
# name_SRCS, name_LIBS (in link order, highest layer first), name_LDLIBS.
define LIB_RULE
$(B)/lib$(1).a: $$($(1)_SRCS:%.c=$(B)/%.o)
	@mkdir -p $$(@D); rm -f $$@
	$$(Q)$$(AR) rcs $$@ $$^
endef
$(foreach l,$(LIBS),$(eval $(call LIB_RULE,$(l))))

define PROGRAM_RULE
$(B)/bin/$(1): $$($(1)_SRCS:%.c=$(B)/%.o) $$($(1)_LIBS:%=$(B)/lib%.a)
	@mkdir -p $$(@D)
	$$(Q)$$(CC) $$(ALL_CFLAGS) $$(ALL_LDFLAGS) -o $$@ $$($(1)_SRCS:%.c=$(B)/%.o) \
	    -Wl,--start-group $$($(1)_LIBS:%=$(B)/lib%.a) -Wl,--end-group \
	    $$(foreach l,$$($(1)_LIBS),$$($$(l)_LDLIBS)) $$($(1)_LDLIBS) -lpthread
endef
$(foreach p,$(PROGRAMS) $(TOOLS),$(eval $(call PROGRAM_RULE,$(p))))

# A unit test is tests/unit/DIR/x_test.c; tests/unit/DIR_LIBS says what it
# links (DIR_SRCS adds program files it tests).
UNIT_TESTS := $(sort $(shell find tests/unit -name '*_test.c' 2>/dev/null))
define TEST_RULE
$(B)/$(1:.c=): $(B)/$(1:.c=.o) $$($(patsubst %/,%,$(dir $(1)))_SRCS:%.c=$(B)/%.o) $$($(patsubst %/,%,$(dir $(1)))_LIBS:%=$(B)/lib%.a)
	$$(Q)$$(CC) $$(ALL_CFLAGS) $$(ALL_LDFLAGS) -o $$@ $(B)/$(1:.c=.o) $$($(patsubst %/,%,$(dir $(1)))_SRCS:%.c=$(B)/%.o) \
	    -Wl,--start-group $$($(patsubst %/,%,$(dir $(1)))_LIBS:%=$(B)/lib%.a) -Wl,--end-group \
	    $$(foreach l,$$($(patsubst %/,%,$(dir $(1)))_LIBS),$$($$(l)_LDLIBS)) $$($(patsubst %/,%,$(dir $(1)))_LDLIBS) -lcmocka -lpthread
endef
$(foreach t,$(UNIT_TESTS),$(eval $(call TEST_RULE,$(t))))
unit-tests: $(UNIT_TESTS:%.c=$(B)/%)

# --- packages ---

deps:
	@tests/install-packages $(BUILD_PACKAGES) $(RUN_PACKAGES)

test-deps:
	@tests/install-packages $(BUILD_PACKAGES) $(RUN_PACKAGES) $(TEST_PACKAGES)

# --- run and check: a second make sees what the first one installed ---

run: deps
	@$(MAKE) --no-print-directory all
	@B=$(B) tests/demo $(if $(ONCE),--once)

tools: all $(TOOLS:%=$(B)/bin/%)

check: test-deps
	@$(MAKE) --no-print-directory tools unit-tests
	@$(PYTHON) tests/run-tests.py $(B) $(KIND)

crash: test-deps
	@$(MAKE) --no-print-directory tools
	@$(PYTHON) tests/run-tests.py $(B) crash-full

# Each source of a library or a program, with the flags it is built with.
analysed-files:
	$(foreach f,$(sort $(foreach x,$(LIBS) $(PROGRAMS),$($(x)_SRCS))),$(info \
	    $(f) $(ALL_CFLAGS) $($(basename $(f))_CFLAGS)))@:

MAN_PAGES := $(wildcard man/*.[1-9])
lint:
	@$(PYTHON) tests/lint/layers.py .
	@$(PYTHON) tests/lint/banned.py .
	@$(PYTHON) tests/lint/params.py .
	@$(PYTHON) tests/lint/rfcs.py .
	@$(MAKE) -s --no-print-directory analysed-files | \
	    $(PYTHON) tests/lint/static.py $(B)
	@test -z "$(MAN_PAGES)" || mandoc -Tlint -Wwarning $(MAN_PAGES)

# --- install ---

USER_PROGRAMS := postern sendmail
SHARED_DIRS := $(BINDIR) $(SBINDIR) $(LIBEXECDIR) $(SYSCONFDIR) $(UNITDIR) \
	$(SYSUSERSDIR) $(TMPFILESDIR)
SUBST = sed -e 's|@BINDIR@|$(BINDIR)|g' -e 's|@SYSCONFDIR@|$(SYSCONFDIR)|g'

# Files that the operator changes are not overwritten.
define INSTALL_CONF
	test -e $(DESTDIR)$(2) || install -m $(3) conf/$(1) $(DESTDIR)$(2)

endef

install: all
	@$(MAKE) --no-print-directory install-built

# What is there, without building.
install-built:
	install -d $(SHARED_DIRS:%=$(DESTDIR)%)
	for p in $(filter-out $(USER_PROGRAMS),$(PROGRAMS)); do \
	    install -m 755 $(B)/bin/$$p $(DESTDIR)$(LIBEXECDIR)/$$p || exit 1; \
	done
	install -m 755 $(B)/bin/postern $(DESTDIR)$(BINDIR)/postern
	install -m 755 $(B)/bin/sendmail $(DESTDIR)$(SBINDIR)/sendmail
	for n in $(POSTERN_NAMES); do \
	    ln -sf postern $(DESTDIR)$(BINDIR)/$$n || exit 1; done
	for m in $(MAN_PAGES); do s=$${m##*.}; \
	    d=$(DESTDIR)$(MANDIR)/man$$s; install -d $$d && \
	    if test -h $$m; then cp -P $$m $$d/; \
	    else install -m 644 $$m $$d/; fi || exit 1; done
	install -d $(DESTDIR)$(MANDIR)/man5
	$(B)/bin/postern conf --man > $(DESTDIR)$(MANDIR)/man5/main.cf.5
	chmod 644 $(DESTDIR)$(MANDIR)/man5/main.cf.5
	$(call INSTALL_CONF,main.cf,$(SYSCONFDIR)/main.cf,644)
	$(call INSTALL_CONF,master.cf,$(SYSCONFDIR)/master.cf,644)
	$(call INSTALL_CONF,users,$(SYSCONFDIR)/users,640)
	mkdir -p $(DESTDIR)/etc
	$(call INSTALL_CONF,aliases,/etc/aliases,644)
	$(SUBST) conf/postern.service.in > $(DESTDIR)$(UNITDIR)/postern.service
	$(SUBST) conf/tmpfiles.conf > $(DESTDIR)$(TMPFILESDIR)/postern.conf
	install -m 644 conf/sysusers.conf $(DESTDIR)$(SYSUSERSDIR)/postern.conf
	chmod 644 $(DESTDIR)$(UNITDIR)/postern.service \
	    $(DESTDIR)$(TMPFILESDIR)/postern.conf

clean:
	rm -rf $(B)

.PHONY: all programs unit-tests tools clean links run check crash lint analysed-files deps test-deps install \
	install-built fmt
.SECONDARY:
-include $(shell find $(B) -name '*.d' 2>/dev/null)
