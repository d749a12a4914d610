"""A raw IMAP client: what goes over the wire is what the test says."""
import os
import re
import socket
import subprocess

from conftest import BIN, PATIENCE, wait_until


class Gone(Exception):
    """The server closed the connection; args[0] is what came before."""


class Answer:
    def __init__(self, status, text, untagged):
        self.status, self.text, self.untagged = status, text, untagged

    def __repr__(self):
        return f"{self.status} {self.text!r} {self.untagged!r}"

    def of(self, pattern):
        """Untagged responses that match, as match objects."""
        rx = re.compile(pattern, re.S)
        return [m for m in map(rx.search, self.untagged) if m]

    def one(self, pattern):
        found = self.of(pattern)
        assert len(found) == 1, f"{pattern}: {self!r}"
        return found[0]


class Talk:
    """Responses are latin-1 strings with their literals inside, "* " off."""

    def __init__(self, port, user="u", password="p", timeout=60,
                 host="127.0.0.1"):
        self.sock = self.wrap(socket.create_connection((host, port),
                                                       timeout))
        self.buf, self.tags = b"", 0
        self.greeting = self.response()
        if user is not None:
            self.login = self.cmd(f"LOGIN {user} {password}")

    def wrap(self, sock):
        """For TLS."""
        return sock

    def close(self):
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def send(self, data):
        if isinstance(data, str):
            data = data.encode("latin-1")
        self.sock.sendall(data)

    def _fill(self):
        try:
            data = self.sock.recv(262144)
        except ConnectionResetError:
            data = b""
        if not data:
            raise Gone(self.buf.decode("latin-1"))
        self.buf += data

    def line(self):
        while b"\r\n" not in self.buf:
            self._fill()
        text, self.buf = self.buf.split(b"\r\n", 1)
        return text.decode("latin-1")

    def octets(self, n):
        while len(self.buf) < n:
            self._fill()
        data, self.buf = self.buf[:n], self.buf[n:]
        return data.decode("latin-1")

    def response(self):
        """One response with its literals."""
        text = self.line()
        while (m := re.search(r"\{(\d+)\}$", text)):
            text += "\r\n" + self.octets(int(m.group(1))) + self.line()
        return text

    def answer(self, tag):
        untagged = []
        while True:
            r = self.response()
            if r.startswith("* "):
                untagged.append(r[2:])
            elif r.startswith(tag + " "):
                status, _, text = r[len(tag) + 1:].partition(" ")
                return Answer(status, text, untagged)
            elif r.startswith("+"):
                raise AssertionError(f"unexpected continuation {r!r}")
            else:
                raise AssertionError(f"unexpected {r!r}")

    def cmd(self, text):
        """Sends a command; text may be a list: a synchronising literal stands
        between its members ("... {n}" is made by the caller)."""
        self.tags += 1
        tag = f"t{self.tags}"
        parts = [text] if isinstance(text, (str, bytes)) else text
        for i, part in enumerate(parts):
            if isinstance(part, str):
                part = part.encode("latin-1")
            head = tag.encode() + b" " if i == 0 else b""
            self.send(head + part + b"\r\n")
            if i + 1 < len(parts):
                r = self.response()
                if not r.startswith("+"):
                    status, _, rest = r.partition(" ")[2].partition(" ")
                    assert r.startswith(tag), r
                    return Answer(status, rest, [])
        return self.answer(tag)

    def ok(self, text):
        a = self.cmd(text)
        assert a.status == "OK", f"{text!r}: {a!r}"
        return a

    def append(self, message, mailbox="INBOX", extra=""):
        if isinstance(message, str):
            message = message.encode("latin-1")
        return self.cmd([f"APPEND {mailbox} {extra}{{{len(message)}}}",
                         message])

    def rest(self, timeout=60):
        """All up to the end of the connection."""
        self.sock.settimeout(timeout)
        pieces = []
        while True:
            pieces.append(self.buf)
            self.buf = b""
            try:
                self._fill()
            except Gone:
                return b"".join(pieces).decode("latin-1")


class BareServer:
    """imapd's sessions without login and walls (tests/tools)."""

    def __init__(self, port, maildir, idle=1800, append=52428800):
        os.makedirs(maildir, exist_ok=True)
        self.port, self.maildir = port, maildir
        self.log = open(os.path.join(os.path.dirname(maildir), "log"), "ab")
        self.process = subprocess.Popen(
            [os.path.join(BIN, "imapd-bare"), str(port), maildir,
             str(idle), str(append)],
            stdin=subprocess.PIPE, stderr=self.log)

        def answers():
            assert self.process.poll() is None, "imapd-bare ended"
            try:
                socket.create_connection(("127.0.0.1", port), 60).close()
                return True
            except OSError:
                return False
        wait_until(answers, what="the start of imapd-bare")

    def talk(self, **kw):
        return Talk(self.port, **kw)

    def drain(self):
        self.process.stdin.close()

    def stop(self):
        if not self.process.stdin.closed:
            self.process.stdin.close()
        try:
            assert self.process.wait(PATIENCE) == 0
        finally:
            self.process.kill()
            self.log.close()
