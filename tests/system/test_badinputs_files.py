"""Bad inputs from files: config.tsv, queue.tsv, bounce.tsv, log.tsv and
sieve.tsv of tests/badinputs, each row against the real programs.

config: the state is the file to whose end the input goes, its name set
nowhere else in it; the replies are all lines that `postern check` writes,
+1 being the first line added. Steps make files first: {{FILE name mode
octets}}, {{MODE name mode}}, {{LINK name target}}, {{FIFO name}}; ETC is the
directory. What is an error does not start (but with starts=yes: what may
be mended while it runs), and a reload keeps what was.

bounce: a message to nobody@gone.test with that content, by anna; {{SENDER}},
{{RCPT}} (the local part), {{ENVID}}, {{ORCPT}} change the envelope. The reply
is `STATUS DSN`; notices=N come to anna, of less than octets=N, returned=
headers only, mime=valid, and no line of them matches never=RE.

log: what a client says behind EHLO (behind DATA with {{DATA}}); the log has
lines=clean, or lines=1 that tells of it.
"""
import email
import os
import re
import shutil
import subprocess

import pytest

import relaynet
from conftest import BIN, make_instance
from hostile import table, words

# --- config ---

CONFIG = [r for r in table.rows("config") if r.status == "replay"]


@pytest.fixture(scope="module")
def running():
    inst = make_instance(users=("anna",))
    yield inst
    inst.end()
    shutil.rmtree(os.path.dirname(inst.dir), ignore_errors=True)


@pytest.fixture(scope="module")
def stopped():
    inst = make_instance(users=("anna",), start=False)
    yield inst
    inst.end()
    shutil.rmtree(os.path.dirname(inst.dir), ignore_errors=True)


def make_file(etc, what, arg):
    name, *rest = words(arg)
    path = os.path.join(etc, name)
    if what == "FILE":
        with open(path, "wb") as f:
            f.write(b"".join(rest[1:]))
        os.chmod(path, int(rest[0], 8))
    elif what == "MODE":
        os.chmod(path, int(rest[0], 8))
    elif what == "LINK":
        os.unlink(path)
        os.symlink(rest[0], path)
    elif what == "FIFO":
        os.unlink(path)
        os.mkfifo(path)
    else:
        assert False, what


def without(text, names):
    """main.cf without the lines that set these names."""
    return "".join(line for line in text.splitlines(keepends=True)
                   if line.split("=")[0].strip() not in names)


def spoil(etc, row):
    """Writes the row into a configuration directory; the number of lines in
    front of what it adds."""
    path = os.path.join(etc, row.state)
    with open(path, encoding="ascii") as f:
        base = f.read()
    added = b"".join(arg for what, arg in table.steps(row.input)
                     if what == "send").replace(b"ETC", etc.encode())
    if row.state == "main.cf":
        names = re.findall(rb"^([a-z_0-9]+) *=", added, re.M)
        base = without(base, [n.decode() for n in names])
    with open(path, "wb") as f:
        f.write(base.encode() + added)
    for what, arg in table.steps(row.input):
        if what != "send":
            make_file(etc, what, arg)
    return base.count("\n")


def problems(said, etc, row, before):
    """The lines of `postern check`, with line numbers from what was added."""
    def number(m):
        n = int(m[2]) - before
        return f"{m[1]}:+{n}:" if n > 0 else f"{m[1]}:"
    out = said.replace(etc + "/", "")
    return re.sub(rf"^({re.escape(row.state)}):(\d+):", number, out,
                  flags=re.M)


def run_postern(etc, verb):
    return subprocess.run([os.path.join(BIN, "postern"), "-c", etc, verb],
                          stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                          stderr=subprocess.PIPE, encoding="utf-8",
                          errors="replace", timeout=60, check=False)


