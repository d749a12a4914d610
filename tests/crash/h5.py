#!/usr/bin/python3
"""h5.py: each durable or resource call of the programs fails once.

    h5.py [--ways smtp,...] [--programs cleanup,...] [--sample N] [--starts N]
          [--whole WAY:PROGRAM,...] [--calls openat,...] [--without mmap,...]
          [--jobs N] [--seed S] [--keep] [-v]

A site is the k-th call of one kind (openat, write, mmap, ...) by one program
on one message's way. A point is a site and an errno, or a short write: that
call is not done and returns it. Then:

    what was acknowledged arrives, and nothing else was promised: the client
    read a 250 or a 4xx (its own connection may break when the fault was in
    the program that talks with it), and no 250 after a flush that failed;
    no program panicked or died of a signal;
    without the fault the next message goes through.

Before that the control: deliver's write of the message is not done but
pretended. If that is not noticed the harness is blind and fails.

--sample N: N points of each way and program (0: all), but for those named by
--whole. --starts N: also N points in the start of each program and of master:
the suite has to start all the same, or say why it does not and start the next
time.
"""
import argparse
import os
import re
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import points  # noqa: E402
import traced  # noqa: E402

# What a call on a file of a disk can say.
DISK = ("EIO", "ENOSPC", "EDQUOT", "EROFS")
TABLE = ("EMFILE", "ENFILE")
# Call -> errors. EINTR only where a call waits (signal(7)); EAGAIN only where
# it may be asked not to wait, or means a limit of processes. ENOMEM: all that
# the kernel needs memory for.
ERRORS = {
    "open": DISK + TABLE + ("ENOMEM", "EINTR"),
    "openat": DISK + TABLE + ("ENOMEM", "EINTR"),
    # EAGAIN: a rename raced with RESOLVE_BENEATH (openat2(2))
    "openat2": DISK + TABLE + ("ENOMEM", "EINTR", "EAGAIN"),
    "fsync": ("EIO", "ENOSPC", "EDQUOT", "EROFS", "EINTR"),
    "fdatasync": ("EIO", "ENOSPC", "EDQUOT", "EROFS", "EINTR"),
    "syncfs": ("EIO", "ENOSPC", "EDQUOT"),
    "rename": DISK + ("ENOMEM",),
    "renameat": DISK + ("ENOMEM",),
    "renameat2": DISK + ("ENOMEM",),
    "link": DISK + ("ENOMEM",),
    "linkat": DISK + ("ENOMEM",),
    "unlink": ("EIO", "EROFS", "ENOMEM"),
    "unlinkat": ("EIO", "EROFS", "ENOMEM"),
    "mkdir": DISK + ("ENOMEM",),
    "mkdirat": DISK + ("ENOMEM",),
    "ftruncate": ("EIO", "EROFS", "EINTR", "ENOSPC"),
    "fallocate": ("EIO", "ENOSPC", "EDQUOT", "EROFS", "EINTR"),
    "fchmod": ("EIO", "EROFS"),
    "utimensat": ("EIO", "EROFS"),
    "getdents64": ("EIO", "ENOMEM"),
    "newfstatat": ("EIO", "ENOMEM"),
    "statx": ("EIO", "ENOMEM"),
    "flock": ("EINTR", "ENOMEM"),
    "accept4": TABLE + ("ENOMEM", "EINTR", "EAGAIN", "ENOBUFS"),
    "clone": ("EAGAIN", "ENOMEM"),
    "clone3": ("EAGAIN", "ENOMEM"),
    "fork": ("EAGAIN", "ENOMEM"),
    "vfork": ("EAGAIN", "ENOMEM"),
    "mmap": ("ENOMEM",),
    "brk": ("ENOMEM",),
    "mremap": ("ENOMEM",),
    "mprotect": ("ENOMEM",),
    "socket": TABLE + ("ENOMEM", "ENOBUFS"),
    "socketpair": TABLE + ("ENOMEM",),
    "eventfd2": TABLE + ("ENOMEM",),
    "epoll_create1": TABLE + ("ENOMEM",),
    "epoll_ctl": ("ENOMEM", "ENOSPC"),
    "epoll_wait": ("EINTR",),
    "poll": ("EINTR", "ENOMEM"),
    "connect": ("EAGAIN", "EINTR"),
    "inotify_add_watch": ("ENOSPC", "ENOMEM"),
    "inotify_init1": TABLE + ("ENOMEM",),
}
FLUSHES = ("fsync", "fdatasync", "syncfs")
WRITES = ("write", "pwrite64", "writev", "pwritev")
READS = ("read", "pread64", "readv", "preadv")
ON_FILE = {
    "write": DISK + ("EINTR", "ENOMEM", "short"),
    "read": ("EIO", "EINTR", "ENOMEM"),
}
# (EINTR: no handler is installed, but a stop and a tracer make it.)
ON_SOCKET = {
    "write": ("EINTR", "EAGAIN", "ENOMEM"),
    "read": ("EINTR", "EAGAIN", "ENOMEM"),
    "send": ("EINTR", "EAGAIN", "ENOMEM", "ENOBUFS"),
}
# Done, and an error all the same: that is how close(2) is. The descriptor is
# gone in any case.
CLOSE = ("EIO", "ENOSPC", "EDQUOT", "EINTR")
# Whose fault may break off the client's connection.
FACING = ("smtpd", "login", "imapd", "pop3d", "sendmail", "launch", "pickup")
# Descriptors that a program may have more after all that: conversations that
# are kept; mailboxes, two each.
ROOM = {"deliver": 20 + 2 * traced.USERS}


