"""A suite under the tracer, the ways of a message through it, its ledger.

    suite = Suite(directory)        an instance, started by crash-trace
    suite.tracer.command("rule cleanup fsync 1 kill-before")
    token = suite.new_token("smtp")
    suite.ways["smtp"].send(token)  -> "acked", "refused 451" or "broken"
    suite.arrived(token)            it lies where it was sent to
    suite.verdict()                 stops all, asks crash-oracle

H2 (h2.py) and H5 (h5.py) are two ways to use it.
"""
import base64
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

PASSWORD = "secret"
DOMAIN = "our.test"
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


def tokens_in(text):
    return re.findall(r"^X-Proof: (\S+)", text.decode("latin-1"), re.M)


def make_message(token, octets=600):
    head = (f"X-Proof: {token}\r\n"
            "From: sender@our.test\r\nTo: somebody@our.test\r\n"
            f"Message-ID: <{token}@proof.test>\r\n"
            "Date: Thu, 01 Jan 2026 00:00:00 +0000\r\n"
            "Subject: proof\r\n\r\n").encode()
    seed = hashlib.sha256(token.encode()).digest() * 2
    line = base64.b64encode(seed)[:70] + b"\r\n"
    body = line * max(1, (octets - len(head)) // len(line))
    return head + body


class Conversation:
    """A client's side of one line protocol, with a deadline."""

    def __init__(self, port, patience=15):
        self.socket = socket.create_connection(("127.0.0.1", port), patience)
        self.socket.settimeout(patience)
        self.file = self.socket.makefile("rb")

    def line(self):
        line = self.file.readline()
        if not line.endswith(b"\n"):
            raise ConnectionError("it hung up")
        return line

    def say(self, text):
        self.socket.sendall(text.encode() if isinstance(text, str) else text)

    def reply(self):
        """An SMTP reply's code."""
        while True:
            line = self.line()
            if line[3:4] != b"-":
                return line[:3].decode()

    def tagged(self, tag):
        """An IMAP command's completion, and the lines before it."""
        before = []
        while True:
            line = self.line()
            if line.startswith(tag + b" "):
                return line[len(tag) + 1:].split()[0].decode(), before
            before.append(line)

    def close(self):
        self.file.close()
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Way:
    """A message's way through the suite: what a client does for it."""
    programs = ()       # those that have a part in it
    octets = 600

    def __init__(self, suite):
        self.suite = suite

    def rcpt(self, token):
        return self.suite.user_of(token)

    def ends_at(self, token):
        """Whose copy the oracle looks for."""
        return self.rcpt(token)

    def send(self, token):
        """Everything up to the acknowledgement; the result is in the ledger
        before it returns: "acked", "refused CODE" or "broken"."""
        message = make_message(token, self.octets)
        self.suite.say_sent(token, message, self.ends_at(token))
        try:
            result = self.submit(token, message, self.rcpt(token))
        except (OSError, ConnectionError):
            result = "broken"
        if result == "acked":
            self.suite.ledger(f"acked {token}")
        elif result.startswith("refused"):
            self.suite.ledger(f"refused {token} {result.split()[1]}")
        return result

    def is_there(self, token):
        return self.suite.in_mailbox(token, self.rcpt(token))


class SmtpWay(Way):
    """SMTP, then the mailbox."""
    programs = ("smtpd", "limits", "lookup", "auth", "cleanup", "qmgr",
                "local", "launch", "deliver", "log")
    sender = "sender@elsewhere.test"

    def submit(self, token, message, rcpt):
        with Conversation(self.suite.port("smtp")) as c:
            for expected, line in (
                    ("220", None), ("250", "EHLO proof.test\r\n"),
                    ("250", f"MAIL FROM:<{self.from_(token)}>\r\n"),
                    ("250", f"RCPT TO:<{rcpt}>\r\n"), ("354", "DATA\r\n")):
                if line:
                    c.say(line)
                code = c.reply()
                if code != expected:
                    return f"refused {code}"
            c.say(message + b".\r\n")
            code = c.reply()
            if code != "250":
                return f"refused {code}"
            c.say("QUIT\r\n")
            return "acked"

    def from_(self, token):
        return self.sender


class BigWay(SmtpWay):
    """A message that cleanup streams into its file instead of holding it."""
    programs = ("smtpd", "cleanup", "qmgr", "deliver")
    octets = 200000


class RelayWay(SmtpWay):
    """SMTP in, SMTP out."""
    programs = ("smtpd", "cleanup", "qmgr", "smtp", "dns", "lookup")

    def rcpt(self, token):
        return f"r-{token}@sink.test".lower()

    def is_there(self, token):
        return token in self.suite.sink.seen


class DeferWay(RelayWay):
    """The next host says 451 once: deferred, then relayed."""
    programs = ("qmgr", "smtp")

    def rcpt(self, token):
        return f"later-{token}@sink.test".lower()


class BounceWay(SmtpWay):
    """The next host says 550: the sender gets a notification."""
    programs = ("qmgr", "smtp", "bounce", "cleanup", "local", "deliver")

    def rcpt(self, token):
        return f"no-{token}@sink.test".lower()

    def from_(self, token):
        return self.suite.user_of(token)

    def is_there(self, token):
        return self.suite.in_mailbox(token, self.suite.user_of(token))


class ForwardWay(SmtpWay):
    """An alias that leads elsewhere: local makes a new message of it."""
    programs = ("local", "cleanup", "qmgr")

    def rcpt(self, token):
        # a local alias for each user; main.cf's mydestination has it
        return self.suite.user_of(token).replace("@our.test",
                                                 "-alias@mail.our.test")

    def ends_at(self, token):
        return self.suite.user_of(token)

    def is_there(self, token):
        return self.suite.in_mailbox(token, self.suite.user_of(token))


class SendmailWay(Way):
    """The command: into the queue by pickup, or into maildrop."""
    programs = ("sendmail", "pickup", "cleanup", "lookup")

    def submit(self, token, message, rcpt):
        path = os.path.join(self.suite.dir, "input")
        with open(path, "wb") as f:
            f.write(message)
        status = self.suite.run_command(path, "sendmail", "-C",
                                        self.suite.etc, "-f",
                                        "sender@elsewhere.test", rcpt)
        if status == 0:
            return "acked"
        return "broken" if status is None else f"refused {status}"


class AppendWay(Way):
    """IMAP APPEND into INBOX."""
    programs = ("login", "auth", "launch", "limits", "imapd", "log")
    octets = 600

    def submit(self, token, message, rcpt):
        with Conversation(self.suite.port("imap")) as c:
            c.line()
            c.say(f'a LOGIN {rcpt} {PASSWORD}\r\n')
            said, _ = c.tagged(b"a")
            if said != "OK":
                return f"refused {said}"
            c.say(f"b APPEND INBOX {{{len(message)}}}\r\n")
            line = c.line()
            if not line.startswith(b"+"):
                return "refused " + line.split()[1].decode()
            c.say(message + b"\r\n")
            said, _ = c.tagged(b"b")
            if said != "OK":
                return f"refused {said}"
            c.say("c LOGOUT\r\n")
            return "acked"


class _Removal(Way):
    """Something is taken out of a mailbox that two messages are in."""

    def send(self, token):
        rcpt = self.rcpt(token)
        stays = "stays-" + token.split("-", 1)[1]
        for t in (token, stays):
            self.suite.put_into_mailbox(t, make_message(t), rcpt)
        self.suite.ledger(f"taking {token} {rcpt}")
        try:
            result = self.remove(token, rcpt)
        except (OSError, ConnectionError):
            result = "broken"
        if result == "acked":
            self.suite.ledger(f"taken {token} {rcpt}")
        return result

    def is_there(self, token):
        return True     # there or not: the oracle knows


class Pop3Way(_Removal):
    """POP3 DELE and QUIT."""
    programs = ("login", "auth", "launch", "pop3d")

    def remove(self, token, rcpt):
        with Conversation(self.suite.port("pop3")) as c:
            def ask(line):
                if line:
                    c.say(line + "\r\n")
                return c.line().startswith(b"+OK")

            if not (ask(None) and ask(f"USER {rcpt}") and
                    ask(f"PASS {PASSWORD}")):
                return "refused ERR"
            number = self.number_of(c, token)
            if number is None:
                return "refused gone"
            if not ask(f"DELE {number}") or not ask("QUIT"):
                return "refused ERR"
            return "acked"

    def number_of(self, c, token):
        c.say("STAT\r\n")
        words = c.line().split()
        if words[0] != b"+OK":
            return None
        for n in range(int(words[1]), 0, -1):
            c.say(f"TOP {n} 0\r\n")
            if not c.line().startswith(b"+OK"):
                return None
            text = b""
            while True:
                line = c.line()
                if line == b".\r\n":
                    break
                text += line
            if token in tokens_in(text):
                return n
        return None


class ReplaceWay(SmtpWay):
    """SMTP just after a program died: master starts another meanwhile."""
    programs = ("master",)
    victim = "lookup"

    def submit(self, token, message, rcpt):
        suite = self.suite
        suite.tracer.poll()
        seen = len(suite.tracer.events)
        if not suite.pids.get(self.victim):
            return "refused 4xx: nobody to kill yet"
        suite.kill(self.victim)
        if suite.tracer.wait(5, "exec", self.victim, seen=seen) is None:
            return "refused 4xx: nobody came"
        return super().submit(token, message, rcpt)


class ExpungeWay(_Removal):
    """IMAP STORE \\Deleted and EXPUNGE."""
    programs = ("imapd",)
    after = ("STORE {n} +FLAGS.SILENT (\\Deleted)", "EXPUNGE")

    def remove(self, token, rcpt):
        with Conversation(self.suite.port("imap")) as c:
            c.line()
            for tag, line in (("a", f"LOGIN {rcpt} {PASSWORD}"),
                              ("b", "SELECT INBOX")):
                c.say(f"{tag} {line}\r\n")
                said, _ = c.tagged(tag.encode())
                if said != "OK":
                    return f"refused {said}"
            c.say(f"c SEARCH HEADER X-Proof {token}\r\n")
            said, lines = c.tagged(b"c")
            numbers = [line.split()[2:] for line in lines
                       if line.startswith(b"* SEARCH")]
            if said != "OK" or not numbers or not numbers[0]:
                return "refused gone"
            n = int(numbers[0][0])
            for line in self.after:
                c.say("d " + line.format(n=n) + "\r\n")
                said, _ = c.tagged(b"d")
                if said != "OK":
                    return f"refused {said}"
            return "acked"


WAYS = {
    "smtp": SmtpWay, "big": BigWay, "relay": RelayWay, "defer": DeferWay,
    "bounce": BounceWay, "forward": ForwardWay, "sendmail": SendmailWay,
    "append": AppendWay, "pop3": Pop3Way, "expunge": ExpungeWay,
    "replace": ReplaceWay,
}


class Suite:
    """One instance, its tracer, its ledger."""

    def __init__(self, name="trace", sets=(), verbose=False, quiet=False):
        self.parent = tempfile.mkdtemp(prefix=f"postern-{name}.")
        os.chmod(self.parent, 0o755)
        self.verbose = verbose
        self.quiet = quiet      # its problems are what is wanted
        self.sink = Sink(os.path.join(self.parent, "sink"))
        sets = ("mynetworks=127.0.0.0/8",
                f"relayhost=[127.0.0.1]:{self.sink.port}",
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
        self.problems = []
        self.pids = {}          # program -> those that run
        self.hurt = {}          # pid -> where a signal hit it (trace_death.h)
        self.ours = set()       # pids that we killed ourselves
        self.expected = {}      # acked tokens -> way
        self.down = True
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
        deadline = time.monotonic() + patience
        pause = 0.0005
        while not self.ways[way].is_there(token):
            if time.monotonic() > deadline:
                return False
            self.tracer.poll(pause)
            pause = min(pause * 1.5, 0.02)
        return True

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
        if keep:
            print(f"kept: {self.parent}")
        else:
            shutil.rmtree(self.parent, ignore_errors=True)


def started_suite(name, **kw):
    """A suite that runs. Several are made at once, in processes that forked
    from one: each looks for ports elsewhere."""
    random.seed()
    conftest._bases = itertools.cycle(
        random.sample(range(10000, 31000, 37), 500))
    for _ in range(20):
        suite = Suite(name, **kw)
        if suite.start(patience=0) == 0:
            return suite
        with open(os.path.join(suite.parent, "output"),
                  encoding="utf-8") as f:
            why = f.read()
        suite.close()
        if "Address already in use" not in why:
            raise RuntimeError(why)
    raise RuntimeError("no free ports")
