"""Bad input to SMTP, submission and LMTP: every row is answered as it says.

smtp_badinputs.tsv has a row a case: id, service, state, input, replies, what
it is about. States: C after the greeting, E after EHLO (LHLO), M after MAIL,
R after RCPT, D after 354, T after STARTTLS, A logged in (A:M, A:D: and so
on). The input is C-escaped, with {{REP n "s"}} repeating s ({{i}} is the
number of the repetition), {{W}} waiting for a reply, {{F}} ending a packet,
{{TLS}} starting TLS, {{CLOSE}} going away, {{NOWAIT}} not waiting for the
greeting. Replies are regular expressions between " ;; "; {{xN}} behind one
repeats it, {{x+}} is once or more; "^$" is the end without a reply.
"""
import base64
import os
import re
import socket
import ssl
import time

import pytest

from conftest import BIN, PASSWORD, make_instance, wait_until

HERE = os.path.dirname(os.path.abspath(__file__))
ROWS = []
with open(os.path.join(HERE, "smtp_badinputs.tsv"), encoding="utf-8") as f:
    for text in f:
        if not text.startswith("#") and text.strip():
            ROWS.append(text.rstrip("\n").split("\t"))

ESCAPES = {"n": 10, "r": 13, "t": 9, "v": 11, "0": 0, "\\": 92, '"': 34,
           "'": 39}
REPEAT = re.compile(r'\{\{REP (\d+) "((?:[^"\\]|\\.)*)"\}\}')
STEP = re.compile(r"\{\{(W|F|TLS|CLOSE|NOWAIT)\}\}")


def unescape(text):
    def one(m):
        if m.group(1):
            return bytes([int(m.group(1), 16)])
        return bytes([ESCAPES[m.group(2).decode()]])
    return re.sub(rb"\\(?:x([0-9a-fA-F]{2})|(.))", one, text.encode())


def expand(text):
    """Octets of a part; what is repeated is unescaped once."""
    out = b""
    at = 0
    for m in REPEAT.finditer(text):
        n, piece = int(m.group(1)), m.group(2)
        out += unescape(text[at:m.start()])
        if "{{i}}" in piece:
            out += b"".join(unescape(piece.replace("{{i}}", str(k)))
                            for k in range(n))
        else:
            out += unescape(piece) * n
        at = m.end()
    return out + unescape(text[at:])


def steps(text):
    parts = STEP.split(text)
    for i, part in enumerate(parts):
        if i % 2:
            yield part, None
        elif part:
            yield "send", expand(part)


class Client:
    """A client that says what it likes and collects what it hears."""

    def __init__(self, port):
        self.sock = socket.create_connection(("127.0.0.1", port), 30)
        self.data = b""
        self.replies = []
        self.ended = False

    def _take(self):
        m = re.match(rb"(?:\d{3}-[^\n]*\n)*\d{3}(?: [^\n]*)?\n", self.data)
        if not m:
            return None
        self.data = self.data[m.end():]
        return m.group().decode("latin1").strip().split("\n")[-1]

    def read(self):
        """The next reply, or None at the end of the connection."""
        while True:
            reply = self._take()
            if reply is not None:
                self.replies.append(reply)
                return reply
            try:
                piece = self.sock.recv(65536)
            except (ConnectionError, ssl.SSLError):
                piece = b""
            if not piece:
                self.ended = True
                return None
            self.data += piece

    def send(self, data):
        # What the server says meanwhile has to be read, or both wait.
        self.sock.setblocking(False)
        view = memoryview(data)
        while view:
            try:
                view = view[self.sock.send(view):]
                continue
            except (BlockingIOError, ssl.SSLWantWriteError):
                pass
            except (ConnectionError, ssl.SSLError):
                break
            try:
                self.data += self.sock.recv(65536)
            except (BlockingIOError, ssl.SSLWantReadError):
                pass
            except (ConnectionError, ssl.SSLError):
                break
        self.sock.setblocking(True)
        self.sock.settimeout(60)

    def ask(self, line):
        self.send(line.encode() + b"\r\n")
        reply = self.read()
        self.replies.pop()
        assert reply[0] in "23", (line, reply)
        return reply

    def start_tls(self):
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        try:
            self.sock = context.wrap_socket(self.sock)
        except (ssl.SSLError, OSError):
            self.ended = True

    def finish(self):
        """Nothing more to say: hears the rest."""
        try:
            if isinstance(self.sock, ssl.SSLSocket):
                # A TLS connection has no half-closed state here: the last
                # command tells that all others were answered.
                self.send(b"QUIT\r\n")
            else:
                self.sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        while self.read() is not None:
            pass
        if isinstance(self.sock, ssl.SSLSocket) and self.replies and \
                self.replies[-1].startswith("221"):
            self.replies.pop()
        self.sock.close()


