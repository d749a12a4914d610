"""Fixtures: instances of the real programs on loopback.

    instance          one for a test module, users anna bob carol
    new_instance      a function that makes more: new_instance(users=...,
                      sets=..., as_user=uid) -> Instance

An Instance fails the test that used it when a program of it died of a signal
or a sanitizer wrote a report.
"""
import contextlib
import glob
import imaplib
import importlib
import itertools
import os
import poplib
import pwd
import random
import re
import select
import shutil
import signal
import smtplib
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import weakref

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))
BUILD = os.environ.get("POSTERN_BUILD", os.path.join(ROOT, "build"))
BIN = os.path.join(BUILD, "bin")
PASSWORD = "pass word-1"
# How long a wait for what has to happen may last: it ends as soon as it does,
# and a busy machine (four runs beside each other, harnesses, lint) is slow.
PATIENCE = 120
# Ports below those that the kernel gives to clients: the bases of instances
# lie 41 apart, so that no two of them have a port in common whatever is added
# (postern/cmd_init.c); behind them single ones. Workers of one run
# (pytest -n) have bases of their own.
BASES, SINGLES = range(10000, 30000, 41), range(31000, 32700)
_worker = os.environ.get("PYTEST_XDIST_WORKER", "gw0")
_workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))


def _mine(ports):
    mine = ports[int(_worker[2:]) % _workers::_workers]
    return itertools.cycle(random.sample(mine, len(mine)))


_bases, _singles = _mine(BASES), _mine(SINGLES)
_claims = {}


def claim(port):
    """Whether it is ours now: between two uses of a port nobody listens
    there, and another run of these tests must not take it meanwhile. (The
    name of a socket is given back with the process.)"""
    s = socket.socket(socket.AF_UNIX)
    try:
        s.bind(f"\0postern-test-port-{port}")
    except OSError:
        s.close()
        return False
    _claims[port] = s
    return True


def release(port):
    if port in _claims:
        _claims.pop(port).close()


def claim_base():
    return next(base for base in _bases if claim(base))


def free_port(host="127.0.0.1"):
    """A port for a server of the test, or for nobody: it stays ours to the
    end of the run, and no client is given it in between."""
    for port in _singles:
        if not claim(port):
            continue
        try:
            for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                with socket.socket(socket.AF_INET, kind) as s:
                    s.bind((host, port))
            return port
        except OSError:
            release(port)   # somebody else's
    raise AssertionError("no free ports")


def wait_until(check, timeout=PATIENCE, what="it"):
    """Polls until check() is true and returns that."""
    deadline = time.monotonic() + timeout
    while True:
        value = check()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not happen in {timeout} s")
        time.sleep(0.01)


def with_lines(report):
    """A sanitizer's report with source lines: behind its walls a process can
    read no symbols."""
    frames = {}
    for name, at in set(re.findall(r"\((?:\S*/)?([\w-]+)\+(0x[0-9a-f]+)\)",
                                   report)):
        path = os.path.join(BIN, name)
        if os.path.exists(path):
            p = subprocess.run(["addr2line", "-fse", path, at],
                               stdout=subprocess.PIPE, text=True, check=False)
            frames[f"{name}+{at})"] = " ".join(p.stdout.split()[:2])
    for frame, line in frames.items():
        report = report.replace(frame, f"{frame} {line}")
    return report


def is_sanitized(kinds=(b"__asan_", b"__tsan_")):
    """Whether the programs carry a sanitizer, whose memory is not theirs."""
    with open(os.path.join(BIN, "smtpd"), "rb") as f:
        content = f.read()
    return any(kind in content for kind in kinds)


