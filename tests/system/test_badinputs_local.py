"""Bad inputs to local delivery: local.tsv of tests/badinputs, each row by a
user of its own in one instance (test_local.py says how users are made).

Steps prepare his world: {{FILE path mode octets}}, {{SYMLINK path target}},
{{HARDLINK path target}}, {{FIFO path}}, {{MKDIR path}}, {{RMDIR path}},
{{DEVICE path}}, {{MODE path mode}}, {{OWNER path user}}, {{MAILDIR}} (his
BOX), {{FORWARD octets}} (his .forward; - for none), {{ALIAS text}}
(instead of him), {{ALIAS2 text}} (of USER2, who is an alias only), {{SENDER
octets}}, {{EXTENSION text}}. MBOX is his mailbox, BOX the Maildir of a
virtual user (state maildir), HOME, USER, VICTIM (a file of root's with a
secret), VICTIMDIR, OUT (where default_privs may write). The reply is `STATUS
DSN TEXT` of the recipient, or waiting. Effects: victim=kept, victimdir=empty,
kept=PATH, copies=N in MBOX, anna=N, later=RESULT of another message for him,
absent=PATH, out=RE in OUT/id, environment=only, descriptors=only,
processes=none.
"""
import mailbox
import os
import re
import shutil

import pytest

import hostile
from conftest import make_instance, wait_until
from hostile import table, words
from test_local import DOMAIN, LUCY, MARK, SINK, Local

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0, reason="needs root to make users")

ROWS = [r for r in table.rows("local") if r.status == "replay"]
LOCK_PATIENCE = 30      # seconds; local/deliver_mbox.c
ENVIRONMENT = {
    "PATH", "SHELL", "HOME", "USER", "LOGNAME", "SENDER", "RECIPIENT",
    "ORIGINAL_RECIPIENT", "LOCAL", "DOMAIN", "EXTENSION", "QUEUE_ID", "TZ",
    "LANG", "LC_ALL", "home", "user", "local", "domain", "recipient",
    "extension", "recipient_delimiter", "PWD", "SHLVL", "_", "OLDPWD"}


class Case:
    """One row's user and what surrounds him."""

    def __init__(self, box, outside, row, uid):
        self.box, self.row, self.uid = box, row, uid
        self.user = "u" + row.id[4:]
        self.home = box.home(self.user)
        self.mbox = os.path.join(box.spool, self.user)
        self.victim = os.path.join(outside, row.id)
        self.secret = f"secret-of-{row.id}\n"
        self.aliases, self.box_path = "", ""
        self.sender, self.extension = "anna@our.test", ""
        self.domain = DOMAIN
        if row.state == "maildir":
            self.domain = "our.test"
            self.box_path = box.inst.maildir(self.user)
            self.uid = os.stat(os.path.dirname(os.path.dirname(
                self.box_path))).st_uid
        os.mkdir(self.home, 0o755)
        os.chown(self.home, uid, uid)
        with open(self.victim, "w", encoding="ascii") as f:
            f.write(self.secret)
        os.chmod(self.victim, 0o600)
        os.mkdir(self.victim + ".d", 0o755)

    def text(self, value):
        for name, what in (
                ("VICTIMDIR", self.victim + ".d"), ("VICTIM", self.victim),
                ("HOMES", self.box.homes), ("HOME", self.home),
                ("MBOX", self.mbox), ("BOX", self.box_path),
                ("USER2", self.user + "x"),
                ("USER", self.user), ("OUT", self.box.out),
                ("DOMAIN", DOMAIN)):
            if isinstance(value, bytes):
                value = value.replace(name.encode(), what.encode())
            else:
                value = value.replace(name, what)
        return value

    def prepare(self):
        for what, arg in table.steps(self.row.input):
            getattr(self, "step_" + what.lower())(
                *[self.text(x) for x in words(arg)])
        return self

    def own(self, path):
        os.chown(path, self.uid, self.uid, follow_symlinks=False)

    def step_file(self, path, mode, *data):
        with open(path, "wb") as f:
            f.write(b"".join(data))
        os.chmod(path, int(mode, 8))
        self.own(path)

    def step_symlink(self, path, target):
        os.symlink(target, path)
        self.own(path)

    def step_hardlink(self, path, target):
        os.link(target, path)

    def step_fifo(self, path):
        os.mkfifo(path, 0o600)
        self.own(path)

    def step_mkdir(self, path):
        os.mkdir(path, 0o700)
        self.own(path)

    def step_rmdir(self, path):
        os.rmdir(path)

    def step_device(self, path):
        os.mknod(path, 0o020600, os.makedev(1, 3))
        self.own(path)

    def step_mode(self, path, mode):
        os.chmod(path, int(mode, 8))

    def step_owner(self, path, name):
        uid = {"mark": MARK, "lucy": LUCY}[name]
        os.chown(path, uid, uid)

    def step_maildir(self):
        os.makedirs(os.path.dirname(self.box_path), exist_ok=True)
        self.own(os.path.dirname(self.box_path))
        for name in ("", "/new", "/cur", "/tmp"):
            self.step_mkdir(self.box_path + name)

    def step_forward(self, *data):
        if data != ("-",):
            self.step_file(self.home + "/.forward", "644", *data)

    def step_alias(self, text):
        self.aliases += f"{self.user}: {text.decode()}\n"

    def step_alias2(self, text):
        self.aliases += f"{self.user}x: {text.decode()}\n"

    def step_sender(self, text):
        self.sender = text.decode()

    def step_extension(self, text):
        self.extension = "+" + text.decode()

    # --- what came of it ---

    def send(self):
        with self.box.inst.smtp() as s:
            s.ehlo("x.test")
            s.docmd(f"MAIL FROM:<{self.sender}>")
            local = self.user + self.extension
            if "/" in local:
                local = f'"{local}"'
            code, said = s.docmd(f"RCPT TO:<{local}@{self.domain}>")
            assert code == 250, (self.row.id, said)
            code, said = s.data(f"Subject: {self.row.id}\r\n\r\nx\r\n")
            assert code == 250, said
            self.qid = re.search(rb"queued as (\w+)", said)[1].decode()

    def result(self, log):
        m = re.search(rf": {self.qid}: to=<.*delay=([\d.]+), .*"
                      r"dsn=([\d.]+), status=(\w+) \((.*)\)$", log, re.M)
        if m is None:
            return "waiting"
        if m[3] == "deferred" and self.row.reply == "waiting$" and \
                float(m[1]) >= LOCK_PATIENCE:
            return "waiting"    # that was long ago
        return f"{m[3]} {m[2]} {m[4]}"

    def copies(self):
        if not os.path.isfile(self.mbox):
            return 0
        return len([m for m in mailbox.mbox(self.mbox)
                    if m["Subject"] == self.row.id])


