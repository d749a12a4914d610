"""Bad input to TLS: handshakes that no library makes, and records after it.
The rows of tests/badinputs/tls.tsv name the tests.
"""
import ctypes
import ctypes.util
import os
import random
import socket
import ssl
import string
import struct
import time

import pytest
from conftest import is_sanitized, make_instance, wait_until

import badtalk

# Services with TLS from the first octet, and one that begins it.
SERVICES = ("imaps", "pop3s", "submissions", "smtp")


@pytest.fixture(scope="module")
def server():
    # processes whose memory is looked at do not go because they are idle
    inst = make_instance(("user",), domain="local.test",
                         sets=("smtpd_peername_lookup=no", "max_idle=1h"))
    yield inst
    inst.end()


@pytest.fixture(scope="module")
def hasty():
    """One that waits for no handshake."""
    inst = make_instance(("user",), domain="local.test",
                         sets=("smtpd_peername_lookup=no",
                               "smtpd_starttls_timeout=6s",
                               "login_timeout=6s", "smtpd_timeout=6s"))
    yield inst
    inst.end()


@pytest.fixture(scope="module", autouse=True)
def stalled(hasty):
    """Connections that began a handshake when the tests began: while others
    run, their time goes by."""
    made = {name: begin(hasty, name) for name in SERVICES}
    for sock in made.values():
        sock.sendall(hello("stalls.test")[:40])
    yield made
    for sock in made.values():
        sock.close()


def begin(inst, name):
    """A connection to where TLS begins."""
    sock = socket.create_connection(("127.0.0.1", inst.port(name)), 60)
    if name == "smtp":
        for line in (b"", b"EHLO probe.test\r\n", b"STARTTLS\r\n"):
            sock.sendall(line)
            said = b""
            while not said.endswith(b"\n") or said.split(b"\n")[-2][3:4] != \
                    b" ":
                piece = sock.recv(4096)
                assert piece, said
                said += piece
    return sock


def context(version=None):
    c = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    c.check_hostname = False
    c.verify_mode = ssl.CERT_NONE
    if version:
        c.minimum_version = c.maximum_version = version
    return c