def enter(client, state, hello, domain):
    """Brings the client into a state."""
    logged_in = state.startswith("A")
    state = state.split(":")[-1]
    if state in "C":
        return
    client.ask(hello)
    if state == "T" or logged_in:
        client.ask("STARTTLS")
        client.start_tls()
        client.ask(hello)
    if logged_in:
        login = f"\0user@{domain}\0{PASSWORD}".encode()
        client.ask("AUTH PLAIN " + base64.b64encode(login).decode())
    lines = [f"MAIL FROM:<{'user@' + domain if logged_in else 'a@peer.test'}>",
             f"RCPT TO:<user@{domain}>", "DATA"]
    for line in lines[:"MRD".find(state) + 1]:
        client.ask(line)


def talk(port, state, text, hello="EHLO probe.test", domain="local.test"):
    client = Client(port)
    script = list(steps(text))
    if ("NOWAIT", None) not in script:
        client.read()
        client.replies.pop()
    enter(client, state, hello, domain)
    for verb, data in script:
        if verb == "send":
            client.send(data)
        elif verb == "W":
            client.read()
        elif verb == "TLS":
            if client.replies or client.read().startswith("220"):
                client.start_tls()
        elif verb == "CLOSE":
            client.sock.close()
            return client.replies
        if client.ended:
            break
    if client.sock.fileno() >= 0:
        client.finish()
    return client.replies


def pattern(want):
    """The whole conversation as one regular expression over lines."""
    if want == "^$":
        return "^$"
    out = ""
    for one in want.split(" ;; "):
        m = re.match(r"(.*?)(?:\{\{x(\d+|\+)\}\})?$", one)
        count = m.group(2)
        times = "" if count is None else \
            "+" if count == "+" else "{%s}" % count
        out += f"(?:(?:{m.group(1)})[^\n]*\n){times}"
    return f"^{out}$"


@pytest.fixture(scope="module")
def server():
    inst = make_instance(
        ("user", "user2"), domain="local.test", sets=(
            "smtpd_error_sleep_time=0", "smtpd_tls_auth_only=yes",
            "smtpd_sender_restrictions=reject_sender_login_mismatch",
            "auth_failure_delay=0", "smtpd_login_failure_limit=10"))
    yield inst
    inst.end()


@pytest.mark.parametrize("row", ROWS, ids=[r[0] for r in ROWS])
def test_row(server, row):
    _, service, state, text, want, _ = row
    hello = "LHLO probe.test" if service == "lmtp" else "EHLO probe.test"
    got = "".join(r + "\n"
                  for r in talk(server.port(service), state, text, hello))
    assert re.search(pattern(want), got), f"want {want}\ngot\n{got}"


def nested(depth, kind):
    """A message of that many parts in each other."""
    out = b"From: a@peer.test\r\n"
    for i in range(depth):
        if kind == "multipart":
            out += b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n" \
                   b"--b%d\r\n" % (i, i)
        else:
            out += b"Content-Type: message/rfc822\r\n\r\n"
    return out + b"\r\nx\r\n.\r\n"


@pytest.mark.parametrize("depth,kind", [(10000, "multipart"),
                                        (2000, "message/rfc822")])
def test_nested_messages_are_taken(server, depth, kind):
    c = Client(server.port("smtp"))
    c.read()
    enter(c, "D", "EHLO probe.test", "local.test")
    c.replies = []
    c.send(nested(depth, kind))
    c.finish()
    assert [r[:9] for r in c.replies] == ["250 2.0.0"]


def test_content_that_does_not_end_is_no_message(server):
    for end in (b"", b"\r\n", b"\r\n."):
        c = Client(server.port("smtp"))
        c.read()
        enter(c, "D", "EHLO probe.test", "local.test")
        c.send(b"Subject: torn\r\n\r\nx" + end)
        c.sock.close()
    server.wait_log(r"(?s)(lost connection after DATA.*){3}")
    # what came later is there, and nothing of these
    mark = f"Subject: after-torn-{time.monotonic_ns()}"
    server.send("user2@local.test", mark + "\r\n\r\nx\r\n")
    wait_until(lambda: any(mark.encode() in m
                           for m in server.messages("user2@local.test")),
               what="the message after them")
    assert not any(b"Subject: torn" in m
                   for m in server.messages("user@local.test"))


def test_lmtp_answers_for_each_recipient(server):
    got = talk(server.port("lmtp"), "E",
               "MAIL FROM:<>\\r\\nRCPT TO:<user@local.test>\\r\\n"
               "RCPT TO:<nobody@local.test>\\r\\n"
               "RCPT TO:<user2@local.test>\\r\\nDATA\\r\\n"
               "{{W}}{{W}}{{W}}{{W}}{{W}}x\\r\\n.\\r\\n",
               "LHLO probe.test")
    assert [r[:3] for r in got] == ["250", "250", "550", "250", "354",
                                    "250", "250"]


