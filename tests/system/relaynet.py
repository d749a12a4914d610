"""What stands around a relay: name servers (nsd) and mail servers (sinks).

All on loopback. Mail servers share one port and differ by address, because
an MX record cannot name a port.
"""
import contextlib
import os
import shutil
import socket
import socketserver
import ssl
import subprocess
import tempfile
import threading

from conftest import free_port, wait_until


class NameServer:
    """nsd with zones: {"x.test": "records without SOA and NS"}."""

    def __init__(self, zones):
        self.dir = tempfile.mkdtemp(prefix="postern-nsd.")
        self.port = free_port()
        self.process = None
        conf = [f"""
server:
  ip-address: 127.0.0.1@{self.port}
  username: ""
  chroot: ""
  zonesdir: {self.dir}
  zonelistfile: {self.dir}/zonelist
  xfrdfile: ""
  xfrdir: {self.dir}
  pidfile: ""
  database: ""
  logfile: {self.dir}/log
  server-count: 1
  rrl-ratelimit: 0
remote-control:
  control-enable: no
"""]
        for name, records in zones.items():
            with open(os.path.join(self.dir, name), "w",
                      encoding="ascii") as f:
                f.write(f"$ORIGIN {name}.\n$TTL 300\n"
                        f"@ IN SOA ns hostmaster 1 3600 600 86400 1\n"
                        f"@ IN NS ns\nns IN A 127.0.0.1\n{records}\n")
            conf.append(f"zone:\n  name: {name}\n  zonefile: {name}\n")
        with open(os.path.join(self.dir, "conf"), "w",
                  encoding="ascii") as f:
            f.write("".join(conf))
        self.start()

    def start(self):
        self.process = subprocess.Popen(
            ["/usr/sbin/nsd", "-d", "-c", os.path.join(self.dir, "conf")],
            stdin=subprocess.DEVNULL)

        def answers():
            assert self.process.poll() is None, "nsd ended"
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port)).close()
                return True
            return False
        wait_until(answers, what="the start of nsd")

    def stop(self):
        if self.process is not None:
            self.process.terminate()
            self.process.wait()
            self.process = None

    def end(self):
        self.stop()
        shutil.rmtree(self.dir, ignore_errors=True)


class Transaction:
    def __init__(self, sender, rcpts, data, tls, session):
        self.sender, self.rcpts, self.data = sender, rcpts, data
        self.tls, self.session = tls, session


class Sink:
    """A mail server that records what it gets.

    replies   {"verb and argument prefix": reply}: a reply other than 250;
              a reply of None closes the connection, one of "hang" says
              nothing more
    features  of EHLO
    lmtp      a reply for each recipient
    """

    def __init__(self, host, port, replies=None, features=None, lmtp=False,
                 certificate=None):
        self.replies = dict(replies or {})
        self.features = list(features if features is not None else
                             ["PIPELINING", "SIZE 50000000", "8BITMIME",
                              "ENHANCEDSTATUSCODES"])
        self.lmtp = lmtp
        self.context = None
        if certificate:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(*certificate)
            self.features.append("STARTTLS")
        self.got = []
        self.lines = []
        self.sessions = 0
        self.lock = threading.Lock()
        sink = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self):
                with contextlib.suppress(OSError):
                    sink.serve(self.request)

        class Server(socketserver.ThreadingTCPServer):
            allow_reuse_address = True
            daemon_threads = True
            request_queue_size = 200

        self.host, self.port = host, port
        self.server = Server((host, port), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever,
                                       kwargs={"poll_interval": 0.05},
                                       daemon=True)
        self.thread.start()

    def end(self):
        self.server.shutdown()
        self.server.server_close()

    def reply_for(self, line):
        for start, reply in self.replies.items():
            if line.upper().startswith(start.upper()):
                return True, reply
        return False, None

    def serve(self, conn):
        with self.lock:
            self.sessions += 1
            number = self.sessions
        conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        conn.settimeout(60)
        f = conn.makefile("rb")
        sender, rcpts, tls = None, [], False

        def say(text):
            conn.sendall(text.encode() + b"\r\n")

        has, reply = self.reply_for("GREETING")
        if has and reply is None:
            return
        say(reply if has else "220 sink.test ESMTP")
        if has and not reply.startswith("2"):
            return
        while True:
            raw = f.readline()
            if not raw:
                return
            line = raw.decode("utf-8", "replace").rstrip("\r\n")
            self.lines.append(line)
            has, reply = self.reply_for(line)
            if has and reply is None:
                return
            if has and reply == "hang":
                f.readline()
                return
            verb = line.split(" ")[0].upper()
            if has:
                say(reply)
                if reply.startswith("421"):
                    return
                if verb == "RCPT" and reply.startswith("2"):
                    rcpts.append(line)
            elif verb in ("EHLO", "LHLO"):
                features = [x for x in self.features
                            if not (tls and x == "STARTTLS")]
                for i, x in enumerate(["sink.test"] + features):
                    last = i == len(features)
                    say(f"250{' ' if last else '-'}{x}")
            elif verb == "MAIL":
                sender, rcpts = line, []
                say("250 2.1.0 Ok")
            elif verb == "RCPT":
                rcpts.append(line)
                say("250 2.1.5 Ok")
            elif verb == "DATA" and not rcpts:
                say("554 5.5.1 No valid recipients")
            elif verb == "DATA":
                say("354 Go ahead")
                data = self.read_data(f)
                if data is None:
                    return
                has, reply = self.reply_for("END")
                if has and reply is None:
                    return
                if not has:
                    with self.lock:
                        self.got.append(Transaction(sender, rcpts, data,
                                                    tls, number))
                for _ in rcpts if self.lmtp else [None]:
                    say(reply if has else
                        f"250 2.0.0 Ok: queued as S{len(self.got)}")
            elif verb == "STARTTLS" and self.context:
                say("220 2.0.0 Ready")
                conn = self.context.wrap_socket(conn, server_side=True)
                f = conn.makefile("rb")
                tls = True
            elif verb == "QUIT":
                say("221 2.0.0 Bye")
                return
            elif verb in ("RSET", "NOOP", "HELO"):
                say("250 2.0.0 Ok")
            else:
                say("502 5.5.1 What?")

    @staticmethod
    def read_data(f):
        """Raw content, dots still doubled; None when the client went."""
        data = b""
        while True:
            line = f.readline()
            if not line:
                return None
            if line == b".\r\n":
                return data
            data += line


class SlowSink(Sink):
    """Greets when it is told to."""

    def __init__(self, *args, **kw):
        self.met, self.go = threading.Event(), threading.Event()
        super().__init__(*args, **kw)

    def serve(self, conn):
        self.met.set()
        self.go.wait()
        super().serve(conn)

    def end(self):
        self.go.set()
        super().end()


def certificate(directory, name="sink.test"):
    cert = os.path.join(directory, "sink.pem")
    key = os.path.join(directory, "sink.key")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                    "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
                    "-subj", f"/CN={name}", "-addext",
                    f"subjectAltName=DNS:{name}", "-keyout", key, "-out",
                    cert], check=True, capture_output=True)
    return cert, key