def hello(name, version=ssl.TLSVersion.TLSv1_2):
    """The record of a ClientHello that names this host."""
    out = ssl.MemoryBIO()
    tls = context(version).wrap_bio(ssl.MemoryBIO(), out,
                                    server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    return out.read()


def hear(sock):
    """All that comes up to the end."""
    said = b""
    sock.settimeout(60)
    try:
        while piece := sock.recv(65536):
            said += piece
    except ConnectionError:
        pass
    return said


def records(data):
    """[(type, content)] of TLS records."""
    out = []
    while len(data) >= 5:
        kind, _, n = struct.unpack("!BHH", data[:5])
        out.append((kind, data[5:5 + n]))
        data = data[5 + n:]
    return out


def certificate_of(data):
    """The DER of the first certificate in a TLS 1.2 server's flight."""
    shake = b"".join(c for kind, c in records(data) if kind == 22)
    while shake:
        n = int.from_bytes(shake[1:4], "big")
        if shake[0] == 11:
            m = int.from_bytes(shake[7:10], "big")
            return shake[10:10 + m]
        shake = shake[4 + n:]
    return None


# --- ALPN (RFC 7301) ---

@pytest.mark.parametrize("name", SERVICES)
@pytest.mark.parametrize("offer", ["h2", "http/1.1", "ftp"])
def test_another_protocols_offer_is_refused(server, name, offer):
    c = context()
    c.set_alpn_protocols([offer])
    with begin(server, name) as sock:
        with pytest.raises(ssl.SSLError, match="(?i)no.application.protocol"):
            c.wrap_socket(sock)
    # and without an offer it is served
    with begin(server, name) as sock:
        assert context().wrap_socket(sock).version().startswith("TLS")


# --- SNI (RFC 6066 3) ---

def flight_for(inst, name, wanted):
    """What a server says to a ClientHello with this name, octet for octet,
    until it waits for us."""
    placeholder = (("p" * 49 + ".") * 5)[:len(wanted) - 5] + ".test"
    placeholder = placeholder.replace("..", "pp")
    record = hello(placeholder)
    assert record.count(placeholder.encode()) == 1
    with begin(inst, name) as sock:
        sock.sendall(record.replace(placeholder.encode(), wanted))
        sock.shutdown(socket.SHUT_WR)
        return hear(sock)


@pytest.mark.parametrize("name", SERVICES)
def test_any_server_name_gets_the_one_certificate(server, name):
    """A name is looked for in what is loaded: no path is made of it, and
    nothing is kept for it."""
    usual = certificate_of(flight_for(server, name, b"mail.local.test"))
    assert usual
    for wanted in (b"evil\0.local.test", b"../../../etc/ssl/private/x",
                   b"\xff" * 40, b"%s%n%s%n.local.test", b"a" * 240 + b".test"):
        said = flight_for(server, name, wanted)
        kinds = [kind for kind, _ in records(said)]
        # the certificate, or an alert: RFC 6066 3 leaves a server both
        assert certificate_of(said) == usual or kinds == [21], (wanted, said)

    program = "smtpd" if name.startswith("s") else "login"

    def memory():
        total = 0
        for pid in server.pids(program):
            with open(f"/proc/{pid}/statm", encoding="ascii") as f:
                total += int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        return total

    def flood(n):
        for _ in range(n):
            wanted = "".join(random.choices(string.ascii_lowercase, k=200))
            assert certificate_of(flight_for(
                server, name, (wanted + ".test").encode())) == usual

    flood(20)
    before = memory()
    flood(150)
    if not is_sanitized():      # that keeps what is free for a while
        assert memory() - before < 4 << 20


# --- versions ---

@pytest.mark.parametrize("name", SERVICES)
@pytest.mark.parametrize("version", [0x0300, 0x0301, 0x0302])
def test_old_versions_are_refused(server, name, version):
    """SSL 3.0, TLS 1.0 and 1.1 (RFC 8996): alert 70."""
    record = bytearray(hello("mail.local.test"))
    record[9:11] = struct.pack("!H", version)
    with begin(server, name) as sock:
        sock.sendall(record)
        said = records(hear(sock))
    # SSL 3.0 has no extensions: what it offers fits nothing (alert 40)
    assert [(kind, content[1]) for kind, content in said] == \
        [(21, 40 if version == 0x0300 else 70)]


# --- what OpenSSL's own client can be made to do ---

class Raw:
    """A TLS client in OpenSSL's own terms."""

    def __init__(self, sock, version):
        self.lib = ctypes.CDLL(ctypes.util.find_library("ssl") or
                               "libssl.so.3")
        for f in ("TLS_client_method", "SSL_CTX_new", "SSL_new"):
            getattr(self.lib, f).restype = ctypes.c_void_p
        self.ctx = ctypes.c_void_p(self.lib.SSL_CTX_new(ctypes.c_void_p(
            self.lib.TLS_client_method())))
        for what in (123, 124):     # SSL_CTRL_SET_MIN/MAX_PROTO_VERSION
            self.lib.SSL_CTX_ctrl(self.ctx, what, ctypes.c_long(version),
                                  None)
        self.ssl = ctypes.c_void_p(self.lib.SSL_new(self.ctx))
        self.sock = sock
        sock.settimeout(None)
        # a read that never ends is a failure, and ends
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO,
                        struct.pack("ll", 60, 0))
        self.lib.SSL_set_fd(self.ssl, sock.fileno())
        assert self.lib.SSL_connect(self.ssl) == 1

    def read(self):
        """Octets, b"" when it is over."""
        buf = ctypes.create_string_buffer(65536)
        n = self.lib.SSL_read(self.ssl, buf, len(buf))
        return buf.raw[:n] if n > 0 else b""

    def write(self, data):
        return self.lib.SSL_write(self.ssl, data, len(data)) > 0

    def renegotiate(self):
        return self.lib.SSL_renegotiate(self.ssl) == 1 and \
            self.lib.SSL_do_handshake(self.ssl) == 1

    def update_key(self, ask_for_one):
        return self.lib.SSL_key_update(self.ssl, int(ask_for_one)) == 1 and \
            self.lib.SSL_do_handshake(self.ssl) == 1

    def close(self):
        self.lib.SSL_free(self.ssl)
        self.lib.SSL_CTX_free(self.ctx)
        self.sock.close()


def greeted(inst, name, version):
    raw = Raw(begin(inst, name), version)
    if name != "smtp":
        assert raw.read()
    return raw


# What each answers before a login, and changes nothing.
HARMLESS = {"imaps": (b"a NOOP\r\n", b"a OK"), "pop3s": (b"CAPA\r\n", b"+OK"),
            "submissions": (b"NOOP\r\n", b"250"), "smtp": (b"NOOP\r\n", b"250")}


@pytest.mark.parametrize("name", SERVICES)
def test_renegotiation_is_refused(server, name):
    raw = greeted(server, name, 0x0303)
    # Refused by an alert (RFC 5246 7.2.2), after which OpenSSL's client
    # gives up; a server that took it would have answered the handshake.
    took = raw.renegotiate()
    assert not took
    raw.close()
    raw = greeted(server, name, 0x0303)
    command, good = HARMLESS[name]
    assert raw.write(command) and raw.read().startswith(good)
    raw.close()


