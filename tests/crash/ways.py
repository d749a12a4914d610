"""ways.py - what a client does for one message on each of its ways

    way = SmtpWay(suite)
    way.prepare(token)          what has to be there before; no fault yet
    way.send(token)             -> "acked", "refused 451" or "broken"
    way.is_there(token)         it is over, as promised
    way.wrong(token, result)    what is not as promised at this moment
    way.settle(token, result)   brings back order; what is wrong then

The ways of COPY and MOVE are in ways_imap.py, an operator's in
ways_operator.py; traced.py has the suite.
"""
import base64
import hashlib
import os
import re
import socket

PASSWORD = "secret"
DOMAIN = "our.test"


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
        self.last = b""

    def line(self):
        line = self.file.readline()
        if not line.endswith(b"\n"):
            raise ConnectionError("it hung up")
        return line

    def say(self, text):
        self.socket.sendall(text.encode() if isinstance(text, str) else text)

    def reply(self):
        """An SMTP reply's code; the line is in self.last."""
        while True:
            self.last = self.line()
            if self.last[3:4] != b"-":
                return self.last[:3].decode()

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
    promises = ()       # whose flushes the acknowledgement stands on
    octets = 600
    parts = 2           # tasks of a program of which all points are wanted
    most = 0            # points of a program when all are wanted; 0: each
    apart = False       # a point begins when the one before is over

    def __init__(self, suite):
        self.suite = suite

    def prepare(self, token):
        """What has to be there; what is wrong, or None."""

    def wrong(self, token, result):
        """Of what `result` promises, what is not so now: a text, or None."""

    def settle(self, token, result):
        """After a point that is over: order again. A text, or None."""

    def answered_before(self, fired):
        """Whether the answer came before that event, and stands on other
        things."""
        return False

    def is_honest(self, code):
        """Whether that refusal says that it is not done, for now."""
        # SMTP 4xx, EX_TEMPFAIL and EX_OSERR, NO, -ERR; "gone": what was to
        # be removed is not shown while its file cannot be looked at
        return code[0] == "4" or code in ("75", "71", "NO", "ERR", "gone")

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
    promises = ("cleanup",)
    sender = "sender@elsewhere.test"

    def submit(self, token, message, rcpt):
        with Conversation(self.suite.port("smtp")) as c:
            for expected, line in (
                    ("220", None), ("250", "EHLO proof.test\r\n"),
                    ("250", f"MAIL FROM:<{self.from_(token)}>\r\n"),
                    ("250", f"RCPT TO:<{rcpt}>\r\n"), ("354", "DATA\r\n")):
                if line == "DATA\r\n":
                    self.before_data()
                if line:
                    c.say(line)
                code = c.reply()
                if code != expected:
                    return f"refused {code}"
            c.say(message + b".\r\n")
            code = c.reply()
            if code != "250":
                return f"refused {code}"
            self.said(token, c.last)
            c.say("QUIT\r\n")
            return "acked"

    def before_data(self):
        """In the middle of the session."""

    def said(self, token, line):
        """The last reply."""

    def from_(self, token):
        return self.sender


class BigWay(SmtpWay):
    """A message that cleanup streams into its file instead of holding it."""
    parts = 4
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
    parts = 6
    programs = ("qmgr", "smtp")

    def rcpt(self, token):
        return f"later-{token}@sink.test".lower()


class BounceWay(SmtpWay):
    """The next host says 550: the sender gets a notification."""
    parts = 6
    programs = ("qmgr", "smtp", "bounce", "cleanup", "local", "deliver")
    promises = ()       # cleanup writes another message as well

    def rcpt(self, token):
        return f"no-{token}@sink.test".lower()

    def from_(self, token):
        return self.suite.user_of(token)

    def is_there(self, token):
        return self.suite.in_mailbox(token, self.suite.user_of(token))


class ForwardWay(SmtpWay):
    """An alias that leads elsewhere: local makes a new message of it."""
    programs = ("local", "cleanup", "qmgr")
    promises = ()       # cleanup writes another message as well

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
    promises = ("sendmail",)    # where cleanup cannot, it does

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
    parts = 4
    programs = ("login", "auth", "launch", "limits", "imapd", "log")
    promises = ("imapd",)
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
