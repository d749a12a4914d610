"""A failed login tells nothing but that it failed: the same octets and the
same time for a user who does not exist as for a wrong password; and it gets
slower by network and by user, without locking anybody out.

The time is that of the processors' clocks of `auth` (CLOCK_PROCESS_CPUTIME of
another process): what makes one login dearer than another is work that is
done there, and this clock does not run while the machine does something
else. The clock on the wall, which is what a stranger has, is held against
the same bound as far as the machine is quiet enough to tell.

A pair is a wrong password and an unknown name, one after the other, in
random order. The median of the pairs' differences has a confidence interval
that needs no distribution (order statistics of the sign test, six standard
deviations: it misses the median once in 500 million; all looks of all tests
together raise a false alarm less than once in a million runs). The bound is
5 % of the median time: passed when the interval is inside of it, failed when
it is outside, and until then more pairs are made. To be "significantly
different" is no failure: with enough pairs a microsecond is.
"""
import base64
import concurrent.futures
import math
import os
import random
import re
import socket
import statistics
import subprocess
import time

import pytest
from conftest import PASSWORD, wait_until

BOUND = 0.05            # of the median
Z = 6                   # standard deviations
FIRST, MOST = 60, 7680      # pairs

SETS = ["auth_failure_delay=0", "login_failure_limit=100", "login_timeout=1h",
        "smtpd_login_failure_limit=1000", "smtpd_hard_error_limit=1000",
        "smtpd_error_sleep_time=0", "smtpd_sasl_auth_enable=yes"]


class Wire:
    def __init__(self, inst, service, source="127.0.0.1"):
        self.sock = socket.create_connection(
            ("127.0.0.1", inst.port(service)), timeout=60,
            source_address=(source, 0))
        self.file = self.sock.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()
        self.sock.close()

    def line(self):
        return self.file.readline()

    def ask(self, text):
        self.sock.sendall(text.encode() + b"\r\n")
        return self.line()


def b64(text):
    return base64.b64encode(text.encode()).decode()


# --- the octets ---

def smtp_ehlo(w):
    w.line()
    w.sock.sendall(b"EHLO x.test\r\n")
    while w.line()[3:4] == b"-":
        pass


def try_smtp_plain(w, user, password):
    return [w.ask("AUTH PLAIN " + b64(f"\0{user}\0{password}"))]


def try_smtp_login(w, user, password):
    return [w.ask("AUTH LOGIN"), w.ask(b64(user)), w.ask(b64(password))]


def try_imap_login(w, user, password):
    return [w.ask(f'a LOGIN "{user}" "{password}"')]


def try_imap_plain(w, user, password):
    return [w.ask("a AUTHENTICATE PLAIN"),
            w.ask(b64(f"\0{user}\0{password}"))]


def try_imap_login_mech(w, user, password):
    return [w.ask("a AUTHENTICATE LOGIN"), w.ask(b64(user)),
            w.ask(b64(password))]


def try_pop3_user(w, user, password):
    return [w.ask(f"USER {user}"), w.ask(f"PASS {password}")]


def try_pop3_plain(w, user, password):
    return [w.ask("AUTH PLAIN"), w.ask(b64(f"\0{user}\0{password}"))]


TRIES = [
    ("submission", smtp_ehlo, try_smtp_plain),
    ("submission", smtp_ehlo, try_smtp_login),
    ("imap", Wire.line, try_imap_login),
    ("imap", Wire.line, try_imap_plain),
    ("imap", Wire.line, try_imap_login_mech),
    ("pop3", Wire.line, try_pop3_user),
    ("pop3", Wire.line, try_pop3_plain),
]


def add_users(inst, *users):
    """users: "name:password" ; the rest of the line is as anna's."""
    with open(os.path.join(inst.etc, "users"), "r+", encoding="ascii") as f:
        rest = re.search(r"^anna@[^:]*:[^:]*:(.*)", f.read(), re.M)[1]
        f.write("".join(f"{user}:{rest}\n" for user in users))


@pytest.fixture(scope="module")
def quick():
    """An instance that answers failed logins at once."""
    from conftest import make_instance
    inst = make_instance(sets=SETS, start=False)
    add_users(inst, "locked@our.test:!", "none@our.test:",
              "plain@our.test:{PLAIN}clear")
    assert inst.command("postern", "start").returncode == 0
    assert "line is skipped" not in inst.log()
    yield inst
    inst.end()


@pytest.mark.parametrize("service,begin,attempt", TRIES,
                         ids=[t.__name__[4:] for _, _, t in TRIES])
