"""Bad inputs from servers: mail servers that mean harm (smtpclient.tsv) and
name servers that do (dns.tsv), each row of tests/badinputs against the real
smtp and dns.

smtpclient: the state is where the server leaves politeness, several letters
for several cases: G the greeting, E the answer to EHLO (H also to HELO), T
to STARTTLS, M R D to MAIL RCPT DATA, X to the final dot. Each case is told
whole and an octet a packet, plain and (but G and T) under TLS. The reply is
`STATUS DSN TEXT` as the log has it for the one recipient.
    taken=N         contents ended by their dot; octets=N in them
    sessions=N      connections in all
    never=RE        no command that the client gave matches
    quit=no         the client did not say QUIT
    notice=RE       is in the notification to the sender; notice_never=RE not
    log=RE          stands in the log behind the queue id's domain
    only=whole      no octet a packet
    features=WORDS  of EHLO
    go=TEXT         the answer to DATA

dns: the state is who asks: mx smtp for a domain of its own, sender smtpd
for a sender's domain (the reply is smtpd's to RCPT), client smtpd for the
client's name (the reply is the name), TXT and TLSA the resolver without a
program around it (the reply is what it found).
"""
import os
import re
import shutil
import smtplib
import subprocess
import tempfile
import threading

import pytest

import hostile
import relaynet
from conftest import BIN, is_sanitized, make_instance, wait_until
from hostile import table

TIMEOUTS = ("smtp_helo_timeout", "smtp_mail_timeout", "smtp_rcpt_timeout",
            "smtp_data_init_timeout", "smtp_data_done_timeout",
            "smtp_starttls_timeout", "smtp_data_xfer_timeout")


def result(log, rcpt):
    """(status, dsn, text, line) of a recipient's last result."""
    found = re.findall(
        rf"^(.*: to=<{re.escape(rcpt)}>, .*dsn=([\d.]+), "
        r"status=(\w+) \((.*)\))$", log, re.M)
    return found[-1] if found else None


def no_line_of_theirs(log):
    """Whatever a server said, a log line is one line of ours."""
    for line in log.splitlines():
        assert re.match(r"\S+ .*postern/\S+\[\d+\]: ", line), line
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f\x80-\x9f\u2028\u2029"
                         "\u202a-\u202e\u2066-\u2069]", log)


# --- mail servers ---

class Case:
    def __init__(self, row, number, state, octets, tls):
        self.row, self.state, self.octets, self.tls = row, state, octets, tls
        self.name = "-".join([row.id.lower(), state.lower()] +
                             ["octets"] * octets + ["tls"] * tls)
        self.host = f"127.3.{number // 250}.{number % 250 + 1}"
        self.domain = self.name + ".test"
        self.rcpt = f"r@{self.domain}"


def cases():
    out = []
    for row in table.rows("smtpclient"):
        if row.status != "replay":
            continue
        states = [row.state] if row.state == "EH" else row.state
        size = len(table.expand(row.input))
        for state in states:
            for octets in (False, True):
                for tls in (False, True):
                    if tls and state in "GT":
                        continue
                    if octets and (table.effects(row).get("only") == "whole"
                                   or size > (2000 if tls else 20000)):
                        continue
                    out.append(Case(row, len(out), state, octets, tls))
    return out


CASES = cases()


class Site:
    """Servers that mean harm, and an instance that meets them."""

    def end(self):
        self.names.end()
        self.mail.end()
        shutil.rmtree(self.dir, ignore_errors=True)
        self.instance.end()
        shutil.rmtree(os.path.dirname(self.instance.dir), ignore_errors=True)


