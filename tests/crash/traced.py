"""A suite under the tracer, the ways of a message through it, its ledger.

    suite = Suite(directory)        an instance, started by crash-trace
    suite.tracer.command("rule cleanup fsync 1 kill-before")
    token = suite.new_token("smtp")
    suite.ways["smtp"].send(token)  -> "acked", "refused 451" or "broken"
    suite.arrived(token)            it lies where it was sent to
    suite.verdict()                 stops all, asks crash-oracle

H2 (h2.py) and H5 (h5.py) are two ways to use it.
"""
import hashlib
import itertools
import os
import random
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "system"))
import conftest  # noqa: E402
from conftest import BIN, Instance  # noqa: E402
from ledger import need_tools  # noqa: E402
import ways  # noqa: E402
from ways import DOMAIN, PASSWORD, tokens_in  # noqa: E402
import ways_imap  # noqa: E402
import ways_operator  # noqa: E402

USERS = 60              # the mail goes round: small mailboxes are quick
PER_USER = 40
# Started by master and replaced when they die; the others start on demand.
PERMANENT = {"log", "smtpd", "pickup", "cleanup", "qmgr", "smtp", "local",
             "bounce", "lookup", "dns", "auth", "keys", "limits", "login",
             "launch"}


def need_machine():
    """Ends with 77 where this cannot run."""
    if os.geteuid() != 0:
        print("needs root: an instance whose programs have uids of their own")
        sys.exit(77)
    if os.uname().machine != "x86_64":
        print("crash-trace knows the registers of x86-64 only")
        sys.exit(77)
    need_tools("crash-trace", "crash-oracle")


def quick_directory():
    """Who kills processes and lets calls fail needs no disk: there is no
    power cut, and a flush would be waited for in vain. None: the usual."""
    try:
        st = os.statvfs("/dev/shm")
    except OSError:
        return None
    roomy = st.f_bavail * st.f_frsize > 1 << 30
    return "/dev/shm" if roomy and "TMPDIR" not in os.environ else None


def names_in(directory):
    try:
        return os.listdir(directory)
    except FileNotFoundError:
        return []


class Gone(Exception):
    """The tracer has ended."""


class Tracer:
    def __init__(self):
        self.p = subprocess.Popen([os.path.join(BIN, "crash-trace")],
                                  stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE)
        self.buffer = b""
        self.events = []        # lists of words, oldest first
        self.on_event = None    # called with each when it comes

    def _line(self, deadline):
        """The next line, or None."""
        while b"\n" not in self.buffer:
            left = max(0, deadline - time.monotonic())
            if not select.select([self.p.stdout], [], [], left)[0]:
                return None
            more = os.read(self.p.stdout.fileno(), 65536)
            if not more:
                raise Gone("crash-trace ended")
            self.buffer += more
        line, self.buffer = self.buffer.split(b"\n", 1)
        return line.decode("utf-8", "replace")

    def _take(self, line):
        event = line.split(" ")
        self.events.append(event)
        if self.on_event:
            self.on_event(event)

    def command(self, text, patience=60):
        """Its answer behind "ok"."""
        self.p.stdin.write(text.encode() + b"\n")
        self.p.stdin.flush()
        deadline = time.monotonic() + patience
        while True:
            line = self._line(deadline)
            if line is None:
                raise Gone(f"no answer to {text}")
            if line.startswith("error"):
                raise ValueError(f"{text}: {line}")
            if line == "ok" or line.startswith("ok "):
                return line[3:]
            self._take(line)

    def poll(self, seconds=0.0):
        """Takes the events that are there; waits for the first."""
        deadline = time.monotonic() + seconds
        while True:
            line = self._line(deadline)
            if line is None:
                return
            self._take(line)
            deadline = 0

    def wait(self, seconds, *words, seen=0):
        """Waits for an event that begins so, behind the first `seen`; it, or
        None."""
        deadline = time.monotonic() + seconds
        while True:
            for event in self.events[seen:]:
                if tuple(event[:len(words)]) == words:
                    return event
            seen = len(self.events)
            left = deadline - time.monotonic()
            if left <= 0:
                return None
            self.poll(left)

    def forget(self):
        self.events.clear()

    def close(self):
        self.p.stdin.close()
        self.p.wait(30)
        self.p.stdout.close()


