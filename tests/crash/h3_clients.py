"""h3_clients.py - those who send, read and remove mail while H3 kills

Each client writes into the ledger what it is about to do and what it was told
(oracle.c), and goes on with a new session when one breaks.
"""
import base64
import collections
import contextlib
import hashlib
import os
import poplib
import random
import re
import socket
import ssl
import subprocess
import threading

import conftest
import imaptalk
from conftest import PASSWORD
from ledger import message

DOMAIN = "our.test"
IMAP_USER, POP_USER, PLAIN_USER = "imap", "pop", "plain"
FORWARD_USER, NOTES_USER = "forward", "notes"
USERS = (IMAP_USER, POP_USER, PLAIN_USER, FORWARD_USER, NOTES_USER)
ALIAS, MBOX = "alias@mail.our.test", "pile@mail.our.test"
SENDER = f"{NOTES_USER}@{DOMAIN}"
AWAY = [f"r{i}@away.test" for i in range(6)]
REFUSED_AWAY = "gone@away.test"
CLIENT_TIMEOUT = 40


class Lost(Exception):
    """The connection broke, or said what no server says."""


NOT_SERVED = (OSError, EOFError, Lost, imaptalk.Gone,
              poplib.error_proto, ssl.SSLError)


class Load:
    """The threads of one round, and what they found wrong."""

    def __init__(self, suite, ledger, seed, number):
        self.suite, self.inst, self.ledger = suite, suite.inst, ledger
        self.seed, self.number = seed, number
        self.over = threading.Event()
        self.problems = []
        self.counts = collections.Counter()
        self.sums = {}
        self.threads = []

    def add(self, client, name, *args):
        rng = random.Random(f"{self.seed}/{self.number}/{name}")
        self.threads.append(threading.Thread(
            target=self.loop, args=(client(self, name, rng, *args),),
            daemon=True))

    def loop(self, client):
        try:
            while not self.over.is_set():
                try:
                    client.session()
                except NOT_SERVED:
                    self.counts["broken"] += 1
                    client.forget()
                self.over.wait(client.rng.random() * 0.05)
        except Exception as e:  # pylint: disable=broad-except
            self.problems.append(f"{client.name}: {type(e).__name__}: {e}")
            self.over.set()

    def start(self):
        for t in self.threads:
            t.start()

    def end(self):
        self.over.set()
        for t in self.threads:
            t.join(2 * CLIENT_TIMEOUT)
            if t.is_alive():
                self.problems.append("a client hangs")

    def compare(self, token, octets, where):
        """Octets that a client read, from its proof line on."""
        want = self.sums.get(token)
        at = octets.find(b"X-Proof: ")
        if want != hashlib.sha256(octets[max(at, 0):]).digest():
            self.problems.append(f"{where}: {token} has other octets")


class Client:
    def __init__(self, load, name, rng):
        self.load, self.name, self.rng = load, name, rng
        self.inst, self.ledger = load.inst, load.ledger
        self.made = 0

    def forget(self):
        """The session broke."""

    def make(self, rcpts):
        """A new message, in the ledger as sent."""
        self.made += 1
        token = f"{self.name}-{self.load.number}-{self.made}"
        size = int(1000 * 300 ** (self.rng.random() ** 3))
        text = message(token, size, self.load.seed, SENDER)
        self.load.sums[token] = hashlib.sha256(text).digest()
        self.ledger.sent(token, text, rcpts)
        return token, text

    def answered(self, token, code, rcpt=None):
        ok = str(code)[0] == "2" or code == "OK"
        if ok:
            self.ledger.acked(token, rcpt)
        elif rcpt is None:
            self.ledger.refused(token, code)
        self.load.counts["acked" if ok else "refused"] += 1

    def some_rcpts(self, local=False):
        users = [f"{u}@{DOMAIN}" for u in (IMAP_USER, POP_USER, PLAIN_USER)]
        choice = users * 3 + [ALIAS, MBOX]
        if not local:
            choice += AWAY + [REFUSED_AWAY]
        few = self.rng.choice((1, 1, 1, 2, 4))
        return sorted(set(self.rng.sample(choice, few)))


