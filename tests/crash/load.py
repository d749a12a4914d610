"""load.py - what h4.py and h6.py do with a suite, and what they were told

Clients of every kind, each a thread: SMTP, LMTP, sendmail, IMAP (APPEND,
COPY, MOVE, EXPUNGE), POP3 (DELE), an operator who holds and releases, and a
next hop that takes, defers and refuses. What each was told is in the ledger
(oracle.c), with a numbered mark.
"""
import json
import os
import poplib
import random
import re
import smtplib
import subprocess
import sys
import threading

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "system"))
from conftest import BIN, PASSWORD, wait_until  # noqa: E402
from imaptalk import Gone, Talk  # noqa: E402
from relaynet import Sink, free_port  # noqa: E402

from disks import make_instance  # noqa: E402
from ledger import Ledger, message  # noqa: E402

USERS = ["anna", "bob", "carol"]
BOXED = "boxed@mail.our.test"		# an alias for an mbox
FOLDERS = ["INBOX", "Work", "Archive"]
# Most mail is small; over 16 kB a queue file is not given again, over 64 kB
# its content is not held in memory.
SIZES = [500, 700, 1000, 2500, 4096, 9000, 15000, 17000, 40000, 70000, 90000]
PROOF_FIELD = "BODY.PEEK[HEADER.FIELDS (X-PROOF)]"


def sets(port):
    """What the load needs of an instance's main.cf; port: the next hop."""
    return [f"relayhost=[127.0.0.1]:{port}", "mynetworks=127.0.0.0/8",
            "message_size_limit=200000", "queue_minfree=1000000",
            "minimal_backoff_time=1s", "maximal_backoff_time=2s",
            "queue_run_delay=1s", "smtp_tls_security_level=none",
            "bounce_queue_lifetime=1d", "maximal_queue_lifetime=1d"]


class Proof(Ledger):
    """A ledger whose promises are marks at the same time: between an answer
    and its mark nobody else writes, so what stands before a mark was true
    when the mark was made. mark: called with each number."""

    def __init__(self, path, mark=None):
        super().__init__(path)
        self.number = 0
        self.make_mark = mark
        self.marking = threading.Lock()
        self.claims = []	# (mark, user, folder, validity, uid, token)

    def event(self, *lines):
        """Lines (verb, words ...) and a mark; its number."""
        with self.marking:
            for verb, *words in lines:
                self.line(verb, *words)
            self.number += 1
            if self.make_mark is not None:
                self.make_mark(self.number)
            self.mark(self.number)
            return self.number

    def acked(self, token, rcpt=None):
        return self.event(("acked", token, *([rcpt] if rcpt else [])))

    def refused(self, token, code):
        return self.event(("refused", token, code))

    def claim(self, mark, user, folder, validity, uid, token):
        with self.lock:
            self.claims.append((mark, user, folder, int(validity), int(uid),
                                token))


class NextHop(Sink):
    """Files in directory, named by mark. By local part: slow.* is deferred
    once, bad.* is refused, stuck.* is deferred until `generous`."""

    def __init__(self, directory, proof):
        self.directory, self.proof = directory, proof
        self.generous = False
        self.seen = set()
        self.count = 0
        super().__init__("127.0.0.1", free_port())
        self.got = self		# it is told of each transaction by append()

    def __len__(self):
        return self.count

    def reply_for(self, line):
        m = re.match(r"RCPT TO:<(\w+)\.(.*)@", line, re.I)
        if m and m[1] == "bad":
            return True, "550 5.1.1 Nobody of that name"
        if m and not self.generous:
            if m[1] == "stuck":
                return True, "451 4.2.1 Not now"
            if m[1] == "slow" and m[2] not in self.seen:
                self.seen.add(m[2])
                return True, "451 4.2.1 Later"
        return False, None

    def append(self, transaction):
        """A message is here for good before it is said so."""
        self.count += 1
        name = os.path.join(self.directory, f".{self.count}")
        rcpts = [re.search(r"<(.*?)>", r)[1] for r in transaction.rcpts]
        with open(name, "wb") as f:
            f.write(",".join(rcpts).encode() + b"\n" + transaction.data)
        number = self.proof.event() if self.proof else 0
        os.rename(name, os.path.join(self.directory,
                                     f"{number:08}.{self.count}"))