class Sink(threading.Thread):
    """An SMTP server that keeps each transaction in a file, as crash-oracle
    wants it, or refuses: recipients `no-...` with 550, the first attempt for
    `later-...` with 451."""

    def __init__(self, directory):
        super().__init__(daemon=True)
        self.dir = directory
        os.makedirs(directory)
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self.listener.getsockname()[1]
        self.seen = set()       # tokens
        self.refused_once = set()
        self.count = 0
        self.start()

    def run(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(client,),
                             daemon=True).start()

    def serve(self, client):
        try:
            with client, client.makefile("rb") as f:
                self.talk(client, f)
        except OSError:
            pass        # its process was killed

    def talk(self, client, f):
        client.sendall(b"220 sink ESMTP\r\n")
        rcpts = []
        for line in f:
            verb = line[:4].upper()
            if verb == b"EHLO":
                client.sendall(b"250-sink\r\n250 PIPELINING\r\n")
            elif verb == b"RCPT":
                rcpt = re.search(rb"<(.*?)>", line)[1].decode()
                client.sendall(self.judge(rcpt, rcpts))
            elif verb == b"DATA" and not rcpts:
                client.sendall(b"554 no recipients\r\n")
            elif verb == b"DATA":
                client.sendall(b"354 go on\r\n")
                if not self.content(f, rcpts):
                    return
                client.sendall(b"250 taken\r\n")
                rcpts = []
            elif verb == b"QUIT":
                client.sendall(b"221 bye\r\n")
                return
            else:
                if verb in (b"RSET", b"MAIL"):
                    rcpts = []
                client.sendall(b"250 ok\r\n")

    def judge(self, rcpt, rcpts):
        if rcpt.startswith("no-"):
            return b"550 5.1.1 nobody here\r\n"
        if rcpt.startswith("later-") and rcpt not in self.refused_once:
            self.refused_once.add(rcpt)
            return b"451 4.3.0 later\r\n"
        rcpts.append(rcpt)
        return b"250 ok\r\n"

    def content(self, f, rcpts):
        lines = []
        for line in f:
            if line == b".\r\n":
                break
            lines.append(line[1:] if line.startswith(b".") else line)
        else:
            return False
        text = b"".join(lines)
        self.count += 1
        name = os.path.join(self.dir, f"{self.count}-{threading.get_ident()}")
        with open(name + ".part", "wb") as out:
            out.write(",".join(rcpts).encode() + b"\n" + text)
        # the oracle reads whole transactions only; the 250 comes after this
        os.rename(name + ".part", name)
        self.seen.update(tokens_in(text))
        return True

    def close(self):
        self.listener.close()


WAYS = {
    "smtp": ways.SmtpWay, "big": ways.BigWay, "relay": ways.RelayWay,
    "defer": ways.DeferWay, "bounce": ways.BounceWay,
    "forward": ways.ForwardWay, "sendmail": ways.SendmailWay,
    "append": ways.AppendWay, "pop3": ways.Pop3Way,
    "expunge": ways.ExpungeWay, "copy": ways_imap.CopyWay,
    "move": ways_imap.MoveWay, "hold": ways_operator.HoldWay,
    "release": ways_operator.ReleaseWay, "reload": ways_operator.ReloadWay,
    "replace": ways.ReplaceWay,
}