@pytest.mark.parametrize("row", CONFIG, ids=[r.id for r in CONFIG])
def test_config(running, stopped, row, tmp_path):
    etc = str(tmp_path / "etc")
    shutil.copytree(stopped.etc, etc)
    before = spoil(etc, row)
    p = run_postern(etc, "check")
    said = problems(p.stderr, etc, row, before)
    want = "" if row.reply == "^$" else table.conversation(row.reply)
    assert re.fullmatch(want, said, re.M), said
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u202e]", said)
    errors = [x for x in said.splitlines() if ": error: " in x]
    assert p.returncode == (1 if errors else 0)
    if not errors:
        return
    p = run_postern(etc, "start")
    if p.returncode == 0:
        run_postern(etc, "stop")
    if table.effects(row).get("starts") == "yes":
        assert p.returncode == 0, p.stderr
        return
    assert p.returncode != 0, "it started"
    assert [x for x in problems(p.stderr, etc, row, before).splitlines()
            if ": error: " in x] == errors
    if any(what != "send" for what, _ in table.steps(row.input)):
        return
    kept = os.path.join(running.etc, row.state + ".kept")
    path = os.path.join(running.etc, row.state)
    os.rename(path, kept)
    try:
        shutil.copy(os.path.join(etc, row.state), path)
        assert run_postern(running.etc, "reload").returncode != 0
    finally:
        os.rename(kept, path)
    with running.smtp() as client:
        assert client.noop()[0] == 250


def test_a_pattern_that_backtracks_is_a_temporary_failure(new_instance):
    """CFG-011: pcre stops, and the client hears that it may try again."""
    inst = new_instance(users=("anna",), start=False)
    path = os.path.join(inst.etc, "map")
    with open(path, "w", encoding="ascii") as f:
        f.write("/^(a+)+$/ anna@our.test\n")
    p = inst.command("postconf", "-e", f"virtual_alias_maps=pcre:{path}")
    assert p.returncode == 0
    inst.start()
    with inst.smtp() as client:
        client.ehlo("x.test")
        client.mail("a@peer.test")
        code, said = client.rcpt("a" * 60 + "@our.test")
        assert code == 451 and said.startswith(b"4.3."), said
        assert client.rcpt("anna@our.test")[0] == 250
    # the command too, which says that it cannot tell
    p = inst.command("postmap", "-q", "a" * 65000 + "!", f"pcre:{path}")
    assert p.returncode == 75 and p.stdout == ""


# --- notifications ---

BOUNCE = [r for r in table.rows("bounce") if r.status == "replay"]
LOG = [r for r in table.rows("log") if r.status == "replay"]


class Mail:
    """What a row's steps make: envelope and content."""

    def __init__(self, row):
        self.sender, self.rcpt = "anna@our.test", "nobody"
        self.params = {"MAIL": "", "RCPT": ""}
        self.content = b""
        for what, arg in table.steps(row.input):
            if what == "send":
                self.content += arg
                continue
            value, = words(arg)
            value = value.decode()
            if what == "SENDER":
                self.sender = value
            elif what == "RCPT":
                self.rcpt = value
            elif what == "ENVID":
                self.params["MAIL"] = f" ENVID={value}"
            elif what == "ORCPT":
                self.params["RCPT"] = f" ORCPT={value}"
            else:
                assert False, what

    def send(self, inst):
        """The queue id, or None and the refusal."""
        with inst.smtp() as s:
            s.ehlo("x.test")
            for line in (f"MAIL FROM:<{self.sender}>{self.params['MAIL']}",
                         f"RCPT TO:<{self.rcpt}@gone.test>"
                         f"{self.params['RCPT']}"):
                code, said = s.docmd(line)
                if code != 250:
                    return None, f"{code} {said.decode()}"
            code, said = s.data(self.content)
            if code != 250:
                return None, f"{code} {said.decode()}"
            return re.search(rb"queued as (\w+)", said)[1].decode(), None


