"""Replays rows of tests/badinputs against an instance.

A Session speaks one protocol to one port: it sends what it is told, whole or
one octet a packet, and cuts what it hears into replies. replay() brings it
into the row's state, plays the row's script and says how it ended.
"""
import base64
import collections
import re
import select
import socket
import ssl
import sys
import threading

from conftest import PASSWORD, PATIENCE, ROOT

sys.path.insert(0, ROOT + "/tests/badinputs")
import table  # noqa: E402  pylint: disable=wrong-import-position

WAIT = PATIENCE     # for a reply; nothing takes so long but a failure
TLS_CONTEXT = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
TLS_CONTEXT.check_hostname = False
TLS_CONTEXT.verify_mode = ssl.CERT_NONE

# replies: a line each. end: "open" the server still answered a farewell,
# "closed" it ended the connection, "waits" it heard the end of ours in the
# middle of a command. raw: all that came.
Result = collections.namedtuple("Result", "replies end raw")


class Stuck(Exception):
    pass


class Session:
    starttls = farewell = bye = None

    def __init__(self, port, source="127.0.0.1", bytewise=False,
                 implicit=False):
        self.sock = socket.create_connection(("127.0.0.1", port), WAIT,
                                             (source, 0))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.bytewise = bytewise
        self.tls = self.incoming = self.outgoing = None
        self.data, self.raw = b"", b""
        self.replies = []
        self.ended = False
        if implicit:
            self.start_tls()

    # --- octets ---
    # TLS is done in memory: what the server said before it closed can then
    # be read although a write has failed.

    def start_tls(self):
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = TLS_CONTEXT.wrap_bio(self.incoming, self.outgoing)
        while not self.ended:
            try:
                self.tls.do_handshake()
                self._write(self.outgoing.read())
                return
            except ssl.SSLWantReadError:
                self._write(self.outgoing.read())
                self.fill()
            except ssl.SSLError:
                self.ended = True

    def _heard(self, piece):
        if not piece:
            self.ended = True
        if self.tls is not None:
            self.incoming.write(piece)
            piece = b""
            try:
                while more := self.tls.read(65536):
                    piece += more
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLError:
                self.ended = True
        self.data += piece
        self.raw += piece

    def fill(self):
        """More octets, or the end."""
        if self.ended:
            return
        self.sock.settimeout(WAIT)
        try:
            self._heard(self.sock.recv(65536))
        except TimeoutError as error:
            raise Stuck(f"nothing came in {WAIT} s") from error
        except OSError:
            self._heard(b"")

    def _write(self, data):
        """Sends all; what the server says meanwhile is read, or both would
        wait."""
        view = memoryview(data)
        self.sock.setblocking(False)
        poll = select.poll()
        poll.register(self.sock, select.POLLIN | select.POLLOUT)
        while view and not self.ended:
            try:
                view = view[self.sock.send(view):]
                continue
            except BlockingIOError:
                pass
            except OSError:
                return      # what it said before is still to be read
            if not poll.poll(WAIT * 1000):
                raise Stuck(f"it took nothing in {WAIT} s")
            try:
                self._heard(self.sock.recv(65536))
            except BlockingIOError:
                pass
            except OSError:
                self._heard(b"")

    def _send(self, data):
        if self.tls is not None:
            self.tls.write(data)
            data = self.outgoing.read()
        self._write(data)

    def send(self, data):
        step = 1 if self.bytewise else 16384    # a TLS record
        for i in range(0, len(data), step):
            if self.ended:
                return
            self._send(data[i:i + step])

    def half_close(self):
        """Ends our direction, under TLS that of the connection below it."""
        try:
            self.sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def close(self):
        self.sock.close()

    # --- replies ---

    def take(self):
        """A whole reply from self.data, or None."""
        raise NotImplementedError

    def read(self):
        """The next reply, None at the end; it counts."""
        while True:
            reply = self.take()
            if reply is not None:
                self.replies.append(reply)
                return reply
            if self.ended:
                return None
            self.fill()

    def wait(self):
        """The next reply that a client would wait for."""
        return self.read()

    def ask(self, line):
        """A command of the way into a state: it must be taken."""
        bytewise, self.bytewise = self.bytewise, False
        self.send(line.encode() + b"\r\n")
        reply = self.wait()
        self.bytewise = bytewise
        assert reply is not None and self.is_positive(reply), (line, reply)
        self.replies = []
        return reply

    def is_positive(self, reply):
        raise NotImplementedError

    def read_until(self, is_done):
        """Reads until is_done(replies), which is asked when nothing more is
        there, or the end."""
        while True:
            while (reply := self.take()) is not None:
                self.replies.append(reply)
            if self.ended or is_done(self.replies):
                return
            self.fill()

    def read_rest(self):
        while self.read() is not None:
            pass

    def enter(self, state, user):
        """The way from the greeting into the state."""
        raise NotImplementedError