class Instance:
    def __init__(self, directory, users, sets, domain, as_user):
        self.dir = directory
        self.domain = domain
        self.as_user = as_user
        self.users = users
        self.marks = itertools.count()
        for _ in range(40):
            self.base = claim_base()
            cmd = [os.path.join(BIN, "postern"), "init", directory,
                   "--port-base", str(self.base), "--domain", domain]
            for user in users:
                address = user if "@" in user else f"{user}@{domain}"
                cmd += ["--user", f"{address}:{PASSWORD}"]
            for item in sets:
                cmd += ["--set", item]
            p = self._run(cmd)
            if p.returncode == 0:
                # once: at the end, or when it is forgotten without one
                self.release = weakref.finalize(self, release, self.base)
                break
            release(self.base)
            if "port" not in p.stderr:
                raise RuntimeError(p.stderr)
        self.values = dict(line.split("=", 1)
                           for line in p.stdout.splitlines())
        self.etc = self.values["config"]
        self.log_path = self.values["log"]

    def _run(self, cmd, **kw):
        if self.as_user is not None:
            kw.update(user=self.as_user, group=self.as_user, extra_groups=[])
        # What a command still has at its end is no leak.
        kw.setdefault("env", dict(os.environ, ASAN_OPTIONS="detect_leaks=0"))
        kw.setdefault("stdin", subprocess.DEVNULL)
        if "input" in kw:
            del kw["stdin"]
        return subprocess.run(cmd, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True,
                              timeout=120, check=False, **kw)

    def command(self, name, *args, **kw):
        """A command of the suite under its name, with our configuration."""
        if name == "postern":
            args = ("-c", self.etc) + args
        elif name in ("sendmail", "mailq", "newaliases"):
            args = ("-C", self.etc) + args
        else:
            args = ("-c", self.etc) + args
        return self._run([os.path.join(BIN, name), *args], **kw)

    def port(self, name):
        return int(self.values[name])

    def start(self):
        p = self.command("postern", "start")
        assert p.returncode == 0, p.stderr + self.log()
        return self

    def stop(self):
        return self.command("postern", "stop")

    def is_running(self):
        return self.command("postern", "status").returncode == 0

    def log(self):
        """What was written so far. All programs say their lines into one
        socket: when one is here, so are those that anybody said before it,
        and when the suite has stopped, all are. What is no line (a reply, a
        file, a message in its mailbox) tells of none: those are waited for.
        """
        try:
            with open(self.log_path, encoding="utf-8",
                      errors="replace") as f:
                text = f.read()
            # without a line of which only a part is written yet
            return text[:text.rfind("\n") + 1]
        except FileNotFoundError:
            return ""

    def wait_log(self, pattern, timeout=PATIENCE):
        """Waits for a line that matches; returns the match."""
        return wait_until(lambda: re.search(pattern, self.log(), re.M),
                          timeout, f"log line {pattern!r}")

    def settled_log(self):
        """With all that was said before the call: a later line is waited
        for, that of a recipient who does not exist."""
        mark = f"mark{next(self.marks)}"
        with self.smtp() as s:
            s.ehlo("mark.test")
            s.mail("")
            assert s.rcpt(f"{mark}@{self.domain}")[0] == 550
        self.wait_log(rf"reject: RCPT .*<{mark}@")
        return self.log()

    def wait_log_count(self, text, count):
        """Waits for so many times this text, and finds no more."""
        wait_until(lambda: self.log().count(text) >= count,
                   what=f"{count} times {text!r} in the log")
        assert self.settled_log().count(text) == count

    def pids(self, program):
        """Process ids of this instance's processes of that program, but
        those that are dead already and not yet waited for."""
        with open(os.path.join(self.dir, "data/master.pid"),
                  encoding="ascii") as f:
            master = int(f.read())
        parents, names = {}, {}
        for path in glob.glob("/proc/[0-9]*/stat"):
            try:
                with open(path, encoding="utf-8", errors="replace") as f:
                    text = f.read()
            except OSError:
                continue
            pid = int(text.split()[0])
            state, parent = text[text.rindex(")") + 2:].split()[:2]
            parents[pid] = int(parent)
            if state not in "ZX":
                names[pid] = text[text.index("(") + 1:text.rindex(")")]

        def ours(pid):
            while pid > 1:
                if pid == master:
                    return True
                pid = parents.get(pid, 0)
            return False

        return [p for p, n in names.items() if n == program and ours(p)]

    def kill(self, program, sig=signal.SIGKILL):
        """Returns whom; those who cannot survive the signal are dead then,
        and nobody has their descriptors any more."""
        fds = {}
        for pid in self.pids(program):
            with contextlib.suppress(ProcessLookupError):
                fds[pid] = os.pidfd_open(pid)
        # whom it is now, and not who got the number since
        pids = [pid for pid in self.pids(program) if pid in fds]
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(fds[pid], sig)
        for pid, fd in fds.items():
            if sig == signal.SIGKILL and pid in pids:
                poll = select.poll()
                poll.register(fd, select.POLLIN)
                assert poll.poll(PATIENCE * 1000), f"{pid} does not die"
            os.close(fd)
        return pids

    # --- clients ---

    def tls(self):
        return ssl.create_default_context(cafile=self.values["ca"])

    def address(self, user):
        return user if "@" in user else f"{user}@{self.domain}"

    def smtp(self, **kw):
        return smtplib.SMTP("127.0.0.1", self.port("smtp"),
                            timeout=PATIENCE, **kw)

    def submission(self, user):
        s = smtplib.SMTP("localhost", self.port("submission"),
                         timeout=PATIENCE)
        s.starttls(context=self.tls())
        s.login(self.address(user), PASSWORD)
        return s

    def imap(self, user, tls=False):
        if tls:
            c = imaplib.IMAP4_SSL("localhost", self.port("imaps"),
                                  ssl_context=self.tls(), timeout=PATIENCE)
        else:
            c = imaplib.IMAP4("127.0.0.1", self.port("imap"), timeout=PATIENCE)
        c.login(self.address(user), PASSWORD)
        return c

    def pop3(self, user, tls=False):
        if tls:
            c = poplib.POP3_SSL("localhost", self.port("pop3s"),
                                context=self.tls(), timeout=PATIENCE)
        else:
            c = poplib.POP3("127.0.0.1", self.port("pop3"), timeout=PATIENCE)
        c.user(self.address(user))
        c.pass_(PASSWORD)
        return c

    def send(self, rcpt, text="Subject: test\r\n\r\nbody\r\n",
             sender="sender@elsewhere.test"):
        """One message by SMTP without login; the queue id."""
        with self.smtp() as s:
            s.ehlo("client.elsewhere.test")
            assert s.mail(sender)[0] == 250
            for r in [rcpt] if isinstance(rcpt, str) else rcpt:
                code, said = s.rcpt(self.address(r))
                assert code == 250, said
            code, said = s.data(text)
            assert code == 250, said
            return re.search(rb"queued as (\w+)", said)[1].decode()

    # --- mailboxes ---

    def maildir(self, user):
        n, d = self.address(user).split("@")
        return self.values["maildir"].replace("%d", d).replace("%n", n)

    def messages(self, user):
        """Contents of all messages in INBOX."""
        out = {}
        for sub in ("new", "cur"):
            for path in sorted(glob.glob(os.path.join(self.maildir(user),
                                                      sub, "*"))):
                # one that a session moves meanwhile counts once
                name = os.path.basename(path).split(":")[0]
                with contextlib.suppress(FileNotFoundError):
                    with open(path, "rb") as f:
                        out[name] = f.read()
        return list(out.values())

    def wait_messages(self, user, count, timeout=PATIENCE):
        found = []

        def is_there():
            found[:] = self.messages(user)
            return len(found) >= count
        wait_until(is_there, timeout, f"{count} messages for {user}")
        assert len(found) == count
        return found

    # --- the end ---

    def verdict(self):
        """What no run may leave behind."""
        problems = []
        stderr = os.path.join(self.dir, "data/stderr")
        if os.path.exists(stderr):
            with open(stderr, encoding="utf-8", errors="replace") as f:
                text = f.read()
            if "Sanitizer" in text or "runtime error" in text:
                problems.append(with_lines(text[:20000]))
        for line in self.log().splitlines():
            if "panic:" in line or re.search(
                    r"killed by signal (4|6|7|8|11|31)$", line):
                problems.append(line)
        return problems

    def end(self):
        if os.path.exists(os.path.join(self.dir, "data/master.pid")) and \
                self.is_running():
            self.stop()
        self.release()
        problems = self.verdict()
        shutil.rmtree(self.dir, ignore_errors=True)
        with contextlib.suppress(OSError):  # others may have more in it
            os.rmdir(os.path.dirname(self.dir))
        assert not problems, "\n".join(problems)