def errors_of(call, about):
    """What makes sense for a call on that descriptor."""
    is_file = about.startswith("/") and not about.startswith("/dev/")
    # a counter that is never full and never waited for cannot say no
    if "[eventfd]" in about or "[signalfd]" in about:
        return ()
    if call == "epoll_ctl" and about != "add":
        return ()       # a change of what is watched needs no memory
    if about.endswith("(read)"):    # it needs no room
        return tuple(e for e in ERRORS[call]
                     if e not in ("ENOSPC", "EDQUOT", "EROFS"))
    if call in ERRORS:
        return ERRORS[call]
    if call in WRITES:
        return (ON_FILE if is_file else ON_SOCKET)["write"]
    if call in READS:
        return (ON_FILE if is_file else ON_SOCKET)["read"]
    if call in ("sendmsg", "sendto"):
        return ON_SOCKET["send"]
    if call in ("recvmsg", "recvfrom"):
        return ON_SOCKET["read"]
    if call == "close":
        return CLOSE if is_file else ()
    # what cannot fail so, or what nobody looks at: futex, getpid, ...
    return ()


def is_promised(call, error, path):
    """Whether who answers must not say yes after that flush has failed."""
    if call not in FLUSHES or error == "EINTR":
        return False
    if path.endswith("/spool/done"):
        return False    # what agents did; they keep it until it is there
    # What removes mail goes on where there is no room: the next look at the
    # directory finds what the list was not told.
    return not (path.endswith("/postern-uidlist") and
                error in ("ENOSPC", "EDQUOT"))


def without_loader(calls):
    """The calls behind those of the loader of shared libraries, which ends
    the program (or crashes) before a line of ours runs; and how many of each
    kind were before."""
    at = 0
    for i, (call, _, about) in enumerate(calls):
        if re.search(r"\.so[.0-9]*( |$)", about) or call == "execveat":
            at = i + 1
    while 0 < at < len(calls) and calls[at - 1][0] != "munmap" and \
            calls[at][0] in ("mmap", "mprotect", "munmap", "arch_prctl",
                             "set_tid_address", "set_robust_list", "rseq",
                             "prlimit64", "close"):
        at += 1
    seen = {}
    for call, _, _ in calls[:at]:
        seen[call] = seen.get(call, 0) + 1
    return calls[at:], seen


def action_of(call, error):
    if error == "short":
        return "short"
    return f"{'fail-after' if call == 'close' else 'fail'} {error}"


def is_stock(link):
    """Files of the queue that qmgr keeps to give them again (QMGR_SPARES)."""
    try:
        return "/spool/incoming/" in os.readlink(link)
    except OSError:
        return False    # closed meanwhile