@pytest.mark.parametrize("ask_for_one", [False, True])
@pytest.mark.parametrize("name", SERVICES)
def test_key_updates_have_a_limit(server, name, ask_for_one):
    """A few are good (RFC 8446 4.6.3); thousands end the connection."""
    raw = greeted(server, name, 0x0304)
    command, good = HARMLESS[name]
    for _ in range(3):
        assert raw.update_key(ask_for_one)
    assert raw.write(command) and raw.read().startswith(good)
    for _ in range(20000):
        if not raw.update_key(ask_for_one):
            break
    else:
        assert not (raw.write(command) and raw.read().startswith(good))
    raw.close()


# --- handshakes that are no good ---

def large_hello(octets):
    """A ClientHello with that much padding (RFC 7685), in its records."""
    record = hello("mail.local.test")
    body = record[9:]
    at = 2 + 32                              # version, random
    at += 1 + body[at]                       # session id
    at += 2 + int.from_bytes(body[at:at + 2], "big")    # cipher suites
    at += 1 + body[at]                       # compression methods
    extensions = body[at + 2:]
    extensions += struct.pack("!HH", 21, octets) + bytes(octets)
    body = body[:at] + struct.pack("!H", len(extensions)) + extensions
    shake = b"\1" + len(body).to_bytes(3, "big") + body
    return b"".join(b"\x16\3\1" + struct.pack("!H", len(shake[i:i + 16384])) +
                    shake[i:i + 16384] for i in range(0, len(shake), 16384))


@pytest.mark.parametrize("name", SERVICES)
def test_a_hello_that_is_too_large_is_refused(server, name):
    # One with 20 kB of padding is legal.
    with begin(server, name) as sock:
        sock.sendall(large_hello(20000))
        sock.shutdown(socket.SHUT_WR)
        assert certificate_of(hear(sock))
    # One that says it has 16 MB, and begins to send them.
    with begin(server, name) as sock:
        try:
            sock.sendall(b"\x16\3\1\x40\0" + b"\1\xff\xff\xff" + bytes(16380))
            for _ in range(64):
                sock.sendall(b"\x16\3\1\x40\0" + bytes(16384))
        except ConnectionError:
            pass
        said = records(hear(sock))
        assert all(kind == 21 for kind, _ in said)
    # What is no TLS at all
    for nonsense in (b"\x16\3\1\0\0" * 2000, b"\x17\3\3\x40\1" + bytes(16385),
                     b"\x80\x2e\1\0\2" + bytes(60), bytes(70000),
                     b"EHLO x\r\n" * 20):
        with begin(server, name) as sock:
            try:
                sock.sendall(nonsense)
                sock.shutdown(socket.SHUT_WR)
            except OSError:
                pass
            said = hear(sock)
            assert all(kind == 21 for kind, _ in records(said))
    raw = greeted(server, name, 0x0304)
    command, good = HARMLESS[name]
    assert raw.write(command) and raw.read().startswith(good)
    raw.close()


def test_a_ticket_is_no_use_elsewhere(server):
    """Not at another service, though all have one certificate."""
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        c = context(version)
        sessions = {}
        for name in SERVICES:
            with c.wrap_socket(begin(server, name)) as s:
                s.sendall(HARMLESS[name][0])
                s.recv(4096)
                s.recv(4096) if name != "smtp" else None
                sessions[name] = s.session
        assert all(sessions.values())
        for ours in SERVICES:
            for other in SERVICES:
                with c.wrap_socket(begin(server, other),
                                   session=sessions[ours]) as s:
                    assert ours == other or not s.session_reused, \
                        (ours, other)


@pytest.mark.parametrize("name,said", [
    ("imaps", b"* BYE"), ("pop3s", b"-ERR"), ("submissions", b"221 2.7.0"),
    ("smtp", b"221 2.7.0")])
def test_http_under_tls_is_not_echoed(server, name, said):
    with context().wrap_socket(begin(server, name)) as s:
        if name != "smtp":
            s.recv(4096)
        s.sendall(b"GET /evil HTTP/1.1\r\nHost: evil\r\n\r\n")
        heard = hear(s)
    assert heard.startswith(said) and b"evil" not in heard


def test_a_handshake_has_a_deadline(hasty, stalled):
    """Octets that drip do not move it; then the place is free again."""
    rest = {name: hello("stalls.test")[40:] for name in SERVICES}
    open_ones = dict(stalled)

    def drip():
        for name, sock in list(open_ones.items()):
            sock.settimeout(0)
            try:
                sock.sendall(rest[name][:1])
                rest[name] = rest[name][1:]
                over = not sock.recv(4096)
            except BlockingIOError:
                continue
            except ConnectionError:
                over = True
            if over:
                del open_ones[name]
        time.sleep(0.5)         # the pace of the drip
        return not open_ones
    # they would drip for longer than that
    assert all(len(octets) * 0.5 > 60 for octets in rest.values())
    wait_until(drip, 60, "the end of the handshakes")
    badtalk.Imap(hasty.port("imaps"), implicit=True).close()