def test_every_failed_login_gets_the_same_octets(quick, service, begin,
                                                 attempt):
    logins = [("anna@our.test", "wrong"), ("nobody@our.test", "wrong"),
              ("nobody@our.test", PASSWORD), ("anna", "wrong"),
              ("nobody", "wrong"), ("root", "wrong"), ("bin", "wrong"),
              ("x@elsewhere.test", "wrong"), ("locked@our.test", "!"),
              ("none@our.test", "x"), ("plain@our.test", "wrong"),
              ("anna@our.test", PASSWORD + "x"),
              ("ANNA@our.test", PASSWORD.upper())]
    said = {}
    for user, password in logins:
        with Wire(quick, service) as w:
            begin(w)
            said[user, password] = [attempt(w, user, password)
                                    for _ in range(3)]
    first = said[logins[0]]
    assert all(first[0]) and b"OK" not in first[0][-1].split()[:2]
    different = {k: v for k, v in said.items() if v != first}
    assert not different
    # and it would have been seen: the right password is told
    with Wire(quick, service) as w:
        begin(w)
        assert attempt(w, "anna@our.test", PASSWORD)[-1] != first[0][-1]


# --- the time ---

class Clock:
    """Processor time of the auth processes, seconds."""

    def __init__(self, inst):
        # clock_getcpuclockid(3): the pid's complement, CPUCLOCK_SCHED
        self.ids = [(~pid << 3) | 2 for pid in inst.pids("auth")]
        assert self.ids

    def __call__(self):
        return sum(time.clock_gettime(i) for i in self.ids)


class Guesser:
    """Failed IMAP logins, many over one connection."""

    def __init__(self, inst):
        self.inst = inst
        self.wire = None
        self.left = 0
        self.clock = Clock(inst)

    def guess(self, user):
        """CPU and wall time of one failure."""
        if self.left == 0:
            if self.wire is not None:
                self.wire.sock.close()
            self.wire = Wire(self.inst, "imap")
            self.wire.line()
            self.left = 98
        self.left -= 1
        cpu, wall = self.clock(), time.perf_counter()
        said = self.wire.ask(f"a LOGIN {user} wrong-{self.left}")
        out = self.clock() - cpu, time.perf_counter() - wall
        assert said.startswith(b"a NO ["), said
        return out


def interval(differences):
    """Bounds of their median (sign test)."""
    d = sorted(differences)
    n = len(d)
    k = max(0, int(math.floor(n / 2 - Z * math.sqrt(n) / 2)))
    return d[k], d[n - 1 - k]


def judge(differences, median):
    """same, different, or open: more pairs are needed."""
    low, high = interval(differences)
    if -BOUND * median < low and high < BOUND * median:
        return "same"
    if low > BOUND * median or high < -BOUND * median:
        return "different"
    return "open"


class Comparison:
    def __init__(self, inst, known, unknown):
        """known: a user; unknown: makes a name that no user has."""
        self.guesser = Guesser(inst)
        self.known, self.unknown = known, unknown
        self.cpu, self.wall = [], []    # pairs

    def run(self, pairs):
        while len(self.cpu) < pairs:
            out = {}
            names = [(0, self.known), (1, self.unknown())]
            random.shuffle(names)
            for i, name in names:
                out[i] = self.guesser.guess(name)
            self.cpu.append((out[0][0], out[1][0]))
            self.wall.append((out[0][1], out[1][1]))

    @staticmethod
    def verdict(pairs):
        median = statistics.median(b for _, b in pairs)
        return judge([a - b for a, b in pairs],
                     max(median, statistics.median(a for a, _ in pairs)))

    def describe(self, name, pairs):
        a = statistics.median(p[0] for p in pairs)
        b = statistics.median(p[1] for p in pairs)
        low, high = interval([p[0] - p[1] for p in pairs])
        # how often a wrong password takes longer than an unknown name
        more = sum(x > y for x, y in pairs) / len(pairs)
        return (f"{name}: {len(pairs)} pairs, wrong password "
                f"{a * 1e3:.3f} ms, unknown user {b * 1e3:.3f} ms, "
                f"difference {low * 1e3:+.3f} to {high * 1e3:+.3f} ms "
                f"({100 * low / b:+.2f} to {100 * high / b:+.2f} %), "
                f"longer in {100 * more:.0f} % of the pairs")

    def decide(self, pairs):
        """The verdict about self.cpu or self.wall, once there is one."""
        n = FIRST
        while True:
            self.run(n)
            if self.verdict(pairs) != "open" or n >= MOST:
                break
            n *= 2
        print(self.describe("auth's processors", self.cpu))
        print(self.describe("the wall", self.wall))
        return self.verdict(pairs)