class Client(threading.Thread):
    """steps times one(); errors of the network are what `quiet` expects."""

    def __init__(self, load, name, steps):
        super().__init__(daemon=True, name=name)
        self.load, self.inst, self.proof = load, load.inst, load.proof
        self.steps, self.number, self.done = steps, 0, 0
        self.random = random.Random(f"{load.seed}/{name}")
        self.error = None

    def token(self):
        self.number += 1
        return f"{self.load.prefix}{self.name}-{self.number}"

    def text(self, token, sender):
        return message(token, self.random.choice(SIZES), self.load.seed,
                       sender)

    def run(self):
        try:
            while self.done < self.steps and not self.load.over.is_set():
                try:
                    self.one()
                except (OSError, EOFError, Gone, smtplib.SMTPException,
                        poplib.error_proto):
                    if not self.load.faults:
                        raise
                    self.load.over.wait(0.02)
                self.done += 1
        except BaseException as e:  # pylint: disable=broad-except
            self.error = e
            if not self.load.over.is_set():
                print(f"load: {self.name}: {type(e).__name__}: {e}")

    def recipients(self, token):
        kinds = [["anna@our.test"], ["bob@our.test"], ["carol@our.test"],
                 ["carol@our.test"], [BOXED],
                 ["anna@our.test", "bob@our.test", BOXED],
                 [f"ok.{token}@far.test"], [f"slow.{token}@far.test"],
                 [f"slow.{token}@far.test", "anna@our.test"],
                 [f"stuck.{token}@far.test"], [f"bad.{token}@far.test"],
                 [f"bad.{token}@far.test", "bob@our.test"]]
        return self.random.choice(kinds)

    def connect(self, kind, service):
        s = kind("127.0.0.1", self.inst.port(service), timeout=60,
                 local_hostname="client.elsewhere.test")
        s.ehlo()
        return s


class SmtpClient(Client):
    """A few messages a connection."""

    def one(self):
        with self.connect(smtplib.SMTP, "smtp") as s:
            for _ in range(self.random.randint(1, 4)):
                self.transaction(s)

    def transaction(self, s):
        token = self.token()
        # bounces go to anna
        sender = "anna@our.test"
        text = self.text(token, sender)
        if s.mail(sender)[0] != 250:
            s.rset()
            return
        rcpts = [r for r in self.recipients(token) if s.rcpt(r)[0] == 250]
        if not rcpts:
            s.rset()
            return
        self.proof.sent(token, text, rcpts)
        code, said = s.data(text)
        if code != 250:
            self.proof.refused(token, code)
            return
        self.proof.acked(token)
        m = re.search(rb"queued as (\w+)", said)
        if m and "stuck" in rcpts[0]:
            self.load.stuck.append(m[1].decode())


class LmtpClient(Client):
    """A reply for each recipient."""

    def one(self):
        token = self.token()
        text = self.text(token, "anna@our.test")
        rcpts = self.random.sample([f"{u}@our.test" for u in USERS], 2)
        with self.connect(smtplib.LMTP, "lmtp") as s:
            if s.mail("anna@our.test")[0] != 250:
                return
            rcpts = [r for r in rcpts if s.rcpt(r)[0] == 250]
            if not rcpts or s.docmd("DATA")[0] != 354:
                return
            self.proof.sent(token, text, rcpts)
            s.send(text + b".\r\n")
            for rcpt in rcpts:
                code = s.getreply()[0]
                if code == 250:
                    self.proof.acked(token, rcpt)
                elif len(rcpts) == 1:
                    self.proof.refused(token, code)