class Suite:
    """One instance, its tracer, its ledger."""

    def __init__(self, name="trace", sets=(), verbose=False, quiet=False):
        self.parent = tempfile.mkdtemp(prefix=f"postern-{name}.",
                                       dir=quick_directory())
        os.chmod(self.parent, 0o755)
        self.verbose = verbose
        self.quiet = quiet      # its problems are what is wanted
        self.sink = Sink(os.path.join(self.parent, "sink"))
        sets = ("mynetworks=127.0.0.0/8",
                f"relayhost=[127.0.0.1]:{self.sink.port}",
                # mail for there waits for an operator
                f"transport_maps=inline:{{ {ways_operator.HELD_DOMAIN}="
                f"lmtp:[127.0.0.1]:{self.sink.port} }}",
                "defer_transports=lmtp",
                "hopcount_limit=50",    # the way `reload` changes it
                "smtp_tls_security_level=none",
                "minimal_backoff_time=1s", "maximal_backoff_time=1s",
                "queue_run_delay=1s", "service_throttle_time=1s",
                "auth_failure_delay=0s",
                "smtpd_error_sleep_time=0s") + tuple(sets)
        self.instance = Instance(os.path.join(self.parent, "i"), ["u0"],
                                 list(sets), DOMAIN, None)
        self.dir = self.instance.dir
        self.etc = self.instance.etc
        self.ledger_path = os.path.join(self.parent, "ledger")
        self.ledger_file = open(self.ledger_path, "a", encoding="ascii")
        self.add_users()
        self.serial = 0
        self.users = {}         # token -> address
        self.mail = {}          # user's directory -> {name: tokens}
        self.files = {}         # the same by base names
        self.problems = []
        self.pids = {}          # program -> those that run
        self.hurt = {}          # pid -> where a signal hit it (trace_death.h)
        self.ours = set()       # pids that we killed ourselves
        self.expected = {}      # acked tokens -> way
        self.down = True
        self.normal = {}        # program -> processes when all is well
        self.ways = {n: w(self) for n, w in WAYS.items()}
        self.tracer = Tracer()
        self.tracer.on_event = self.on_event

    # --- set-up ---

    def add_users(self):
        path = os.path.join(self.etc, "users")
        with open(path, encoding="ascii") as f:
            text = f.read()
        fields = next(line for line in text.splitlines()
                      if line.startswith("u0@")).split(":")
        self.owner = int(fields[2]), int(fields[3])
        with open(path, "w", encoding="ascii") as f:
            for i in range(USERS):
                f.write(f"u{i}@{DOMAIN}:{{PLAIN}}{PASSWORD}:{fields[2]}:"
                        f"{fields[3]}::{DOMAIN}/u{i}:\n")
        with open(os.path.join(self.etc, "aliases"), "a",
                  encoding="ascii") as f:
            for i in range(USERS):
                f.write(f"u{i}-alias: u{i}@{DOMAIN}\n")
                self.ledger(f"alias u{i}@{DOMAIN} u{i}-alias@mail.our.test")
        p = self.instance.command("newaliases")
        assert p.returncode == 0, p.stderr

    def port(self, name):
        return self.instance.port(name)

    def new_token(self, prefix):
        self.serial += 1
        token = f"{prefix}-{self.serial}"
        self.users[token] = \
            f"u{self.serial // PER_USER % USERS}@{DOMAIN}"
        return token

    def user_of(self, token):
        return self.users[token]

    # --- the ledger ---

    def ledger(self, line):
        self.ledger_file.write(line + "\n")
        self.ledger_file.flush()

    def say_sent(self, token, message, rcpt):
        self.ledger(f"sent {token} {hashlib.sha256(message).hexdigest()} "
                    f"{len(message)} {rcpt}")

    def on_event(self, event):
        if event[0] == "exec":
            self.pids.setdefault(event[1], set()).add(event[2])
        elif event[0] in ("killed", "died", "ended"):
            self.pids.get(event[1], set()).discard(event[2])
        if event[0] == "killed":
            self.ledger(f"killed {event[1]} {event[2]}")
        elif event[0] == "died" and event[3] == "9":
            # master's doing, or ours without the tracer
            if event[2] not in self.ours:
                self.ledger(f"killed {event[1]} {event[2]}")
        elif event[0] == "died":
            where = self.hurt.get(event[2], "")
            self.problem(f"DIED {event[1]} of signal {event[3]} {where}")
        elif event[0] == "hurt":
            self.hurt[event[2]] = "at " + ", ".join(event[4:])
        if self.verbose:
            print("   ", *event)

    def problem(self, text):
        self.problems.append(text)
        if not self.quiet:
            print(text)
            sys.stdout.flush()

    # --- the suite ---

    def run_command(self, stdin, program, *args, patience=60):
        """Runs it under the tracer; its exit status or None when killed."""
        pid = self.tracer.command(
            f"run {stdin} {self.parent}/output {BIN}/{program} " +
            " ".join(args))
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            for event in self.tracer.events:
                if len(event) > 2 and event[2] == pid:
                    if event[0] == "ended":
                        return int(event[3])
                    if event[0] in ("killed", "died"):
                        return None
            self.tracer.poll(1)
        self.problem(f"HANGS {program}")
        return None

    def start(self, patience=60):
        """Exit status. Who took one of our ports while we were down is
        waited for."""
        deadline = time.monotonic() + patience
        output = os.path.join(self.parent, "output")
        while True:
            before = os.path.getsize(output) if os.path.exists(output) else 0
            self.down = False
            status = self.run_command("/dev/null", "postern", "-c", self.etc,
                                      "start")
            with open(output, encoding="utf-8", errors="replace") as f:
                f.seek(before)
                taken = "Address already in use" in f.read()
            if not taken or status == 0 or time.monotonic() > deadline:
                return status
            time.sleep(0.2)

    def end(self):
        """All of it, at once."""
        self.tracer.command("off")
        self.tracer.command("killall")
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and \
                self.tracer.command("alive *") != "0":
            self.tracer.poll(0.01)
        while self.instance.is_running():   # until the lock is gone
            time.sleep(0.001)
        self.down = True

    def kill(self, program, most=1):
        """So many processes of it, by us."""
        for pid in sorted(self.pids[program])[:most]:
            self.ledger(f"killed {program} {pid}")
            self.ours.add(pid)
            os.kill(int(pid), signal.SIGKILL)

    def count_alive(self, program):
        """Processes that are replaced when one dies."""
        if program not in PERMANENT:
            return 0
        return int(self.tracer.command(f"alive {program}"))

    def wait_replaced(self, program, count, patience=10):
        """After a kill: until so many serve again. The program is watched,
        or the tracer would not know."""
        if count == 0:
            return True
        try:
            self.tracer.command(
                f"settled {program} {count} {patience * 1000}")
            return True
        except ValueError:
            self.problem(f"STUCK no new {program} after its death")
            return False

    def is_normal(self):
        return not self.odd()

    def odd(self):
        """Programs that have more or fewer processes than they should. (A
        service on demand is met at once when its listener cannot be watched:
        some smtpd more.)"""
        self.tracer.poll()
        return {p: len(self.pids.get(p, ())) for p, n in self.normal.items()
                if len(self.pids.get(p, ())) < n or
                (len(self.pids.get(p, ())) > n and p != "smtpd")}

    def wait_normal(self, patience):
        return self.wait_for(self.is_normal, patience)

    def wait_for(self, check, patience):
        deadline = time.monotonic() + patience
        pause = 0.0005
        while not check():
            if time.monotonic() > deadline:
                return False
            self.tracer.poll(pause)
            pause = min(pause * 1.5, 0.02)
        return True

    # --- where a message is ---

    def queue_files(self, queue_id):
        """Its file's paths: two while it moves from one to the other."""
        spool = os.path.join(self.dir, "spool")
        tops = [os.path.join(spool, p)
                for p in ("incoming", "hold", "corrupt")]
        deferred = os.path.join(spool, "deferred")
        tops += [os.path.join(deferred, due) for due in names_in(deferred)]
        return [os.path.join(top, name) for top in tops
                for name in names_in(top) if name.startswith(queue_id)]

    def queue_places(self, queue_id):
        """The directories of the queue that have its file."""
        at = len(os.path.join(self.dir, "spool", ""))
        return sorted(path[at:].split("/")[0]
                      for path in self.queue_files(queue_id))

    def count_files(self, token, directory):
        """How many messages of a Maildir are that one. (A name in new/ and
        in cur/ is one.)"""
        seen = self.files.setdefault(directory, {})
        there = set()
        for sub in ("cur", "new", "cur"):
            for name in names_in(os.path.join(directory, sub)):
                base = name.split(":")[0]
                try:
                    if base not in seen:
                        with open(os.path.join(directory, sub, name),
                                  "rb") as f:
                            seen[base] = tokens_in(f.read())
                except FileNotFoundError:
                    continue    # it goes from new/ to cur/
                if token in seen[base]:
                    there.add(base)
        return len(there)

    # --- what arrived ---

    def maildir(self, address):
        n, d = address.split("@")
        return os.path.join(self.dir, "mail", d, n)

    def look(self, directory):
        seen = self.mail.setdefault(directory, {})
        for sub in ("new", "cur"):
            try:
                names = os.listdir(os.path.join(directory, sub))
            except FileNotFoundError:
                continue
            for name in names:
                if name in seen:
                    continue
                try:
                    with open(os.path.join(directory, sub, name),
                              "rb") as f:
                        seen[name] = tokens_in(f.read())
                except FileNotFoundError:
                    continue
        return seen

    def in_mailbox(self, token, address):
        return any(token in t
                   for t in self.look(self.maildir(address)).values())

    def put_into_mailbox(self, token, message, address):
        """As if delivered long ago."""
        directory = self.maildir(address)
        for sub in ("", "tmp", "new", "cur"):
            path = os.path.join(directory, sub)
            if not os.path.isdir(path):
                os.makedirs(path, 0o700)
                os.chown(path, *self.owner)
        os.chown(os.path.dirname(directory), *self.owner)
        self.serial += 1
        name = f"1700000000.{self.serial:06}.put"
        tmp = os.path.join(directory, "tmp", name)
        with open(tmp, "wb") as f:
            f.write(message.replace(b"\r\n", b"\n"))
        os.chown(tmp, *self.owner)
        os.chmod(tmp, 0o600)
        os.rename(tmp, os.path.join(directory, "new", name))
        self.say_sent(token, message, address)
        self.ledger(f"acked {token}")

    def wait_there(self, way, token, patience=20):
        return self.wait_for(lambda: self.ways[way].is_there(token), patience)

    # --- the verdict ---

    def verdict(self):
        """Problems are in the list; the oracle's last line."""
        log = self.instance.log()
        if not self.down:
            self.end()
        self.ledger_file.flush()
        p = subprocess.run(
            [os.path.join(BIN, "crash-oracle"), "--ledger",
             self.ledger_path, "--spool", os.path.join(self.dir, "spool"),
             "--mail", os.path.join(self.dir, "mail"),
             "--sink", os.path.join(self.parent, "sink"),
             "--log", self.instance.log_path],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            check=False)
        if p.returncode != 0:
            self.problem(p.stdout.strip())
        for line in log.splitlines():
            if "panic:" in line:
                self.problem(line)
        return p.stdout.strip().splitlines()[-1]

    def close(self, keep=False):
        self.tracer.close()
        self.sink.close()
        self.ledger_file.close()
        conftest.release(self.instance.base)
        if keep:
            print(f"kept: {self.parent}")
        else:
            shutil.rmtree(self.parent, ignore_errors=True)


def started_suite(name, **kw):
    """A suite that runs. Several are made at once, in processes that forked
    from one: each looks for ports elsewhere, among those that nobody has
    claimed (conftest)."""
    random.seed()
    conftest._bases = itertools.cycle(
        random.sample(conftest.BASES, len(conftest.BASES)))
    for _ in range(20):
        suite = Suite(name, **kw)
        if suite.start(patience=0) == 0:
            suite.tracer.command("quiet 20")
            suite.normal = {p: len(pids) for p, pids in suite.pids.items()
                            if p in PERMANENT and pids}
            return suite
        with open(os.path.join(suite.parent, "output"),
                  encoding="utf-8") as f:
            why = f.read()
        suite.close()
        if "Address already in use" not in why:
            raise RuntimeError(why)
    raise RuntimeError("no free ports")