class Smtp(Client):
    """Sessions of several messages: DATA and BDAT, pipelined."""

    verb = "EHLO"
    port = "smtp"

    def connect(self):
        sock = socket.create_connection(
            ("127.0.0.1", self.inst.port(self.port)), CLIENT_TIMEOUT)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock

    def reply(self):
        while True:
            line = self.file.readline(2000)
            if len(line) < 4:
                raise Lost
            if line[3:4] != b"-":
                return int(line[:3])

    def say(self, *lines):
        self.sock.sendall("".join(x + "\r\n" for x in lines).encode())

    def must(self, code):
        if self.reply() != code:
            raise Lost

    def session(self):
        with contextlib.ExitStack() as stack:
            self.sock = stack.enter_context(self.connect())
            self.file = stack.enter_context(self.sock.makefile("rb"))
            self.must(220)
            self.hello()
            for _ in range(self.rng.randint(1, 12)):
                if self.load.over.is_set():
                    break
                self.transact()
            self.say("QUIT")
            self.reply()

    def hello(self):
        self.say(f"{self.verb} client.elsewhere.test")
        self.must(250)

    def envelope(self, rcpts):
        return [f"MAIL FROM:<{SENDER}>", *(f"RCPT TO:<{r}>" for r in rcpts)]

    def envelope_replies(self, rcpts):
        """The recipients that were taken; of none, no message."""
        mail = self.reply()
        codes = [self.reply() for _ in rcpts]
        taken = [r for r, c in zip(rcpts, codes) if c == 250]
        if 421 in [mail, *codes]:
            raise Lost
        return taken if mail == 250 else []

    def transact(self):
        how = self.rng.choice((self.data, self.bdat, self.bdat_at_once))
        how(self.some_rcpts())

    def data(self, rcpts):
        self.say(*self.envelope(rcpts), "DATA")
        taken = self.envelope_replies(rcpts)
        code = self.reply()
        if code != 354:
            self.say("RSET")
            return self.must(250)
        if not taken:
            raise Lost
        token, text = self.make(taken)
        self.sock.sendall(text + b".\r\n")
        return self.final(token, taken)

    def final(self, token, taken):
        code = self.reply()
        self.answered(token, code)
        if code == 421:
            raise Lost
        del taken

    def bdat(self, rcpts):
        """RFC 3030, chunks of any length, each answered."""
        self.say(*self.envelope(rcpts))
        taken = self.envelope_replies(rcpts)
        if not taken:
            self.say("RSET")
            return self.must(250)
        token, text = self.make(taken)
        at = 0
        while at < len(text):
            n = min(len(text) - at, self.rng.choice((100, 4000, 65536)))
            last = at + n == len(text)
            self.sock.sendall(f"BDAT {n}{' LAST' if last else ''}\r\n"
                              .encode() + text[at:at + n])
            at += n
            if last:
                return self.final(token, taken)
            code = self.reply()
            if code != 250:
                self.answered(token, code)
                raise Lost
        return None

    def bdat_at_once(self, rcpts):
        """All in one write: who is a recipient is known afterwards."""
        token, text = self.make(rcpts)
        self.sock.sendall("".join(x + "\r\n" for x in [
            *self.envelope(rcpts), f"BDAT {len(text)} LAST"]).encode() + text)
        taken = self.envelope_replies(rcpts)
        code = self.reply()
        if code == 250 and taken != rcpts:
            for r in taken:
                self.answered(token, code, r)
        else:
            self.answered(token, code)
        if code != 250:
            raise Lost


class Submission(Smtp):
    port = "submission"

    def hello(self):
        super().hello()
        self.say("STARTTLS")
        self.must(220)
        self.file.close()
        self.sock = self.inst.tls().wrap_socket(self.sock,
                                                server_hostname="localhost")
        self.file = self.sock.makefile("rb")
        super().hello()
        word = base64.b64encode(f"\0{SENDER}\0{PASSWORD}".encode()).decode()
        self.say(f"AUTH PLAIN {word}")
        self.must(235)