class SendmailClient(Client):
    """The command; through maildrop/ when the suite is down."""

    def one(self):
        token = self.token()
        text = self.text(token, "anna@our.test")
        rcpts = self.recipients(token)
        self.proof.sent(token, text, rcpts)
        if self.name == "dropped":
            # One hand-over more, from maildrop/ to the queue, with a window
            # of its own: as if it had been sent again.
            self.proof.sent(token, text, rcpts)
        p = subprocess.run(
            [os.path.join(BIN, "sendmail"), "-C", self.inst.etc, "-i", "-f",
             "anna@our.test", *rcpts], input=text.replace(b"\r\n", b"\n"),
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=120,
            check=False)
        if p.returncode == 0:
            self.proof.acked(token)
        elif self.load.faults:
            self.proof.refused(token, 450)
        else:
            raise RuntimeError(f"sendmail: {p.stderr.decode()}")


class ImapClient(Client):
    """One user's: what is in a folder is copied, moved and expunged."""

    def __init__(self, load, user, steps):
        super().__init__(load, f"imap-{user}", steps)
        self.user, self.address = user, f"{user}@our.test"
        self.talk = None

    def run(self):
        super().run()
        if self.talk is not None:
            self.talk.close()

    def login(self):
        self.talk = Talk(self.inst.port("imap"), self.address,
                         f'"{PASSWORD}"', timeout=60)
        if self.talk.login.status != "OK":
            raise Gone("login failed")
        for folder in FOLDERS[1:]:
            self.talk.cmd(f"CREATE {folder}")

    def one(self):
        try:
            if self.talk is None:
                self.login()
            op = self.random.choice([self.append, self.append, self.copy,
                                     self.move, self.expunge])
            op(self.random.choice(FOLDERS))
        except (OSError, Gone):
            if self.talk is not None:
                self.talk.close()
            self.talk = None
            raise

    def messages(self, folder):
        """[(uid, token)] of those with a proof."""
        t = self.talk
        if t.cmd(f"SELECT {folder}").status != "OK":
            return []
        found = []
        for r in t.cmd(f"UID FETCH 1:* (UID {PROOF_FIELD})").untagged:
            uid = re.search(r"UID (\d+)", r)
            proof = re.search(r"X-Proof: (\S+)", r)
            if uid and proof:
                found.append((int(uid[1]), proof[1]))
        return found

    def some(self, folder):
        all_of_it = self.messages(folder)
        return self.random.sample(all_of_it, min(len(all_of_it),
                                                 self.random.randint(1, 3)))

    def append(self, folder):
        token = self.token()
        text = self.text(token, self.address)
        self.proof.sent(token, text, [self.address])
        # RFC 7888: no continuation, between which much may be said
        a = self.talk.cmd(f"APPEND {folder} {{{len(text)}+}}\r\n".encode()
                          + text)
        if a.status != "OK":
            self.proof.refused(token, 450)
            return
        mark = self.proof.acked(token)
        m = re.search(r"APPENDUID (\d+) (\d+)\]", a.text)
        self.proof.claim(mark, self.user, folder, m[1], m[2], token)

    def claim_copies(self, mark, folder, answer, tokens):
        texts = [answer.text] + answer.untagged
        m = re.search(r"COPYUID (\d+) (\S+) (\S+)\]", "\n".join(texts))
        if m is None:
            return
        for old, new in zip(numbers(m[2]), numbers(m[3])):
            self.proof.claim(mark, self.user, folder, m[1], new, tokens[old])

    def copy(self, folder):
        some = self.some(folder)
        to = self.random.choice([f for f in FOLDERS if f != folder])
        if not some:
            return
        self.proof.event(*[("copying", t, self.address) for _, t in some])
        a = self.talk.cmd("UID COPY " + ",".join(str(u) for u, _ in some) +
                          f" {to}")
        if a.status == "OK":
            mark = self.proof.event(*[("copied", t, self.address)
                                      for _, t in some])
            self.claim_copies(mark, to, a, dict(some))

    def move(self, folder):
        some = self.some(folder)
        to = self.random.choice([f for f in FOLDERS if f != folder])
        if not some:
            return
        # never less than one: `taking` would allow none
        self.proof.event(*[("copying", t, self.address) for _, t in some])
        a = self.talk.cmd("UID MOVE " + ",".join(str(u) for u, _ in some) +
                          f" {to}")
        if a.status == "OK":
            mark = self.proof.event(*[("moved", t, self.address)
                                      for _, t in some])
            self.claim_copies(mark, to, a, dict(some))

    def expunge(self, folder):
        some = self.some(folder)[:2]
        if not some:
            return
        uids = ",".join(str(u) for u, _ in some)
        if self.talk.cmd(f"UID STORE {uids} +FLAGS.SILENT "
                         r"(\Deleted)").status != "OK":
            return
        self.proof.event(*[("taking", t, self.address) for _, t in some])
        if self.talk.cmd(f"UID EXPUNGE {uids}").status == "OK":
            self.proof.event(*[("taken", t, self.address) for _, t in some])