class Smtp(Session):
    starttls, farewell, bye = "STARTTLS", "QUIT", r"221 2\.0\.0 Bye"
    hello = "EHLO"

    def take(self):
        m = re.match(rb"(?:\d{3}-[^\n]*\n)*\d{3}(?: [^\n]*)?\n", self.data)
        if not m:
            return None
        self.data = self.data[m.end():]
        return m.group().decode("latin-1").strip().split("\n")[-1]

    def is_positive(self, reply):
        return reply[0] in "23"

    def enter(self, state, user):
        logged_in = state.startswith("A")
        state = state.split(":")[-1]
        if state in "C":
            return
        self.ask(f"{self.hello} probe.test")
        if logged_in:
            login = f"\0{user}\0{PASSWORD}".encode()
            self.ask("AUTH PLAIN " + base64.b64encode(login).decode())
        rcpt = "user@local.test"
        if state == "O":    # after 354, to somebody elsewhere
            state, rcpt = "D", "x@remote.test"
        lines = [f"MAIL FROM:<{user if logged_in else 'a@peer.test'}>",
                 f"RCPT TO:<{rcpt}>", "DATA"]
        for line in lines[:"MRD".find(state) + 1]:
            self.ask(line)


class Lmtp(Smtp):
    hello = "LHLO"


class Imap(Session):
    starttls, farewell, bye = "zt STARTTLS", "zz LOGOUT", r"zz OK"

    def take(self):
        """A response with its literals; of the untagged ones any."""
        at = 0
        while True:
            end = self.data.find(b"\n", at)
            if end < 0:
                return None
            m = re.search(rb"\{(\d+)\}\r$", self.data[at:end])
            if not m or not self.data.startswith(b"* "):
                break
            at = end + 1 + int(m.group(1))
            if at > len(self.data):
                return None
        text, self.data = self.data[:end + 1], self.data[end + 1:]
        return text.decode("latin-1").strip("\r\n").replace("\n", "\\n")

    def is_positive(self, reply):
        return bool(re.match(r"\S+ OK|\+", reply))

    def enter(self, state, user):
        if state in "AS":
            self.ask(f'za LOGIN {user} "{PASSWORD}"')
        if state == "S":
            self.ask("zs SELECT INBOX")

    def wait(self):
        while True:
            reply = self.read()
            if reply is None or not reply.startswith("* ") or \
                    reply.startswith(("* BYE", "* BAD")):
                return reply


class Pop3(Session):
    starttls, farewell, bye = "STLS", "QUIT", r"\+OK (Bye|Logging out)"

    def take(self):
        """A status line or continuation; lines of a content do not count
        (no message of ours has one that looks so)."""
        while True:
            text, newline, rest = self.data.partition(b"\n")
            if not newline:
                return None
            self.data = rest
            if text.startswith((b"+OK", b"-ERR", b"+ ")):
                return text.decode("latin-1").strip("\r")

    def is_positive(self, reply):
        return reply.startswith("+")

    def enter(self, state, user):
        if state == "A":
            self.ask(f"USER {user}")
            self.ask(f"PASS {PASSWORD}")


SESSIONS = {"smtp": Smtp, "submission": Smtp, "lmtp": Lmtp, "imap": Imap,
            "pop3": Pop3}