class World:
    def __init__(self):
        users = ["anna"] + ["u" + r.id[4:] for r in ROWS
                            if r.state == "maildir"]
        inst = make_instance(users=users, start=False, sets=[
            "default_privs=sink", "recipient_delimiter=+",
            "command_time_limit=15s"])
        self.instance = inst
        self.box = box = Local(inst)
        os.mkdir(box.spool)
        os.chmod(box.spool, 0o1777)
        p = inst.command("postconf", "-e",
                         f"mail_spool_directory={box.spool}")
        assert p.returncode == 0, p.stderr
        self.outside = os.path.join(inst.dir, "outside")
        os.mkdir(self.outside, 0o755)
        self.cases = {}
        with open(box.passwd, "a", encoding="utf-8") as f:
            for uid, row in enumerate(ROWS, 21000):
                case = Case(box, self.outside, row, uid)
                if row.state != "aliases":
                    f.write(f"{case.user}:x:{uid}:{uid}::"
                            f"{case.home}:/bin/sh\n")
                self.cases[row.id] = case.prepare()
        self.kept = {}
        for case in self.cases.values():
            path = table.effects(case.row).get("kept")
            if path:
                with open(case.text(path), "rb") as f:
                    self.kept[case.row.id] = f.read()
        box.start("".join(c.aliases for c in self.cases.values()))
        for case in self.cases.values():
            case.send()
        wait_until(lambda: all(
            c.result(inst.log()) != "waiting" or c.row.reply == "waiting$"
            for c in self.cases.values()), what="a result for each row")

    def end(self):
        self.box.inst.end()
        shutil.rmtree(os.path.dirname(self.box.inst.dir), ignore_errors=True)


@pytest.fixture(scope="module")
def world():
    yield from hostile.lifetime(World)


def processes_of(uid):
    out = []
    for name in os.listdir("/proc"):
        try:
            if name.isdigit() and os.stat(f"/proc/{name}").st_uid == uid:
                with open(f"/proc/{name}/cmdline", "rb") as f:
                    out.append(f.read())
        except OSError:
            pass
    return out


@pytest.mark.parametrize("row", ROWS, ids=[r.id for r in ROWS])
def test_local(world, row):
    case, box = world.cases[row.id], world.box
    said = case.result(box.inst.log())
    assert re.match(row.reply, said), f"{row.id}: {said}"
    out = os.path.join(box.out, row.id)
    for name, want in table.effects(row).items():
        if name == "victim":
            with open(case.victim, encoding="ascii") as f:
                assert f.read() == case.secret
        elif name == "victimdir":
            assert os.listdir(case.victim + ".d") == []
        elif name == "kept":
            with open(case.text(want), "rb") as f:
                assert f.read() == world.kept[row.id]
        elif name == "copies":
            assert case.copies() == int(want)
        elif name == "anna":
            wait_until(lambda n=int(want): n == len([
                m for m in box.inst.messages("anna")
                if f"\nSubject: {row.id}\n".encode() in
                m.replace(b"\r", b"")]), what=f"{want} copies")
        elif name == "later":
            status, dsn, text = want.split(" ", 2)
            box.inst.wait_log(rf": to=<{case.user}@.*dsn={dsn}, "
                              rf"status={status} \({text}")
        elif name == "absent":
            assert not os.path.lexists(case.text(want))
        elif name == "out":
            with open(out, encoding="utf-8") as f:
                assert re.search(case.text(want), f.read(), re.M)
        elif name == "environment":
            with open(out, encoding="utf-8") as f:
                assert set(re.findall(r"^(\w+)=", f.read(), re.M)) <= \
                    ENVIRONMENT
        elif name == "descriptors":
            with open(out, encoding="utf-8") as f:
                found = re.findall(r" (\d+) -> (\S+)", f.read())
            # ls itself has its directory
            assert {n for n, where in found
                    if not where.startswith("/proc/")} == {"0", "1", "2"}
        elif name == "processes":
            uid = SINK if row.state == "aliases" else case.uid
            wait_until(lambda: not [
                x for x in processes_of(uid) if b"sleep\x00300" in x or
                b"kill" in x], what="their end")
        else:
            assert False, name


def test_no_secret_was_told(world):
    log = world.box.inst.log()
    assert "secret-of" not in log
    for message in world.box.inst.messages("anna"):
        assert b"secret-of" not in message
    for line in log.splitlines():
        assert re.match(r"\S+ .*postern/\S+\[\d+\]: ", line), line