class Faults(points.Points):
    def sites(self, calls):
        """(call, k, error) of a recorded run."""
        out = []
        calls, seen = without_loader(calls)
        only = self.options.calls.split(",") if self.options.calls else None
        for call, _, about in calls:
            seen[call] = k = seen.get(call, 0) + 1
            if (only is None or call in only) and \
                    call not in self.options.without.split(","):
                out += [(call, k, e) for e in errors_of(call, about)]
        return out

    def judge(self, way, program, name, result):
        """What the client read."""
        if result == "broken":
            if program not in FACING:
                self.suite.problem(f"BROKEN OFF {name}")
        elif result.startswith("refused "):
            code = result.split()[1]
            if not self.suite.ways[way].is_honest(code):
                self.suite.problem(f"REFUSED {name}: {code}")

    def point(self, way, program, site):
        suite = self.suite
        call, k, error = site
        name = f"{way}-{program}-{call}-{k}-{error}"
        token = self.begin(way, f"{way}-{program}-{k}")
        self.tracer.forget()
        self.tracer.command(f"rule {program} {call} {k} "
                            f"{action_of(call, error)}")
        count = suite.count_alive(program)
        suite.ledger(f"fault {name}")
        result = self.send(way, token)
        fired = self.wait_moment(way, token, result)
        self.tracer.command("off")
        if fired is None:
            if result != "acked":
                suite.problem(f"STUCK {name} {token}: {result} without a "
                              "fault")
            return
        self.fired += 1
        told = f"{name} {token} {' '.join(fired[5:])}"
        self.judge(way, program, told, result)
        self.tell(told, suite.ways[way].wrong(token, result))
        if result == "acked" and program in suite.ways[way].promises and \
                is_promised(call, error, fired[5]) and \
                not suite.ways[way].answered_before(fired):
            suite.problem(f"PROMISED {told}")
        for event in self.tracer.events:
            if event[0] == "ended" and event[3] != "0" and \
                    event[1] in traced.PERMANENT:
                self.exits.setdefault(program, set()).add(f"{call} {error}")
        if not suite.wait_replaced(program, count):
            suite.problem(f"   after {name}")
        if result == "refused 452":
            # it goes on to say that for 10 s: new ones know nothing of it
            suite.kill("smtpd", most=99)
        self.goes_through(way, f"after {name}")

    def path(self, way, program, sample, part):
        first, step = part
        self.watch(program)
        sites = self.sites(self.record(way, program))
        if sample:
            chance = self.chance(way, program)
            sites = sorted(chance.sample(sites, min(sample, len(sites))))
        before = self.descriptors(program)
        for site in sites[first::step]:
            self.point(way, program, site)
        self.wait_open()
        self.goes_through(way)
        room = ROOM.get(program, 20)
        # (what is under way is over in a moment)
        self.suite.wait_for(lambda: not self.leaking(program, before, room),
                            10)
        for pid, n in self.leaking(program, before, room).items():
            self.suite.problem(f"LEAK {program} has {n} descriptors, "
                               f"had {before[pid]}")
        self.tracer.command("watch -")

    def leaking(self, program, before, room):
        return {pid: n for pid, n in self.descriptors(program).items()
                if n > before.get(pid, n) + room}

    def descriptors(self, program):
        out = {}
        for pid in self.suite.pids.get(program, ()):
            try:
                fds = os.listdir(f"/proc/{pid}/fd")
                out[pid] = sum(not is_stock(f"/proc/{pid}/fd/{fd}")
                               for fd in fds)
            except OSError:
                pass
        return out

    def starts(self, program, sample, part):
        suite = self.suite
        first, step = part
        self.tracer.command(f"watch {program}")
        sites = self.sites(self.record_start(program))
        chance = self.chance("start", program)
        sites = sorted(chance.sample(sites, min(sample, len(sites))))
        for call, k, error in sites[first::step]:
            name = f"start-{program}-{call}-{k}-{error}"
            suite.end()
            self.tracer.forget()
            self.tracer.command(f"rule {program} {call} {k} "
                                f"{action_of(call, error)}")
            suite.ledger(f"fault {name}")
            status = suite.start()
            self.points += 1
            self.fired += self.tracer.wait(0, "fired") is not None
            self.tracer.command("off")
            if program != "master" and status != 0:
                suite.problem(f"STUCK {name}: the suite does not start")
            if not suite.instance.is_running():
                self.begin_again(name)
            self.goes_through("smtp", f"after {name}")
        self.tracer.command("watch -")

    def do(self, kind, way, program, sample, part):
        self.exits = {}
        if kind == "start":
            self.starts(program, sample, part)
        else:
            self.path(way, program, sample, part)
        for p, why in self.exits.items():
            self.notes.append(f"{way} {p} ended at: {', '.join(sorted(why))}")


def main():
    a = argparse.ArgumentParser()
    points.add_options(a)
    a.add_argument("--calls", help="only these, comma between")
    a.add_argument("--without", default="", help="not these: a sanitizer "
                   "ends the program when it gets no memory for itself")
    options = a.parse_args()
    traced.need_machine()
    if not points.control("write,pwrite64,writev@/tmp/ 1+ pretend",
                          "deliver"):
        print("h5: a message that was never written was not missed")
        return 1
    todo = points.controls(options)
    for way, program in points.pairs(options):
        todo += points.parts("path", way, program,
                             points.sample_of(options, way, program))
    if options.starts:
        for program in points.STARTED:
            todo += points.parts("start", "-", program, options.starts)
    return points.run("h5", Faults, todo, options)


if __name__ == "__main__":
    sys.exit(main())