IMPLICIT = {"submission": "submissions", "imap": "imaps", "pop3": "pop3s"}


def nested(argument):
    """{{NEST n multipart}}: a message of n parts in each other."""
    depth, kind = argument.split(" ", 1)
    out = [b"From: a@peer.test\r\n"]
    for i in range(int(depth)):
        out.append(b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n"
                   b"--b%d\r\n" % (i, i) if kind == "multipart" else
                   b"Content-Type: message/rfc822\r\n\r\n")
    return b"".join(out) + b"\r\nx"


def play(session, script, is_done):
    """False when the client went away by itself."""
    heard = False       # since the last octets were sent
    for verb, data in script:
        if session.ended and verb != "W":
            break
        if verb == "send":
            session.send(data)
            heard = False
        elif verb == "NEST":
            session.send(nested(data))
        elif verb == "W":
            session.wait()
            heard = True
        elif verb == "TLS":
            reply = session.replies[-1] if heard else session.wait()
            if reply is None or not session.is_positive(reply):
                break
            session.data = b""
            session.start_tls()
        elif verb == "CLOSE":
            session.read_until(is_done)
            return False
        elif verb == "CLOSE-BEFORE-250":
            return False
        elif verb not in ("F", "NOWAIT", "WHOLE"):
            raise ValueError(f"no step {verb}")
    return True


def finish(session, end, is_done):
    """Hears what is_done(replies) waits for, then the rest; how it ended."""
    if end == "open":
        session.read_until(is_done)
    if end == "open" and not session.ended:
        session.bytewise = False
        session.send(session.farewell.encode() + b"\r\n")
    elif end == "waits":
        session.half_close()
    session.read_rest()
    if end == "waits":
        return "waits"
    replies = session.replies
    if end == "open" and replies and re.match(session.bye, replies[-1]):
        replies.pop()
        if replies and replies[-1].startswith("* BYE Logging out"):
            replies.pop()
        return "open"
    return "closed"


def compared(row, replies):
    """Replies as lines. IMAP's untagged responses count when they are BYE or
    BAD, or when the row names such."""
    if row.protocol == "imap":
        named = [re.sub(r"\{\{x(\d+|\+)\}\}$", "", one)
                 for one in row.reply.split(" ;; ") if one.startswith("\\* ")]
        replies = [one for one in replies if not one.startswith("* ") or
                   one.startswith(("* BYE", "* BAD")) or
                   any(re.match(n, one) for n in named)]
    return "".join(one + "\n" for one in replies)


def replay(row, port, source, user, tls, bytewise, implicit):
    """One row; raises Stuck when the server neither answers nor ends."""
    def is_done(replies):
        return re.search(table.conversation(row.reply),
                         compared(row, replies))

    session = SESSIONS[row.protocol](port, source, False, tls and implicit)
    try:
        script = table.steps(row.input)
        if ("NOWAIT", "") not in script:
            session.read()
            session.replies = []
        if tls and not implicit:
            if isinstance(session, Smtp):
                session.ask(f"{session.hello} starttls.test")
            session.ask(session.starttls)
            session.start_tls()
        session.enter(row.state.removeprefix("P:"), user)
        session.raw, session.bytewise = b"", bytewise
        if not play(session, script, is_done):
            return Result(session.replies, "left", session.raw)
        end = finish(session, table.effects(row).get("end", "open"), is_done)
        return Result(session.replies, end, session.raw)
    finally:
        session.close()


def run_all(jobs, work, threads=24):
    """{job: work(job) or the exception that it raised}."""
    results, todo, lock = {}, list(jobs), threading.Lock()
    todo.reverse()

    def worker():
        while True:
            with lock:
                if not todo:
                    return
                job = todo.pop()
            try:
                results[job] = work(job)
            except Exception as error:  # pylint: disable=broad-except
                results[job] = error

    pool = [threading.Thread(target=worker) for _ in range(threads)]
    for thread in pool:
        thread.start()
    for thread in pool:
        thread.join()
    return results