def numbers(sequence):
    """[4, 5, 6] of "4:5,6"."""
    out = []
    for part in sequence.split(","):
        a, _, b = part.partition(":")
        out += range(int(a), int(b or a) + 1)
    return out


class Pop3Client(Client):
    """Takes a few messages of carol's away, now and then."""

    def one(self):
        c = poplib.POP3("127.0.0.1", self.inst.port("pop3"), timeout=60)
        try:
            c.user("carol@our.test")
            c.pass_(PASSWORD)
            some = []
            for n in range(1, c.stat()[0] + 1):
                lines = [x for x in c.top(n, 0)[1]
                         if x.startswith(b"X-Proof: ")]
                if lines and self.random.random() < 0.4 and len(some) < 3:
                    some.append(lines[0][9:].decode())
                    c.dele(n)
            if not some:
                c.quit()
                return
            self.proof.event(*[("taking", t, "carol@our.test") for t in some])
            if c.quit().startswith(b"+OK"):
                self.proof.event(*[("taken", t, "carol@our.test")
                                   for t in some])
        finally:
            c.close()


class Operator(Client):
    """Holds what is stuck, releases some of it, flushes."""

    def one(self):
        if not self.load.stuck:
            self.load.over.wait(0.05)
            return
        queue_id = self.random.choice(self.load.stuck)
        verb = self.random.choice(["hold", "hold", "release", "flush"])
        self.inst.command("postern", "queue", verb, queue_id)