@pytest.fixture(scope="module")
def bounced():
    sink = relaynet.Sink("127.0.0.1", relaynet.free_port(),
                         replies={"RCPT": "550 5.4.4 gone"},
                         features=["8BITMIME", "SMTPUTF8"])
    inst = make_instance(users=("anna",), sets=[
        "mynetworks=127.0.0.0/8", f"relayhost=[127.0.0.1]:{sink.port}"])
    sent = {r.id: Mail(r).send(inst) for r in BOUNCE}
    for qid, _ in sent.values():
        if qid:
            inst.wait_log(rf"{qid}: removed")
    # the notifications are messages of their own
    for notice in re.findall(r"notification: (\w+)$", inst.log(), re.M):
        inst.wait_log(rf"{notice}: removed")
    yield inst, sent
    sink.end()
    inst.end()
    shutil.rmtree(os.path.dirname(inst.dir), ignore_errors=True)


def check_notice(raw):
    """RFC 3464: a report of three parts, whatever came back."""
    notice = email.message_from_bytes(raw)
    assert notice.get_content_type() == "multipart/report"
    parts = notice.get_payload()
    assert [p.get_content_type() for p in parts][:2] == [
        "text/plain", "message/delivery-status"]
    assert len(parts) == 3 and not notice.defects
    boundary = notice.get_boundary().encode()
    assert raw.count(b"\n--" + boundary) == 4
    fields = parts[1].get_payload()
    assert len(fields) == 2 and "Final-Recipient" in fields[1]
    assert not re.search(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]", raw)
    assert max(map(len, raw.splitlines())) <= 998
    head = raw[:raw.index(b"--" + boundary)]
    if any(x > 127 for x in raw):
        assert b"8bit" in raw and head.isascii()


@pytest.mark.parametrize("row", BOUNCE, ids=[r.id for r in BOUNCE])
def test_bounce(bounced, row):
    inst, sent = bounced
    qid, said = sent[row.id]
    if qid:
        m = re.search(rf": {qid}: to=<.*dsn=([\d.]+), status=(\w+) ",
                      inst.log())
        said = f"{m[2]} {m[1]}"
    assert re.match(row.reply, said), said
    mine = [x for x in inst.messages("anna")
            if f"Subject: {row.id}".encode() in x]
    for name, want in table.effects(row).items():
        if name == "notices":
            assert len(mine) == int(want)
        elif name == "returned":
            assert b"message/rfc822-headers" in mine[0] or \
                b"text/rfc822-headers" in mine[0]
        elif name == "octets":
            assert len(mine[0]) < int(want)
        elif name == "mime":
            check_notice(mine[0])
        elif name == "never":
            assert not re.search(want.encode(), mine[0], re.M)
        else:
            assert False, name


# --- the log ---

@pytest.mark.parametrize("row", LOG, ids=[r.id for r in LOG])
def test_log(running, row):
    with running.smtp() as s:
        s.ehlo("x.test")
        for what, arg in table.steps(row.input):
            if what == "DATA":
                for line in ("MAIL FROM:<a@peer.test>",
                             "RCPT TO:<anna@our.test>", "DATA"):
                    assert s.docmd(line)[0] in (250, 354)
            else:
                s.send(arg)
                code, said = s.getreply()
        assert re.match(row.reply, f"{code} {said.decode('latin-1')}"), said
        s.docmd("RCPT TO:<nosuch@our.test>")
    if table.effects(row)["lines"] == "1":
        running.wait_log("May 1 host")
    log = running.settled_log()
    for line in log.splitlines():
        assert re.match(r"\S+ .*postern/\S+\[\d+\]: ", line), line
        assert len(line.encode()) < 2200
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f\x80-\x9f\u2028\u2029"
                         "\u202a-\u202e\u2066-\u2069]", log)
    if table.effects(row)["lines"] == "1":
        assert len(re.findall("^.*May 1 host.*$", log, re.M)) == 1
