"""ways_imap.py - IMAP COPY and MOVE, from INBOX into a folder

What an answer promises is looked for in the directories and, through a session
of its own, in what a client sees.
"""
import os

from ways import PASSWORD, Conversation, Way, make_message

FOLDER = "Proof"
INBOX, TARGET = "", f".{FOLDER}"


def _said(c, tag, line):
    """The command's completion and its untagged lines."""
    c.say(f"{tag} {line}\r\n")
    return c.tagged(tag.encode())


def _numbers(c, folder, token):
    """The message's numbers in that folder; or what was said instead."""
    for tag, line in (("s", f"SELECT {folder}"),
                      ("f", f"SEARCH HEADER X-Proof {token}")):
        said, lines = _said(c, tag, line)
        if said != "OK":
            return f"refused {said}"
    for line in lines:
        if line.startswith(b"* SEARCH"):
            return [int(n) for n in line.split()[2:]]
    return "refused gone"


class _Transfer(Way):
    """There is a second message in INBOX that nobody touches."""
    parts = 4
    programs = ("imapd",)
    promises = ("imapd",)
    apart = True
    command = done = None

    def _login(self, rcpt):
        c = Conversation(self.suite.port("imap"))
        c.line()
        said, _ = _said(c, "l", f"LOGIN {rcpt} {PASSWORD}")
        if said == "OK":
            return c
        c.close()
        raise ConnectionError(f"LOGIN: {said}")

    @staticmethod
    def _other(token):
        return "stays-" + token.split("-", 1)[1]

    def prepare(self, token):
        rcpt = self.rcpt(token)
        for t in (token, self._other(token)):
            self.suite.put_into_mailbox(t, make_message(t), rcpt)
        if os.path.isdir(os.path.join(self.suite.maildir(rcpt), TARGET)):
            return None
        try:
            with self._login(rcpt) as c:
                said, _ = _said(c, "c", f"CREATE {FOLDER}")
        except OSError as e:
            return f"CREATE: {e}"
        return None if said == "OK" else f"CREATE: {said}"

    def send(self, token):
        rcpt = self.rcpt(token)
        self.suite.ledger(f"copying {token} {rcpt}")
        try:
            result = self._transfer(token, rcpt)
        except OSError:
            result = "broken"
        if result == "acked":
            self.suite.ledger(f"{self.done} {token} {rcpt}")
        return result

    def _transfer(self, token, rcpt):
        with Conversation(self.suite.port("imap")) as c:
            c.line()
            said, _ = _said(c, "l", f"LOGIN {rcpt} {PASSWORD}")
            if said != "OK":
                return f"refused {said}"
            numbers = _numbers(c, "INBOX", token)
            if not isinstance(numbers, list):
                return numbers
            if not numbers:
                return "refused gone"
            said, _ = _said(c, "d", f"{self.command} {numbers[0]} {FOLDER}")
            if said != "OK":
                return f"refused {said}"
            c.say("o LOGOUT\r\n")
            return "acked"

    def is_there(self, token):
        return self.is_right(*self._on_disk(token), "acked")

    def _on_disk(self, token):
        """How many files of it INBOX and the folder have."""
        top = self.suite.maildir(self.rcpt(token))
        # the target first: what moves meanwhile is then seen at least once
        there = self.suite.count_files(token, os.path.join(top, TARGET))
        return self.suite.count_files(token, os.path.join(top, INBOX)), there

    @staticmethod
    def is_right(here, there, result):
        """Whether so many copies may be after that result."""
        raise NotImplementedError

    def wrong(self, token, result):
        here, there = self._on_disk(token)
        if not self.is_right(here, there, result):
            return f"{result}, {here} in INBOX, {there} in {FOLDER}"
        return None

    def settle(self, token, result):
        """What a client sees is what the disk has."""
        other = self._other(token)
        try:
            with self._login(self.rcpt(token)) as c:
                seen = [_numbers(c, folder, t) for t in (token, other)
                        for folder in ("INBOX", FOLDER)]
        except OSError as e:
            return f"no session afterwards: {e}"
        if not all(isinstance(numbers, list) for numbers in seen):
            return f"no search afterwards: {seen}"
        here, there, stays, strays = map(len, seen)
        if (here, there) != self._on_disk(token) or \
                not self.is_right(here, there, result):
            return (f"{result}, a client sees {here} in INBOX, {there} in "
                    f"{FOLDER}; on disk {self._on_disk(token)}")
        if (stays, strays) != (1, 0):
            return f"{other}: {stays} in INBOX, {strays} in {FOLDER}"
        return None


class CopyWay(_Transfer):
    """IMAP COPY: the source stays; OK: the copy is there."""
    command, done = "COPY", "copied"

    @staticmethod
    def is_right(here, there, result):
        return here == 1 and (there == 1 if result == "acked" else there <= 1)


class MoveWay(_Transfer):
    """IMAP MOVE (RFC 6851): at no moment nowhere; OK: it is there alone."""
    command, done = "MOVE", "moved"

    @staticmethod
    def is_right(here, there, result):
        if result == "acked":
            return (here, there) == (0, 1)
        return here <= 1 and there <= 1 and here + there >= 1
