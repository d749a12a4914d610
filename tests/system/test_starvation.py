"""Crowds of clients who behave badly: thousands that trickle, stop reading,
never finish TLS or a command, announce what they do not send, or just sit
there. While they do, a newcomer from another address is served; memory and
descriptors stay under the bounds that doc/ARCHITECTURE.md states; and when
they go all of it comes back.

The bounds are of a session, of all programs of the suite together: what the
kernel says is theirs alone (Pss), before and while the crowd is there.
"""
import contextlib
import os
import re
import resource
import smtplib
import socket
import subprocess
import threading
import time

import pytest
from conftest import (BIN, PASSWORD, is_sanitized, make_instance,
                      wait_until)

CROWD = os.path.join(BIN, "crowd")
FILES = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
# A sanitizer keeps what was freed, and has books of its own of each thread:
# with it memory is not judged, and fewer come.
SANITIZED = is_sanitized()
SHARE = 8 if SANITIZED else 1
# As many as the machine allows: each is a descriptor here and there.
MANY = min(2000, FILES // 8) // SHARE
SOME = MANY // 8        # where the same code was under MANY already
ALL = min(10000, FILES // 2 - 500) // SHARE
NEWCOMER = "127.0.2.1"
# How long a newcomer may wait; a busy machine is slow, a starved server is
# for ever.
PATIENCE = 60

KB = 1024
KEPT = 8e6              # octets, of a program that had a crowd
NETWORK = 10            # programs that meet clients


class Crowd:
    """See tests/tools/crowd.c."""

    def __init__(self, port, count, *steps, **options):
        cmd = [CROWD, "--port", str(port), "--count", str(count)]
        for name, value in options.items():
            cmd += [f"--{name}", str(value)]
        self.count = count
        self.process = subprocess.Popen(
            cmd + [str(s) for s in steps], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True)
        self.said = {}
        self.thread = threading.Thread(target=self.listen, daemon=True)
        self.thread.start()

    def listen(self):
        for line in self.process.stdout:
            words = line.split()
            self.said = dict(zip(words[::2], map(int, words[1::2])))

    def __getitem__(self, name):
        return self.said.get(name, 0)

    def wait_ready(self, count=None):
        try:
            wait_until(lambda: self["ready"] >= (count or self.count), 300)
        except AssertionError:
            raise AssertionError(
                f"a crowd of {count or self.count}: {self.said}, exit status "
                f"{self.process.poll()}") from None

    def wait_full(self, least):
        """More than there are sessions have come; of those who have one, a
        few may just be leaving."""
        wait_until(lambda: self["tried"] >= self.count, 300,
                   what=f"a crowd of {self.count}: {self.said}")
        self.wait_ready(least)

    def leave(self):
        self.process.stdin.close()
        self.process.wait(300)
        self.thread.join(300)


@contextlib.contextmanager
def crowd(*args, **options):
    c = Crowd(*args, **options)
    try:
        yield c
    finally:
        c.leave()


def pss(pid):
    try:
        with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as f:
            return int(re.search(r"^Pss:\s+(\d+)", f.read(), re.M)[1]) * KB
    except (FileNotFoundError, ProcessLookupError, TypeError):
        return 0


def count_in(pid, what):
    try:
        return len(os.listdir(f"/proc/{pid}/{what}"))
    except (FileNotFoundError, ProcessLookupError):
        return 0


PROGRAMS = ["master", "log", "smtpd", "pickup", "cleanup", "qmgr", "smtp",
            "local", "bounce", "lookup", "dns", "auth", "keys", "limits",
            "login", "launch", "deliver", "imapd", "pop3d"]


class Use:
    """What the suite has in use."""

    def __init__(self, inst):
        pids = [p for name in PROGRAMS for p in inst.pids(name)]
        self.memory = sum(map(pss, pids))
        self.files = sum(count_in(p, "fd") for p in pids)
        self.threads = sum(count_in(p, "task") for p in pids)

    def __str__(self):
        return (f"{self.memory / 1e6:.1f} MB, {self.files} descriptors, "
                f"{self.threads} threads")


class Site:
    def __init__(self, *sets, users=()):
        self.inst = make_instance(
            users=["anna", "bob", "carol", *users], sets=[
                "default_process_limit=24000", "smtpd_error_sleep_time=0",
                "auth_failure_delay=0", "login_client_connection_limit=0",
                *sets])
        # its programs have started
        self.newcomer()
        for service in ("imaps", "pop3", "submissions"):
            with socket.create_connection(
                    ("127.0.0.1", self.inst.port(service)), timeout=60) as c:
                if service == "pop3":
                    assert c.recv(100).startswith(b"+OK")
        self.first = self.before = Use(self.inst)

    def newcomer(self):
        """Somebody who only wants his mail: seconds to banner, to the
        message in the mailbox, to the IMAP login."""
        start = time.monotonic()
        took = []
        with smtplib.SMTP("127.0.0.1", self.inst.port("smtp"),
                          timeout=PATIENCE,
                          source_address=(NEWCOMER, 0)) as s:
            took.append(time.monotonic() - start)
            s.ehlo("newcomer.test")
            have = len(self.inst.messages("carol"))
            refused = s.sendmail("a@elsewhere.test", ["carol@our.test"],
                                 "Subject: t\r\n\r\nbody\r\n")
            assert not refused
        wait_until(lambda: len(self.inst.messages("carol")) > have, PATIENCE,
                   "the newcomer's message")
        took.append(time.monotonic() - start)
        start = time.monotonic()
        with socket.create_connection(
                ("127.0.0.1", self.inst.port("imap")), timeout=PATIENCE,
                source_address=(NEWCOMER, 0)) as s:
            f = s.makefile("rb")
            assert f.readline().startswith(b"* OK")
            s.sendall(f'a LOGIN bob@our.test "{PASSWORD}"\r\n'.encode())
            assert b"a OK" in f.readline()
            took.append(time.monotonic() - start)
            s.sendall(b"b SELECT INBOX\r\n")
            while not f.readline().startswith(b"b OK"):
                pass
        return took

    def judge(self, name, sessions, memory, files):
        """A newcomer is served, and each session costs at most so much."""
        took = [self.newcomer()]
        use = Use(self.inst)
        each = (use.memory - self.before.memory) / sessions
        each_files = (use.files - self.before.files) / sessions
        each_threads = (use.threads - self.before.threads) / sessions
        print(f"\n{name}: {sessions} sessions, {use}; each "
              f"{each / KB:.1f} kB, {each_files:.2f} descriptors, "
              f"{each_threads:.2f} threads; newcomer: banner "
              f"{max(t[0] for t in took):.2f} s, delivered "
              f"{max(t[1] for t in took):.2f} s, IMAP login "
              f"{max(t[2] for t in took):.2f} s")
        # what is kept for the next ones (conversations) is no session's
        spare = min(1, sessions / 1000)
        assert SANITIZED or \
            each <= memory * KB + 8e6 / sessions * spare, (name, each)
        assert each_files <= files + 512 / sessions, (name, each_files)

    def recovers(self, name, before, files, threads):
        """All comes back when they are gone. A program that had thousands
        of threads keeps the C library's cache of their stacks."""
        start = time.monotonic()
        use = None

        def same():
            nonlocal use
            use = Use(self.inst)
            return (use.files <= before.files + files and
                    use.threads <= before.threads + threads and
                    (SANITIZED or
                     use.memory <= before.memory + KEPT * NETWORK))
        try:
            wait_until(same, 300)   # to look takes seconds of its own
        except AssertionError:
            raise AssertionError(f"{name}: before {before}, "
                                 f"afterwards {use}") from None
        print(f"{name}: afterwards {use}, before {before}, "
              f"{time.monotonic() - start:.1f} s")

    def endure(self, name, service, count, steps, memory, files,
               ready=None, **options):
        """A crowd comes, stays, is judged and goes. ready 0: it is thrown
        out sooner or later, which is as good."""
        self.before = Use(self.inst)
        with crowd(self.inst.port(service), count, *steps, **options) as c:
            if ready == 0:
                wait_until(lambda: c["ready"] + c["closed"] >= count, 300,
                           what=f"{name}: {c.said}")
            else:
                c.wait_ready(ready)
            self.judge(name, count, memory, files)
        self.recovers(name, self.before, 600, 600)


@pytest.fixture(scope="module")
def site():
    s = Site(users=[f"u{i}" for i in range(READERS)])
    yield s
    s.inst.end()


READERS = 20
LOGIN = ("hear", "* OK", "say", f'a LOGIN anna@our.test "{PASSWORD}"\\r\\n',
         "hear", "a OK")
SELECT = (*LOGIN, "say", "b SELECT INBOX\\r\\n", "hear", "b OK")
MAIL = ("hear", "220", "say", "EHLO x.test\\r\\n", "hear", "250 ",
        "say", "MAIL FROM:<a@x.test>\\r\\n", "hear", "250 ")
DATA = (*MAIL, "say", "RCPT TO:<anna@our.test>\\r\\n", "hear", "250 ",
        "say", "DATA\\r\\n", "hear", "354")
NESTED = "--b\\r\\nContent-Type: multipart/mixed; boundary=b\\r\\n\\r\\n"
# The start of a record with a ClientHello that never ends.
HELLO = "\x16\x03\x01\x02\\0\x01\\0\x01\x60\x03\x03" + "x" * 300

# name, service, how many, steps, most kB and descriptors of each, options
CROWDS = [
    ("SMTP commands an octet at a time", "smtp", MANY,
     ("hear", "220", "trickle", 500, "NOOP\\r\\n"), 64, 1.1, {}),
    ("SMTP connections that sleep", "smtp", ALL,
     ("hear", "220", "stay"), 64, 1.1, {"rate": 4000}),
    ("IMAP commands an octet at a time", "imap", MANY,
     ("hear", "* OK", "trickle", 500, "a NOOP\\r\\n"), 64, 1.1, {}),
    ("IMAP before login, deaf", "imap", SOME,
     ("hear", "* OK", "deaf", "flood", "a CAPABILITY\\r\\n" * 50), 96, 1.1,
     {"rcvbuf": 4096}),
    ("TLS that never begins", "imaps", MANY, ("stay",), 128, 1.1, {}),
    ("a ClientHello an octet at a time", "submissions", MANY,
     ("trickle", 500, HELLO), 128, 1.1, {}),
    ("STARTTLS and nothing", "smtp", SOME,
     ("hear", "220", "say", "EHLO x.test\\r\\n", "hear", "250 ", "say",
      "STARTTLS\\r\\n", "hear", "220", "stay"), 128, 1.1, {}),
    ("100 MB announced before login", "imap", SOME,
     ("hear", "* OK", "say", "a LOGIN {100000000}\\r\\n", "stay"), 64, 1.1,
     {"ready": 0}),
    ("100 MB announced before login, {+}", "imap", SOME,
     ("hear", "* OK", "say", "a LOGIN {100000000+}\\r\\n", "stay"), 64, 1.1,
     {"ready": 0}),
    ("50 MB announced to APPEND", "imap", 50,
     (*LOGIN, "say", "b APPEND INBOX {50000000}\\r\\n", "hear", "+ ",
      "trickle", 100, "x"), 256, 9, {}),
    ("100 MB announced to APPEND, {+}", "imap", 50,
     (*LOGIN, "say", "b APPEND INBOX {100000000+}\\r\\n", "stay"), 256, 9,
     {"ready": 0}),
    ("100 MB announced to SEARCH", "imap", 50,
     (*LOGIN, "say", "b SEARCH TEXT {100000000}\\r\\n", "stay"), 256, 9,
     {"ready": 0}),
    ("IDLE", "imap", MANY,
     (*SELECT, "say", "c IDLE\\r\\n", "hear", "+ ", "stay"), 64, 7.1, {}),
    ("IMAP that fetches all and reads nothing", "imap", 100,
     (*SELECT, "say", "c FETCH 1:* (BODY[])\\r\\n", "deaf"), 512, 9,
     {"rcvbuf": 4096}),
    ("POP3 that retrieves and reads nothing", "pop3", READERS,
     ("hear", "+OK", "say", "USER u%d@our.test\\r\\n", "hear", "+OK", "say",
      f"PASS {PASSWORD}\\r\\n", "hear", "+OK", "say", "RETR 1\\r\\n",
      "deaf"), 6000, 60, {"rcvbuf": 4096}),
    ("a line without end", "smtp", 200,
     ("hear", "220", "flood", "x" * 4000), 128, 3, {"ready": 0}),
    ("recipients without end", "smtp", 100,
     (*MAIL, "flood", "RCPT TO:<anna@our.test>\\r\\n" * 20), 512, 6,
     {"ready": 0}),
    ("header fields without end", "smtp", 100,
     (*DATA, "flood", "X-Header: " + "y" * 60 + "\\r\\n"), 768, 8,
     {"ready": 0}),
    ("a header field without end", "smtp", 100,
     (*DATA, "flood", "X-Header: " + "y" * 60 + "\\r\\n "), 768, 8,
     {"ready": 0}),
    ("MIME parts without end", "smtp", 100,
     (*DATA, "say", "Content-Type: multipart/mixed; boundary=b\\r\\n\\r\\n",
      "flood", NESTED * 10), 768, 8, {"ready": 0}),
    ("content at the least rate", "smtp", 200,
     (*DATA, "trickle", 20, "x" * 70 + "\\r\\n"), 256, 4, {}),
]


def test_the_mail_that_readers_fetch(site):
    """Not a crowd yet: what the deaf ones below ask for."""
    text = "Subject: big\r\n\r\n" + ("x" * 70 + "\r\n") * 20000
    for _ in range(3):
        site.inst.send("anna", text)
    site.inst.send([f"u{i}" for i in range(READERS)], text)
    site.inst.wait_messages("anna", 3)
    for i in range(READERS):
        site.inst.wait_messages(f"u{i}", 1)


@pytest.mark.parametrize("name,service,count,steps,memory,files,options",
                         CROWDS, ids=[c[0] for c in CROWDS])
def test_a_crowd_costs_little_and_keeps_nobody_out(
        site, name, service, count, steps, memory, files, options):
    site.endure(name, service, count, steps, memory, files, **options)


def test_everything_comes_back(site):
    """Also what was kept for the next who ask: as it was at first."""
    # (mail that waits to be delivered, and a reader's process, may be there)
    site.recovers("all of them", site.first, 150, 60)
    assert not re.search(r"panic:|killed by signal", site.inst.log())


def test_limits_of_one_address_hold(new_instance):
    """10,000 connections from one address: fifty stay."""
    del new_instance
    s = Site("smtpd_client_event_limit_exceptions=",
             "smtpd_client_connection_count_limit=50",
             "login_client_connection_limit=50")
    try:
        for service, hear in (("smtp", "220"), ("imap", "* OK")):
            with crowd(s.inst.port(service), ALL, "hear", hear, "stay",
                       rate=4000, addresses=1) as c:
                wait_until(lambda: c["ready"] + c["closed"] + c["failed"] >=
                           ALL, 300, f"the end of it: {c.said}")
                s.newcomer()
                assert c["ready"] <= 50 < c["closed"], c.said
        assert "limits is away" not in s.inst.log()
    finally:
        s.inst.end()


@pytest.mark.parametrize("networks", [1, 400])
def test_when_all_sessions_are_taken_a_newcomer_gets_one(networks):
    """Twice as many clients as sessions, without limits by address: from
    one network, and each from its own."""
    s = Site("default_process_limit=200")
    try:
        with crowd(s.inst.port("smtp"), 400, "hear", "220", "trickle", 500,
                   "NOOP\\r\\n", addresses=400 if networks > 1 else 100,
                   apart=256 if networks > 1 else 1) as c:
            c.wait_full(150)
            took = s.newcomer()
            print(f"\n{networks} networks: banner {took[0]:.2f} s, {c.said}")
        s.inst.wait_log("sessions are taken: .* make room")
    finally:
        s.inst.end()


def test_who_works_is_not_made_to_go():
    """A slow but steady sender keeps his session through an overload."""
    s = Site("default_process_limit=200")
    try:
        with socket.create_connection(
                ("127.0.0.1", s.inst.port("smtp")), timeout=60,
                source_address=("127.0.7.1", 0)) as c:
            f = c.makefile("rb")
            for line in ("", "HELO x.test", "MAIL FROM:<a@x.test>",
                         "RCPT TO:<bob@our.test>", "DATA"):
                if line:
                    c.sendall(line.encode() + b"\r\n")
                assert f.readline()[:1] in b"23"
            with crowd(s.inst.port("smtp"), 400, "hear", "220", "trickle",
                       500, "NOOP\\r\\n") as crowded:
                crowded.wait_full(150)
                for _ in range(10):
                    c.sendall(b"Subject: t\r\n" * 10)
                    s.newcomer()
                c.sendall(b"\r\n.\r\n")
                assert f.readline().startswith(b"250")
    finally:
        s.inst.end()