def make_instance(users=("anna", "bob", "carol"), sets=(), domain="our.test",
                  as_user=None, start=True):
    for _ in range(20):
        parent = tempfile.mkdtemp(prefix="postern-test.")
        if as_user is not None:
            os.chown(parent, as_user, as_user)
            os.chmod(parent, 0o755)
        inst = Instance(os.path.join(parent, "i"), list(users), list(sets),
                        domain, as_user)
        if not start:
            return inst
        p = inst.command("postern", "start")
        if p.returncode == 0:
            return inst
        # somebody took a port since init looked
        if "Address already in use" not in p.stderr:
            raise AssertionError(p.stderr + inst.log())
        inst.release()
        shutil.rmtree(parent, ignore_errors=True)
    raise AssertionError("no free ports")


@pytest.fixture
def new_instance():
    made = []

    def make(**kw):
        made.append(make_instance(**kw))
        return made[-1]

    yield make
    for inst in made:
        inst.end()
        shutil.rmtree(os.path.dirname(inst.dir), ignore_errors=True)


@pytest.fixture(scope="module")
def instance():
    inst = make_instance()
    yield inst
    inst.end()
    shutil.rmtree(os.path.dirname(inst.dir), ignore_errors=True)


@pytest.fixture(scope="session")
def nobody():
    """A uid that is not root, for instances run by a user."""
    if os.geteuid() != 0:
        pytest.skip("needs root to become somebody else")
    return pwd.getpwnam("nobody").pw_uid


def pytest_terminal_summary(terminalreporter):
    """What the catalogue of bad inputs has, and what nothing tries yet."""
    if not any("test_badinputs" in report.nodeid
               for report in terminalreporter.getreports("passed")):
        return
    sys.path.insert(0, os.path.join(ROOT, "tests/badinputs"))
    catalogue = importlib.import_module("table")
    for line in catalogue.summary():
        terminalreporter.write_line(line)
    replays = sys.modules.get("test_badinputs")
    if replays is not None:
        terminalreporter.write_line(f"  {len(replays.JOBS)} replays; "
                                    f"{replays.VARIANTS_NOTE}")
