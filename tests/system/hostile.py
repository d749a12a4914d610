"""Servers that mean harm, for the bad inputs of tests/badinputs: a name
server that answers what no name server should, and a mail server that says
what stands in a row when its turn comes.
"""
import contextlib
import os
import re
import selectors
import socket
import ssl
import struct
import sys
import threading
import time

from conftest import ROOT

sys.path.insert(0, os.path.join(ROOT, "tests/badinputs"))
import table  # noqa: E402

REPEAT = re.compile(r'\{\{REP (\d+) "((?:[^"\\]|\\.)*)"\}\}')
WORD = re.compile(r'"((?:[^"\\]|\\.)*)"(?:\*(\d+))?|(\S+)')


def written_out(text):
    """A row's input with its {{REP}} written out where it repeats steps."""
    def one(m):
        n, piece = int(m.group(1)), m.group(2)
        if "{{" not in piece.replace("{{i}}", ""):
            return m.group()
        return "".join(piece.replace("{{i}}", str(k)) for k in range(n))
    return REPEAT.sub(one, text)


def words(text):
    """Arguments of a step: octets of those in quotes ("s"*n is n times s),
    the others as they are."""
    return [table.unescape(m.group(1)) * int(m.group(2) or 1)
            if m.group(1) is not None else m.group(3)
            for m in WORD.finditer(text)]


def lifetime(kind):
    """For a fixture: makes one, gives it, ends it, also when it could not be
    made whole; `instance` is what runs."""
    made = kind.__new__(kind)
    try:
        made.__init__()
        yield made
    except BaseException:
        if hasattr(made, "instance"):
            made.instance.stop()
        raise
    made.end()


# --- names ---

TYPES = {"A": 1, "NS": 2, "CNAME": 5, "SOA": 6, "PTR": 12, "MX": 15,
         "TXT": 16, "AAAA": 28, "TLSA": 52}


def wire_name(name, origin=""):
    """@ at the end is the row's domain: a pointer to the question."""
    end = b"\0"
    if name == "@" or name.endswith(".@"):
        name = name[:-1].rstrip(".")
        end = b"\xc0\x0c" if not origin else wire_name(origin)
    return b"".join(bytes([len(x)]) + x.encode()
                    for x in name.split(".") if x) + end


def wire_data(kind, data, origin):
    if isinstance(data[0], bytes):
        return b"".join(data)
    if kind == "A":
        return socket.inet_aton(data[0])
    if kind == "AAAA":
        return socket.inet_pton(socket.AF_INET6, data[0])
    if kind == "MX":
        return struct.pack("!H", int(data[0])) + wire_name(data[1], origin)
    return wire_name(data[0], origin)