class Lmtp(Smtp):
    """RFC 2033: a reply for each recipient."""

    verb = "LHLO"
    port = "lmtp"

    def transact(self):
        self.data(self.some_rcpts(local=True))

    def final(self, token, taken):
        codes = [self.reply() for _ in taken]
        for r, code in zip(taken, codes):
            self.answered(token, code, r)
        if 421 in codes:
            raise Lost


class Command(Client):
    """sendmail(1), whether anybody listens or not."""

    def session(self):
        rcpts = self.some_rcpts()
        token, text = self.make(rcpts)
        p = subprocess.run(
            [os.path.join(conftest.BIN, "sendmail"), "-C", self.inst.etc,
             "-i", "-f", SENDER, *rcpts], input=text.replace(b"\r\n", b"\n"),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False,
            timeout=300, env=dict(os.environ, ASAN_OPTIONS="detect_leaks=0"))
        self.answered(token, 250 if p.returncode == 0 else p.returncode)


class Imap(Client):
    """The only one who changes its mailboxes: INBOX and Work."""

    folders = ("INBOX", "Work", "Work.Old")

    def __init__(self, load, name, rng):
        super().__init__(load, name, rng)
        self.rcpt = f"{IMAP_USER}@{DOMAIN}"
        self.validity = {}      # folder -> UIDVALIDITY
        self.uidnext = {}       # folder -> UIDNEXT
        self.uids = {}          # folder -> {uid: token}
        self.flagged = {}       # folder -> uids that have \\Flagged

    def session(self):
        with imaptalk.Talk(self.inst.port("imap"), self.rcpt,
                           f'"{PASSWORD}"', CLIENT_TIMEOUT) as self.talk:
            if self.talk.login.status != "OK":
                raise Lost
            for folder in self.folders[1:]:
                self.talk.cmd(f"CREATE {folder}")
            for _ in range(self.rng.randint(1, 10)):
                if self.load.over.is_set():
                    return
                self.work(self.rng.choice(self.folders))
            self.talk.cmd("LOGOUT")

    def work(self, folder):
        self.append(folder)
        answer = self.talk.cmd(f"SELECT {folder}")
        if answer.status != "OK":
            raise Lost
        validity = answer.one(r"UIDVALIDITY (\d+)")[1]
        uidnext = int(answer.one(r"UIDNEXT (\d+)")[1])
        # RFC 3501 2.3.1.1
        if self.validity.setdefault(folder, validity) != validity or \
                self.uidnext.get(folder, 0) > uidnext:
            self.load.problems.append(
                f"{folder}: UIDVALIDITY {self.validity[folder]}, UIDNEXT "
                f"{self.uidnext.get(folder)}, then {validity}, {uidnext}")
        self.uidnext[folder] = uidnext
        here = self.look(folder, uidnext)
        if here:
            self.rng.choice((self.copy, self.move, self.flag, self.expunge,
                             self.expunge, self.read))(folder, here)

    def look(self, folder, uidnext):
        """uid -> token of a few messages."""
        known = self.uids.setdefault(folder, {})
        flagged = self.flagged.setdefault(folder, set())
        first = max(1, uidnext - self.rng.choice((10, 100, 1000)))
        answer = self.talk.cmd(
            f"UID FETCH {first}:{first + 60} "
            "(FLAGS BODY.PEEK[HEADER.FIELDS (X-PROOF)])")
        here = {}
        for text in answer.untagged:
            uid = re.search(r"\bUID (\d+)", text)
            token = re.search(r"^X-Proof: (\S+)", text, re.M)
            if uid and token:
                here[int(uid[1])] = token[1]
            if uid and token and int(uid[1]) in flagged and \
                    "\\Flagged" not in text:
                self.load.problems.append(
                    f"{folder}: uid {uid[1]} has lost its flag: {text}")
        for uid, token in here.items():
            if known.setdefault(uid, token) != token:
                self.load.problems.append(
                    f"{folder}: uid {uid} was {known[uid]}, is {token}")
        if answer.status != "OK":
            raise Lost
        return here

    def some(self, here):
        return self.rng.sample(sorted(here), min(len(here),
                                                 self.rng.choice((1, 5))))

    def command(self, text, uids):
        """None, or the answer when it is OK."""
        answer = self.talk.cmd(f"UID {text}".format(",".join(map(str, uids))))
        if answer.status != "OK":
            return None
        self.load.counts["imap " + text.split()[0]] += 1
        return answer

    @staticmethod
    def really_copied(answer, uids):
        """RFC 4315: of these, as what a broken session asked for may only be
        done now, and a uid that is gone meanwhile is no error."""
        done = set()
        for text in [answer.text, *answer.untagged] if answer else ():
            m = re.search(r"\[COPYUID \d+ ([\d:,]+) ", text)
            for part in m[1].split(",") if m else ():
                first, _, last = part.partition(":")
                done |= set(range(int(first), int(last or first) + 1))
        return [u for u in uids if u in done]

    def append(self, folder):
        token, text = self.make([self.rcpt])
        date = self.rng.choice(("", '"17-Jul-1996 02:44:25 -0700" ',
                                '"01-Jan-2099 00:00:00 +0000" '))
        answer = self.talk.cmd([
            f"APPEND {folder} ($Proof \\Seen) {date}{{{len(text)}}}",
            text])
        self.answered(token, answer.status)
        self.load.counts["imap APPEND"] += answer.status == "OK"

    def copy(self, folder, here):
        uids = self.some(here)
        for u in uids:
            self.ledger.copying(here[u], self.rcpt)
        answer = self.command("COPY {} " + self.other(folder), uids)
        for u in self.really_copied(answer, uids):
            self.ledger.copied(here[u], self.rcpt)

    def move(self, folder, here):
        """RFC 6851: at no moment is there none of it."""
        uids = self.some(here)
        for u in uids:
            self.ledger.copying(here[u], self.rcpt)
        answer = self.command("MOVE {} " + self.other(folder), uids)
        for u in self.really_copied(answer, uids):
            self.ledger.moved(here[u], self.rcpt)

    def other(self, folder):
        return self.rng.choice([f for f in self.folders if f != folder])

    def flag(self, folder, here):
        uids = self.some(here)
        if self.command("STORE {} +FLAGS.SILENT (\\Flagged $Work)", uids):
            self.flagged[folder].update(uids)

    def expunge(self, _folder, here):
        uids = self.some(here)
        if not self.command("STORE {} +FLAGS (\\Deleted)", uids):
            return
        for u in uids:
            self.ledger.taking(here[u], self.rcpt)
        if self.command("EXPUNGE {}", uids):
            for u in uids:
                self.ledger.taken(here[u], self.rcpt)

    def read(self, folder, here):
        uid = self.rng.choice(sorted(here))
        answer = self.talk.cmd(f"UID FETCH {uid} (BODY.PEEK[])")
        for m in answer.of(r"BODY\[\] \{(\d+)\}\r\n"):
            text = m.string[m.end():m.end() + int(m[1])]
            self.load.compare(here[uid], text.encode("latin-1"),
                              f"FETCH {folder} {uid}")


class Pop(Client):
    def __init__(self, load, name, rng):
        super().__init__(load, name, rng)
        self.rcpt = f"{POP_USER}@{DOMAIN}"

    def session(self):
        box = poplib.POP3("127.0.0.1", self.inst.port("pop3"),
                          timeout=CLIENT_TIMEOUT)
        try:
            box.user(self.rcpt)
            box.pass_(PASSWORD)
            count = box.stat()[0]
            removed = []
            for n in range(1, min(count, self.rng.randint(1, 20)) + 1):
                text = b"\r\n".join(box.retr(n)[1]) + b"\r\n"
                token = re.search(rb"^X-Proof: (\S+)", text, re.M)[1].decode()
                self.load.compare(token, text, f"RETR {n}")
                box.dele(n)
                removed.append(token)
            for token in removed:
                self.ledger.taking(token, self.rcpt)
            box.quit()
            for token in removed:
                self.ledger.taken(token, self.rcpt)
            self.load.counts["pop3 DELE"] += len(removed)
        finally:
            box.close()