class Servers(Site):
    """An instance whose every message of a row has been tried once."""

    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="postern-hostile.")
        self.names = hostile.HostileNames()
        self.mail = hostile.HostileMail(
            relaynet.free_port(host="127.3.0.1"),
            relaynet.certificate(self.dir))
        for case in CASES:
            effects = table.effects(case.row)
            self.mail.add(case.host, case.state, case.row.input, case.octets,
                          case.tls, effects.get("features", "").split(),
                          effects.get("go", "354 Go ahead"))
            self.names.add(case.domain, "{{ANS @ MX 5 mx.@}}"
                           f"{{{{ANS mx.@ A {case.host}}}}}")
        self.mail.start()
        self.names.prepare()
        self.instance = make_instance(users=("anna",), sets=[
            "mynetworks=127.0.0.0/8", "inet_protocols=ipv4",
            f"dns_servers=127.0.0.1@{self.names.port}",
            "dns_trust_anchor_file=", f"smtp_tcp_port={self.mail.port}",
            "smtp_tls_loglevel=1"] + [f"{t}=20s" for t in TIMEOUTS])
        self.peak = 0
        for case in CASES:
            self.instance.send(case.rcpt, sender="anna@our.test",
                               text=f"Subject: {case.name}\r\n\r\nbody\r\n")
        wait_until(self.all_tried, what="an attempt at each server")
        bounced = self.instance.log().count("status=bounced")
        self.notices = [
            n.decode("utf-8", "replace")
            for n in self.instance.wait_messages("anna", bounced)]

    def all_tried(self):
        for pid in self.instance.pids("smtp"):
            try:
                with open(f"/proc/{pid}/status", encoding="ascii") as f:
                    peak = int(re.search(r"VmHWM:\s+(\d+)", f.read())[1])
            except (OSError, TypeError):    # one that ends
                continue
            self.peak = max(self.peak, peak)
        log = self.instance.log()
        return all(f"to=<{case.rcpt}>" in log for case in CASES)


@pytest.fixture(scope="module")
def servers():
    yield from hostile.lifetime(Servers)


@pytest.mark.parametrize("case", CASES, ids=[c.name for c in CASES])
def test_a_mail_server(servers, case):
    effects = table.effects(case.row)
    log = servers.instance.log()
    line, dsn, status, text = result(log, case.rcpt)
    assert re.match(case.row.reply, f"{status} {dsn} {text}"), line
    visit = servers.mail.visits[case.host]
    for name, want in effects.items():
        if name == "taken":
            assert visit.contents == int(want)
        elif name == "sessions":
            assert visit.sessions == int(want)
        elif name == "octets":
            assert visit.octets == int(want)
        elif name == "never":
            assert not [x for x in visit.lines if re.search(want, x)]
        elif name == "quit":
            assert "QUIT" not in visit.lines
        elif name in ("notice", "notice_never"):
            notice, = [n for n in servers.notices if f"<{case.rcpt}>" in n]
            found = re.search(want, notice.replace("\r\n", "\n"), re.M)
            assert bool(found) == (name == "notice"), notice
        elif name == "log":
            assert re.search(re.escape(case.domain) + r"\S* ?.*" + want, log)
        else:
            assert name in ("only", "features", "go"), name


def test_what_mail_servers_said_stays_in_its_line(servers):
    no_line_of_theirs(servers.instance.log())
    for notice in servers.notices:
        assert not re.search("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]", notice)


def test_endless_replies_take_no_memory(servers):
    assert servers.peak > 0
    assert is_sanitized() or servers.peak < 100_000     # kB


# --- name servers ---

DNS_ROWS = [r for r in table.rows("dns") if r.status == "replay"]
ASKED_BARE = ("TXT", "TLSA", "A", "AAAA", "PTR")


