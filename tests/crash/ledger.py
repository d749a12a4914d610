"""ledger.py - what the harnesses in Python share.

    ledger = Ledger("DIR/ledger")        the file crash-oracle reads (oracle.c)
    text = message("A-17", 5000, seed)   octets to send, CR LF line ends
    ledger.sent("A-17", text, ["a@our.test"])
    ... the client reads 250 ...
    ledger.acked("A-17")
    verdict = oracle(ledger.path, spool=..., mail=...)
    verdict.ok, verdict.lost, verdict.text
"""
import base64
import hashlib
import os
import random
import re
import subprocess
import sys
import threading

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))
BUILD = os.environ.get("POSTERN_BUILD", os.path.join(ROOT, "build"))


def need_tools(*names):
    """Ends, with a line about it, where one of these is not built."""
    missing = [name for name in ("postern", *names) if not
               os.path.exists(os.path.join(BUILD, "bin", name))]
    if missing:
        sys.exit(f"{os.path.basename(sys.argv[0])}: no {', '.join(missing)} "
                 f"in {os.path.join(BUILD, 'bin')}: make tools builds it")


class Ledger:
    """Each line is one write(2) to a file opened for appending: threads and
    processes may share it, and the writer's death costs no line. What is
    written before an event (sent, taking, copying, killed, ended) must return before
    the event begins."""

    def __init__(self, path):
        self.path = path
        self.fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        self.lock = threading.Lock()
        self.counts = {}

    def line(self, verb, *words):
        text = " ".join([verb, *map(str, words)]) + "\n"
        os.write(self.fd, text.encode())
        with self.lock:
            self.counts[verb] = self.counts.get(verb, 0) + 1

    def sent(self, token, text, rcpts):
        at = text.index(b"X-Proof: ")
        self.line("sent", token, hashlib.sha256(text[at:]).hexdigest(),
                  len(text) - at, ",".join(rcpts))

    def acked(self, token, rcpt=None):
        self.line("acked", token, *([rcpt] if rcpt else []))

    def refused(self, token, code):
        self.line("refused", token, code)

    def taking(self, token, rcpt):
        self.line("taking", token, rcpt)

    def taken(self, token, rcpt):
        self.line("taken", token, rcpt)

    def copying(self, token, rcpt):
        self.line("copying", token, rcpt)

    def copied(self, token, rcpt):
        self.line("copied", token, rcpt)

    def moved(self, token, rcpt):
        self.line("moved", token, rcpt)

    def alias(self, rcpt, mailbox):
        self.line("alias", rcpt, mailbox)

    def killed(self, program, pid):
        self.line("killed", program, pid)

    def ended(self, program, pid):
        self.line("ended", program, pid)

    def powercut(self):
        self.line("powercut")

    def fault(self, what):
        self.line("fault", what)

    def mark(self, number):
        self.line("mark", number)

    def close(self):
        os.close(self.fd)


def message(token, size, seed=0, sender="sender@elsewhere.test",
            to="somebody@our.test"):
    """A message of exactly `size` octets (or the few hundred that its header
    has), the same for the same token and seed. It has all fields that a
    server may add, no line that any store has to change, and 7 bits."""
    head = (f"X-Proof: {token}\r\nFrom: <{sender}>\r\nTo: <{to}>\r\n"
            f"Subject: proof {token}\r\n"
            "Date: Thu, 01 Jan 2026 00:00:00 +0000\r\n"
            f"Message-ID: <{token}.{seed}@proof.test>\r\n"
            "MIME-Version: 1.0\r\nContent-Type: text/plain\r\n\r\n").encode()
    left = size - len(head)
    if left < 2:
        return head + b"x\r\n"
    octets = random.Random(f"{token}/{seed}").randbytes(left)
    flat = base64.b64encode(octets)[:left]
    lines = [flat[i:i + 74] for i in range(0, left, 76)]
    body = b"\r\n".join(lines)[:left - 2]
    if body.endswith(b"\r"):
        body = body[:-1] + b"x"
    elif body.endswith(b"\n"):
        body = body[:-2] + b"xx"
    return head + body + b"x" * (left - 2 - len(body)) + b"\r\n"


class Verdict:
    def __init__(self, code, text):
        self.code, self.text = code, text
        m = re.search(r"^oracle: (\d+) acked, (\d+) found, (\d+) lost, "
                      r"(\d+) damaged, (\d+) duplicated, (\d+) residue, "
                      r"(\d+) died$", text, re.M)
        self.said = m is not None
        (self.acked, self.found, self.lost, self.damaged, self.duplicated,
         self.residue, self.died) = map(int, m.groups()) if m else [0] * 7
        m = re.search(r"^note: (\d+) copies more", text, re.M)
        self.extra = int(m[1]) if m else 0
        self.ok = code == 0 and self.said

    def last(self):
        """The summary line, or all that it said when there is none."""
        return self.text.strip().rsplit("\n", 1)[-1]


def oracle(ledger, spool=None, mail=None, sink=None, acked_until=None,
           window=None, log=None, verbose=False):
    """Runs crash-oracle; 2 as exit code: it could not judge."""
    cmd = [os.path.join(BUILD, "bin/crash-oracle"), "--ledger", ledger]
    for option, value in (("--spool", spool), ("--mail", mail),
                          ("--sink", sink), ("--acked-until", acked_until),
                          ("--window", window), ("--log", log)):
        if value is not None:
            cmd += [option, str(value)]
    if verbose:
        cmd.append("-v")
    p = subprocess.run(cmd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                       stdin=subprocess.DEVNULL, check=False)
    return Verdict(p.returncode, p.stdout.decode("utf-8", "replace"))