def test_the_log_has_the_lines_that_its_readers_know(server):
    c = Client(server.port("smtp"))
    c.read()
    for line in ("EHLO log.test", "MAIL FROM:<s@peer.test>",
                 "RCPT TO:<user@local.test>"):
        c.ask(line)
    c.send(b"RCPT TO:<x@remote.test>\r\nNONSENSE\r\nDATA\r\n")
    while not c.read().startswith("354"):
        pass
    c.send(b"Message-ID: <log@test>\r\n\r\nx\r\n.\r\nQUIT\r\n")
    c.finish()
    queue_id = re.search(r"queued as (\w+)", c.replies[-2])[1]
    client = r"localhost\[127\.0\.0\.1\]"
    for line in (
            rf"smtpd\[\d+\]: connect from {client}$",
            rf"smtpd\[\d+\]: NOQUEUE: reject: RCPT from {client}: 454 4\.7\.1 "
            r"<x@remote\.test>: Relay access denied; from=<s@peer\.test> "
            r"to=<x@remote\.test> proto=ESMTP helo=<log\.test>$",
            rf"smtpd\[\d+\]: {queue_id}: client={client}$",
            rf"cleanup\[\d+\]: {queue_id}: message-id=<log@test>$",
            rf"smtpd\[\d+\]: disconnect from {client} ehlo=1 mail=1 rcpt=1/2 "
            r"data=1 quit=1 unknown=0/1 commands=5/7$"):
        server.wait_log(line)


def test_nothing_was_smuggled(server):
    """After all rows: no message came in that its client did not send."""
    def all_gone():
        log = server.log()
        taken = set(re.findall(r"smtpd\[\d+\]: (\w+): client=", log))
        return taken <= set(re.findall(r"qmgr\[\d+\]: (\w+): removed", log))
    wait_until(all_gone, 60, "the end of all deliveries")
    for user in ("user", "user2"):
        for message in server.messages(user):
            head = re.split(rb"\r?\n\r?\n", message, maxsplit=1)[0]
            assert b"Subject: SMUGGLED" not in head
            assert not re.search(rb"(?<!\r)\r[^\n]", message)


@pytest.fixture
def strict():
    inst = make_instance(
        ("user",), domain="local.test", sets=(
            "smtpd_forbid_bare_newline=reject", "smtpd_timeout=2s",
            "smtpd_greet_wait=1s", "smtpd_client_connection_count_limit=5",
            "smtpd_client_event_limit_exceptions="))
    yield inst
    inst.end()


def test_a_strict_server_refuses_what_it_says(strict):
    port = strict.port("smtp")
    got = talk(port, "C", "{{NOWAIT}}EHLO x\\r\\n")
    assert [r[:9] for r in got] == ["554 5.5.0"]
    for text, what in (("A\\n.\\nB\\r\\n.\\r\\n", "LF"),
                       ("A\\r.\\rB\\r\\n.\\r\\n", "CR"),
                       ("A\\r\\n.\\nB\\r\\n.\\r\\n", "LF")):
        got = talk(port, "D", text)
        assert len(got) == 1
        assert re.match(rf"521 5\.5\.2 .* bare <{what}> received", got[0])
    assert strict.messages("user") == []
    # One octet a second never makes a command, nor a message.
    for state in ("C", "D"):
        c = Client(port)
        c.read()
        enter(c, state, "EHLO probe.test", "local.test")
        c.replies = []
        c.sock.settimeout(0.5)
        while not c.ended and not c.replies:
            c.send(b"A")
            c.sock.settimeout(0.5)
            try:
                c.read()
            except TimeoutError:
                pass
        assert c.replies[0].startswith("421 4.4.2")
        c.sock.close()
    held = [Client(port) for _ in range(5)]
    for c in held:
        assert c.read().startswith("220")
    late = Client(port)
    assert late.read().startswith("421 4.7.0")
    for c in held:
        c.sock.close()

    def served():
        c = Client(port)
        said = c.read()
        c.sock.close()
        return said.startswith("220")
    wait_until(served, 30, "room for a new client")


def test_mail_is_refused_when_the_disk_is_full():
    inst = make_instance(("user",), domain="local.test",
                         sets=("queue_minfree=1000000000000000",))
    try:
        got = talk(inst.port("smtp"), "D", "x\\r\\n.\\r\\n")
        assert got[0].startswith("452 4.3.1")
        # and the next one at once, before he sends it (RFC 1870 6.1)
        # (each process learns it by itself).
        said = [r for _ in range(20) for r in talk(
            inst.port("smtp"), "E", "MAIL FROM:<a@peer.test>\\r\\n")]
        assert any(r.startswith("452 4.3.1") for r in said)
    finally:
        inst.end()


def is_sanitized():
    with open(os.path.join(BIN, "smtpd"), "rb") as f:
        content = f.read()
    return b"__asan_" in content or b"__tsan_" in content


@pytest.mark.skipif(is_sanitized(), reason="a sanitizer's memory is not ours")
def test_an_idle_session_is_small(server):
    """Less than 100 kB each (the share of every page that is its own)."""
    def memory():
        total = 0
        for pid in server.pids("smtpd"):
            with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as f:
                total += int(re.search(r"^Pss:\s+(\d+)", f.read(), re.M)[1])
        return total

    before = memory()
    held = []
    for _ in range(100):
        c = Client(server.port("smtp"))
        c.read()
        c.ask("EHLO idle.test")
        held.append(c)
    each = (memory() - before) / len(held)
    for c in held:
        c.sock.close()
    assert each < 100, f"{each} kB"