class Names(Site):
    """An instance whose name server answers as the rows say, and what came
    of each row."""

    def __init__(self):
        self.names = hostile.HostileNames()
        self.dir = tempfile.mkdtemp(prefix="postern-hostile.")
        self.mail = hostile.HostileMail(
            relaynet.free_port(host="127.4.1.1"),
            relaynet.certificate(self.dir))
        self.mail.add("127.4.1.1", "-", "")
        self.mail.start()
        self.domains, self.clients, self.said = {}, {}, {}
        for i, row in enumerate(DNS_ROWS):
            self.clients[row.id] = f"127.4.2.{i + 1}"
            self.domains[row.id] = f"{i + 1}.2.4.127.in-addr.arpa" \
                if row.state == "client" else f"{row.id.lower()}.test"
            self.names.add(self.domains[row.id], row.input
                           .replace("SINK", "127.4.1.1")
                           .replace("CLIENT", self.clients[row.id]))
        self.names.prepare()
        self.instance = make_instance(users=("anna",), sets=[
            "mynetworks=127.0.0.0/8", "inet_protocols=ipv4",
            f"dns_servers=127.0.0.1@{self.names.port}", "dns_timeout=20s",
            "dns_trust_anchor_file=", f"smtp_tcp_port={self.mail.port}",
            "smtpd_sender_restrictions=reject_unknown_sender_domain"])
        work = [threading.Thread(target=self.ask_bare, daemon=True)]
        for row in DNS_ROWS:
            if row.state == "mx":
                self.instance.send(f"r@{self.domains[row.id]}",
                                   sender="anna@our.test")
            elif row.state in ("sender", "client"):
                work.append(threading.Thread(target=self.visit, args=(row,),
                                             daemon=True))
        for thread in work:
            thread.start()
        for thread in work:
            thread.join(300)
        wait_until(self.all_tried, what="a result for each row")

    def ask_bare(self):
        """The rows that no program asks for: the resolver alone."""
        asked = [r for r in DNS_ROWS if r.state in ASKED_BARE]
        p = subprocess.run(
            [os.path.join(BIN, "dns-bare"), f"127.0.0.1@{self.names.port}",
             "20"], input="".join(f"{r.state} {self.domains[r.id]}\n"
                                 for r in asked),
            stdout=subprocess.PIPE, text=True, timeout=300, check=True)
        found = dict(line.split(" ", 1) for line in p.stdout.splitlines())
        for row in asked:
            kind, said = found[self.domains[row.id]].split(" ", 1)
            assert kind == row.state
            self.said[row.id] = said

    def visit(self, row):
        """A client of smtpd: what it was told, or as whom it was known."""
        with smtplib.SMTP("127.0.0.1", self.instance.port("smtp"),
                          timeout=60, source_address=(
                              self.clients[row.id], 0)) as s:
            s.ehlo("client.test")
            said = b"%s" % s.ehlo_resp
            s.mail(f"a@{self.domains[row.id]}" if row.state == "sender"
                   else "anna@our.test")
            code, text = s.rcpt("anna@our.test")
        if row.state == "sender":
            self.said[row.id] = f"{code} {text.decode()}"
            return
        assert b"evil" not in said and b"run" not in said
        address = re.escape(self.clients[row.id])
        self.said[row.id] = self.instance.wait_log(
            rf": connect from (\S+)\[{address}\]$")[1]

    def all_tried(self):
        log = self.instance.log()
        for row in DNS_ROWS:
            if row.state == "mx" and row.id not in self.said:
                found = result(log, f"r@{self.domains[row.id]}")
                if found is None:
                    return False
                _, dsn, status, text = found
                self.said[row.id] = f"{status} {dsn} {text}"
        return True


@pytest.fixture(scope="module")
def names():
    yield from hostile.lifetime(Names)


@pytest.mark.parametrize("row", DNS_ROWS, ids=[r.id for r in DNS_ROWS])
def test_a_name_server(names, row):
    assert re.match(row.reply, names.said[row.id]), \
        f"{row.id}: {names.said[row.id]}"
    domain = names.domains[row.id]
    for name, want in table.effects(row).items():
        if name == "taken":
            lines = names.mail.visits["127.4.1.1"].lines
            assert lines.count(f"RCPT TO:<r@{domain}>") == int(want)
        elif name == "tried":
            log = names.instance.log()
            assert log.count(f": connect to mx.{domain}[") == int(want)
        elif name == "asked":
            times = sum(n for (owner, _), n in names.names.asked.items()
                        if owner == domain)
            assert times <= int(want)
        else:
            assert False, name


def test_what_name_servers_said_stays_in_its_line(names):
    no_line_of_theirs(names.instance.log())