class HostileNames:
    """Answers by UDP and TCP on a port of 127.0.0.1.

    add(domain, text) reads a row. {{ANS owner TYPE data}} is a record: data
    in quotes are its octets, else it is as in a zone file. An @ is the row's
    domain. Other steps end with the owner and the type that they spoil:
    {{RCODE n ..}}, {{SILENT ..}}, {{TC ..}} truncated, by TCP too, {{ID ..}}
    with another question's number, {{QR ..}} a question as answer,
    {{QUESTION ..}} another name's, {{STRAY ..}} records of another name,
    {{RAW "packet" ..}} whose first two octets become the number,
    {{LENGTH ..}} where TCP says more than it sends, {{SHORT n ..}} the first
    n octets."""

    def __init__(self):
        self.records = {}   # (owner, type) -> [(kind, data, origin)]
        self.odd = {}       # (owner, type) -> (how, arguments)
        self.made = {}      # (owner, type) -> what collect() made
        self.asked = {}
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.tcp = socket.socket()
        while True:
            self.udp.bind(("127.0.0.1", 0))
            self.port = self.udp.getsockname()[1]
            try:
                self.tcp.bind(("127.0.0.1", self.port))
                break
            except OSError:
                self.udp.close()
                self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.tcp.listen(50)
        self.ended = False
        for work in (self.serve_udp, self.serve_tcp):
            threading.Thread(target=work, daemon=True).start()

    def add(self, domain, text):
        for what, arg in table.steps(written_out(text)):
            assert what != "send", (domain, arg)
            if what == "ANS":
                owner, kind, *data = words(arg)
                self.records.setdefault(
                    (owner.replace("@", domain).lower(), TYPES[kind]),
                    []).append((kind, data, domain))
            else:
                *rest, owner, kind = words(arg)
                self.odd[owner.replace("@", domain).lower(),
                         TYPES[kind]] = (what, rest)

    def prepare(self):
        """When all is added: a resolver does not wait until thousands of
        records are put together."""
        for name, kind in self.records:
            self.made[name, kind] = self.collect(name, kind)

    def end(self):
        self.ended = True
        self.udp.close()
        self.tcp.close()

    # --- one answer ---

    def answer(self, query, by_tcp):
        """A list of packets, none for silence."""
        number, = struct.unpack("!H", query[:2])
        at, labels = 12, []
        while query[at]:
            labels.append(query[at + 1:at + 1 + query[at]])
            at += 1 + query[at]
        question = query[12:at + 5]
        kind, = struct.unpack("!H", query[at + 1:at + 3])
        name = b".".join(labels).decode("latin1").lower()
        self.asked[name, kind] = self.asked.get((name, kind), 0) + 1
        how, args = self.odd.get((name, kind), (None, []))
        rcode, answers = self.made.get((name, kind)) or \
            self.collect(name, kind)
        flags = 0x8180
        if how == "SILENT":
            return []
        if how == "RAW":
            return [query[:2] + args[0][2:]]
        if how == "RCODE":
            rcode, answers = int(args[0]), []
        if how == "TC":
            flags, answers = flags | 0x0200, []
        if how == "ID":
            number ^= 0x1234
        if how == "QR":
            flags = 0x0100
        if how == "QUESTION":
            question = wire_name("other.test") + question[-4:]
        if how == "STRAY":
            answers = [wire_name("other.test") + rr[2:] for rr in answers]
        authority = b""
        if not answers and rcode in (0, 3):
            data = wire_name("ns.test") * 2 + struct.pack("!5I", 1, 1, 1, 1,
                                                          1)
            authority = wire_name("test") + struct.pack(
                "!HHIH", 6, 1, 1, len(data)) + data
        body = b""
        count = 0
        limit = 65535 if by_tcp else 1232
        for rr in answers:
            if 12 + len(question) + len(body) + len(rr) > limit:
                if not by_tcp:
                    flags |= 0x0200
                    body, count = b"", 0
                break
            body += rr
            count += 1
        packet = struct.pack("!HHHHHH", number, flags | rcode, 1, count,
                             bool(authority), 0) + question + body + authority
        if how == "SHORT":
            packet = packet[:int(args[0])]
        return [packet]

    def collect(self, name, kind):
        """Records from the question on; @ is a pointer only where it is the
        question's own name."""
        out = []
        found = self.records.get((name, kind)) or \
            self.records.get((name, TYPES["CNAME"]))
        for k, data, origin in found or []:
            raw = wire_data(k, data, "" if name == origin else origin)
            out.append(b"\xc0\x0c" + struct.pack("!HHIH", TYPES[k], 1, 300,
                                                 len(raw)) + raw)
        if found and found[0][0] == "CNAME" and kind != TYPES["CNAME"] and \
                isinstance(found[0][1][0], str):
            target = found[0][1][0].replace("@", found[0][2]).lower()
            for k, data, origin in self.records.get((target, kind), []):
                raw = wire_data(k, data, origin)
                out.append(wire_name(target) + struct.pack(
                    "!HHIH", TYPES[k], 1, 300, len(raw)) + raw)
        known = found or any(n == name or n.endswith("." + name)
                             for n, _ in [*self.records, *self.odd])
        return (0 if known else 3), out

    def serve_udp(self):
        while not self.ended:
            try:
                query, peer = self.udp.recvfrom(4096)
            except OSError:
                return
            with contextlib.suppress(OSError, IndexError):
                for packet in self.answer(query, False):
                    self.udp.sendto(packet, peer)

    def serve_tcp(self):
        while not self.ended:
            try:
                conn, _ = self.tcp.accept()
            except OSError:
                return
            threading.Thread(target=self.serve_conn, args=(conn,),
                             daemon=True).start()

    def serve_conn(self, conn):
        conn.settimeout(30)
        with contextlib.suppress(OSError, IndexError, struct.error), conn:
            f = conn.makefile("rb")
            while True:
                size, = struct.unpack("!H", f.read(2))
                for packet in self.answer(f.read(size), True):
                    lie = 65535 if self.lies(packet) else len(packet)
                    conn.sendall(struct.pack("!H", lie) + packet)
                    if lie != len(packet):
                        f.read(1)
                        return

    def lies(self, packet):
        return any(how == "LENGTH" and wire_name(n)[:-1] in packet
                   for (n, _), (how, _) in self.odd.items())


# --- mail ---

class Visit:
    """What one client did: its lines, the contents it ended with a dot."""

    def __init__(self):
        self.lines = []
        self.contents = 0
        self.octets = 0     # of contents
        self.sessions = 0