def unknown_name():
    return "".join(random.choices("abcdefgh", k=4)) + "@our.test"


@pytest.mark.parametrize("user", ["anna@our.test", "plain@our.test",
                                  "locked@our.test", "none@our.test",
                                  "bob"])
def test_a_failed_login_takes_the_same_time_for_all_reasons(quick, user):
    c = Comparison(quick, user,
                   unknown_name if "@" in user
                   else lambda: unknown_name().split("@")[0])
    assert c.decide(c.cpu) == "same"
    # A busy machine leaves it open; what it must not say is "different".
    assert Comparison.verdict(c.wall) != "different"


def test_a_hash_that_is_skipped_is_seen(new_instance):
    """The control: where most users' hashes cost next to nothing, so does
    the one for nobody, and the name of a user with a dear one shows."""
    inst = new_instance(sets=SETS, users=["anna"], start=False)
    p = subprocess.run(["openssl", "passwd", "-1", "cheap"], text=True,
                       capture_output=True, check=True)
    add_users(inst, *(f"cheap{i}@our.test:{p.stdout.strip()}"
                      for i in range(3)))
    assert inst.command("postern", "start").returncode == 0
    c = Comparison(inst, "anna@our.test", unknown_name)
    assert c.decide(c.cpu) == "different"
    assert c.decide(c.wall) == "different"


# --- the delay ---

def attempt(inst, user, source, password="wrong"):
    """One login; its answer and how long it took."""
    with Wire(inst, "imap", source) as w:
        w.line()
        start = time.monotonic()
        said = w.ask(f'a LOGIN {user}@our.test "{password}"')
        while said.startswith(b"*"):
            said = w.line()
        return said.split()[1], time.monotonic() - start


def test_delays_grow_by_network_and_by_user(new_instance):
    # long, so that a busy machine is no delay
    delay = 4
    inst = new_instance(sets=SETS[1:] + [
        f"auth_failure_delay={delay}s", f"auth_failure_delay_limit={2*delay}s",
        "auth_failure_soft_limit=2"])

    def failure(user, source, times):
        status, took = attempt(inst, user, source)
        assert status == b"NO"
        # how much longer is the machine's doing
        assert times * delay <= took, (user, source, took)

    def good(user, source, times):
        status, took = attempt(inst, user, source, PASSWORD)
        assert status == b"OK"
        assert times * delay <= took < (times + 1) * delay, \
            (user, source, took)

    def two_more():
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            for f in [pool.submit(attempt, inst, "nobody", f"127.0.1.{i}")
                      for i in (2, 3)]:
                assert f.result()[0] == b"NO"

    failure("anna", "127.0.1.1", 1)
    # the same network, another address and name; then its bound
    failure("bob", "127.0.1.77", 2)
    failure("nobody", "127.0.1.2", 2)
    # the same user from another network; neither of both
    failure("anna", "127.0.2.1", 2)
    failure("carol", "127.0.3.1", 1)
    # Nobody is locked out: the right password works from everywhere, at
    # once where nobody guessed, and forgives the user's failures;
    good("anna", "127.0.9.1", 0)
    failure("anna", "127.0.8.1", 1)
    # where somebody did it waits as long as the network has to, once: then
    # this user is known at this address. (A good login halves the count.)
    good("bob", "127.0.1.50", 1)
    two_more()
    good("bob", "127.0.1.50", 0)
    two_more()
    good("carol", "127.0.1.50", 1)


def test_failures_of_one_do_not_hold_up_the_others(new_instance):
    """Hundred guesses wait for their answers; a good login does not."""
    inst = new_instance(sets=SETS[1:] + [
        "auth_failure_delay=60s", "auth_failure_delay_limit=60s",
        "login_client_connection_limit=0"])
    wires = []
    try:
        for i in range(100):
            w = Wire(inst, "imap", f"127.0.4.{i + 1}")
            wires.append(w)
            w.line()
            w.sock.sendall(b"a LOGIN x@our.test wrong\r\n")
        wait_until(lambda: len(re.findall("unknown user", inst.log())) >= 100,
                   what="the guesses")
        status, took = attempt(inst, "anna", "127.0.5.1", PASSWORD)
        assert status == b"OK" and took < 30
    finally:
        for w in wires:
            w.sock.close()