class Load:
    """All clients at once. steps: about so many messages come."""

    def __init__(self, inst, proof, steps, seed, prefix="", faults=False):
        self.inst, self.proof, self.seed = inst, proof, seed
        self.prefix, self.faults = prefix, faults
        self.stuck = []
        self.over = threading.Event()
        n = max(1, steps // 10)
        self.clients = [
            SmtpClient(self, "smtp1", n), SmtpClient(self, "smtp2", n),
            LmtpClient(self, "lmtp", n), ImapClient(self, "anna", 2 * n),
            ImapClient(self, "bob", 2 * n), Pop3Client(self, "pop3", n),
            SendmailClient(self, "sendmail", n)]
        self.operator = Operator(self, "operator", 1 << 30)

    def drop(self, steps):
        """By sendmail while the suite is down."""
        c = SendmailClient(self, "dropped", steps)
        c.run()
        return c.error

    def start(self):
        for c in self.clients + [self.operator]:
            c.start()

    def join(self, timeout=300):
        """Until the clients have done their steps; the errors they had."""
        for c in self.clients:
            c.join(timeout)
        self.over.set()
        # (an order waits for what qmgr waits for; on a dying disk that is long)
        for c in self.clients + [self.operator]:
            c.join(180)
        return [f"{c.name}: {c.error or 'no end'}" for c in self.clients +
                [self.operator] if c.error or c.is_alive()]


class Bed:
    """A suite on disks of its own, its spool made and its programs stopped.
    `images` are copies of the disks as they are then."""

    def __init__(self, directory, disks, proof=None):
        self.dir, self.disks = directory, disks
        self.sink_dir = os.path.join(directory, "sink")
        os.mkdir(self.sink_dir)
        self.sink = NextHop(self.sink_dir, proof)
        disks.mount()
        self.inst = make_instance(
            os.path.join(directory, "i"), disks,
            [f"{u}@our.test" for u in USERS], sets(self.sink.port))
        make_aliases(self.inst, os.path.join(disks.mail, "our.test/boxed"))
        # the spool is made, and `done` in it written, before it begins
        self.inst.start()
        self.inst.stop()
        disks.unmount()
        self.images = disks.copies(".base")


def make_aliases(inst, directory):
    """BOXED, an mbox in the directory of a user who is nobody's."""
    domain = os.path.dirname(directory)
    st = os.stat(os.path.dirname(domain))
    os.makedirs(directory, exist_ok=True)
    os.chown(domain, st.st_uid, st.st_gid)
    os.chmod(directory, 0o777)
    with open(os.path.join(inst.etc, "aliases"), "a", encoding="ascii") as f:
        f.write(f"boxed: {directory}/mbox\n")
    p = inst.command("newaliases")
    assert p.returncode == 0, p.stderr


def queue(inst):
    """[{queue_id, queue_name, ...}], or None while nobody answers."""
    p = inst.command("postern", "queue", "list", "-j")
    if p.returncode != 0:
        return None
    return [json.loads(s) for s in p.stdout.splitlines()]


def deliver_all(inst, timeout=30):
    """Flushes until the queue has nothing but what is on hold."""
    last = []

    def over():
        last[:] = [queue(inst)]
        if last[0] is None:
            return False
        left = [m for m in last[0] if m["queue_name"] != "hold"]
        if left:
            inst.command("postern", "queue", "flush")
        return not left

    try:
        wait_until(over, timeout, "delivery of the whole queue")
    except AssertionError as e:
        return f"{e}: {last[0]}"
    return None


def check_claims(inst, claims):
    """A uid that a client was told names that message, or none any more. What
    is wrong, or None."""
    wrong = []
    for user in {c[1] for c in claims}:
        with Talk(inst.port("imap"), f"{user}@our.test",
                  f'"{PASSWORD}"', timeout=60) as t:
            for folder in {c[2] for c in claims if c[1] == user}:
                wrong += check_folder(t, folder, [
                    c for c in claims if c[1:3] == (user, folder)])
    return "; ".join(wrong) or None


def check_folder(t, folder, claims):
    a = t.cmd(f"SELECT {folder}")
    if a.status != "OK":
        return [f"{folder} is gone"]
    validity = int(a.one(r"UIDVALIDITY (\d+)\]")[1])
    following = int(a.one(r"UIDNEXT (\d+)\]")[1])
    there = {}
    for r in t.ok(f"UID FETCH 1:* (UID {PROOF_FIELD})").untagged:
        uid = re.search(r"UID (\d+)", r)
        proof = re.search(r"X-Proof: (\S+)", r)
        if uid:
            there[int(uid[1])] = proof[1] if proof else "(another)"
    wrong = []
    for _, user, _, was, uid, token in claims:
        if was != validity:
            wrong.append(f"{user} {folder}: UIDVALIDITY {was} is {validity}")
            break
        if there.get(uid, token) != token:
            wrong.append(f"{user} {folder}: uid {uid} was {token}, is "
                         f"{there[uid]}")
        if uid >= following:
            wrong.append(f"{user} {folder}: uid {uid} was given, UIDNEXT is "
                         f"{following}")
    return wrong