class HostileMail:
    """A mail server with an address for each case: polite until the row's
    state is reached, then it says the row's octets.

    States: G instead of the greeting, E of the answer to EHLO, T to STARTTLS,
    M R D to MAIL, RCPT, DATA, X to the final dot. Behind the octets it reads
    on in silence until the client leaves, or after {{ON}} is polite again.
    Said by octets: each in a packet of its own. tls: STARTTLS comes first."""

    def __init__(self, port, certificate):
        self.port = port
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(*certificate)
        self.cases = {}
        self.visits = {}
        self.selector = selectors.DefaultSelector()
        self.sockets = []
        self.ended = False

    def add(self, host, state, text, octets=False, tls=False, features=(),
            go="354 Go ahead"):
        self.cases[host] = (state, table.steps(text), octets, tls, features,
                            go)
        self.visits[host] = Visit()
        s = socket.socket()
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind((host, self.port))
        s.listen(20)
        self.sockets.append(s)
        self.selector.register(s, selectors.EVENT_READ, host)

    def start(self):
        threading.Thread(target=self.accept, daemon=True).start()

    def end(self):
        self.ended = True
        for s in self.sockets:
            s.close()

    def accept(self):
        while not self.ended:
            for key, _ in self.selector.select(0.1):
                with contextlib.suppress(OSError):
                    conn, _ = key.fileobj.accept()
                    threading.Thread(target=self.serve,
                                     args=(conn, key.data),
                                     daemon=True).start()

    def serve(self, conn, host):
        visit = self.visits[host]
        visit.sessions += 1
        conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        conn.settimeout(60)
        with contextlib.suppress(OSError, ValueError):
            Dialogue(conn, visit, *self.cases[host], self.context).run()
        with contextlib.suppress(OSError):
            conn.close()


class Dialogue:
    def __init__(self, conn, visit, state, script, octets, tls, features,
                 go, context):
        self.conn, self.visit, self.state = conn, visit, state
        self.script, self.octets, self.tls = script, octets, tls
        self.features, self.go, self.context = features, go, context
        self.file = conn.makefile("rb")
        self.secure = False

    def say(self, text):
        self.conn.sendall(text.encode() + b"\r\n")

    def start_tls(self):
        self.conn = self.context.wrap_socket(self.conn, server_side=True)
        self.file = self.conn.makefile("rb")
        self.secure = True

    def act(self):
        """The row's steps. Whether the dialogue goes on.

        {{ON}} is polite again, {{F}} waits for the client, {{CLOSE}} and
        {{RST}} leave, {{SLOW c}} says c for ever, {{HANG}} nothing."""
        for what, arg in self.script:
            if what == "send" and self.octets:
                for i in range(len(arg)):
                    self.conn.sendall(arg[i:i + 1])
            elif what == "send":
                self.conn.sendall(arg)
            elif what == "SLOW":
                while True:
                    self.conn.sendall(table.unescape(arg))
                    time.sleep(0.05)
            elif what == "ON":
                return True
            elif what == "CLOSE":
                return False
            elif what == "F":
                self.conn.recv(1, socket.MSG_PEEK)
            elif what == "HANG":
                pass
            elif what == "RST":
                self.conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                     struct.pack("ii", 1, 0))
                return False
            else:
                raise ValueError(what)
        while self.hear():  # in silence
            pass
        return False

    def hear(self):
        line = self.file.readline()
        if line:
            self.visit.lines.append(
                line.decode("utf-8", "replace").rstrip("\r\n"))
        return line

    def turn(self, state, polite):
        """Whether the dialogue goes on behind this answer."""
        if state in self.state and (self.secure or not self.tls):
            return self.act()
        self.say(polite)
        return True

    def hello(self):
        extra = list(self.features)
        if not self.secure and (self.tls or "T" in self.state):
            extra.append("STARTTLS")
        said = ["sink.test"] + extra
        return "\r\n".join(f"250{' ' if i == len(said) - 1 else '-'}{x}"
                           for i, x in enumerate(said))

    def run(self):
        if not self.turn("G", "220 sink.test ESMTP"):
            return
        while True:
            line = self.hear()
            if not line:
                return
            verb = line.split()[0].upper() if line.split() else b""
            if verb == b"QUIT":
                self.say("221 2.0.0 Bye")
                return
            if verb == b"STARTTLS":
                if not self.turn("T", "220 2.0.0 Ready"):
                    return
                if "T" not in self.state:
                    self.start_tls()
            elif verb == b"DATA":
                if not self.turn("D", self.go):
                    return
                if not self.content():
                    return
                if not self.turn("X", "250 2.0.0 Ok: taken"):
                    return
            else:
                state, polite = {
                    b"EHLO": ("E", self.hello()),
                    b"MAIL": ("M", "250 2.1.0 Ok"),
                    b"RCPT": ("R", "250 2.1.5 Ok"),
                    b"HELO": ("H", "250 sink.test"),
                }.get(verb, ("-", "250 2.0.0 Ok"))
                if not self.turn(state, polite):
                    return

    def content(self):
        while True:
            line = self.file.readline()
            if not line:
                return False
            if line == b".\r\n":
                self.visit.contents += 1
                return True
            self.visit.octets += len(line)
