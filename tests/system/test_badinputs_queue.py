"""Bad inputs in the spool: queue.tsv of tests/badinputs, each row against
the real qmgr and pickup.

The state is the directory that a valid queue file to anna is put into, the
input what is done to it before the suite starts (files() has the steps). The
reply says what became of it:
    corrupt WHY     it is in corrupt/ and the log says why
    removed         nobody has it any more, nobody was told
    stays WHY       it lies there as it lay, and the log says why it is
                    skipped ("-": it does not)
    delivered, deferred DSN, bounced DSN    as the log has it
    starts          the suite does, and mail goes on
    STATUS TEXT     of a command (state command)
delivered=N are the copies that anna has, victim=kept says that the file
behind a link is as it was, rss=N are the kilobytes that qmgr may take.
"""
import contextlib
import os
import re
import resource
import shutil
import signal
import subprocess
import tempfile
import time

import pytest

import hostile
import queuefile
from conftest import BIN, is_sanitized, make_instance, wait_until
from hostile import table, words

ROWS = [r for r in table.rows("queue") if r.status == "replay"]
COMMANDS = [r for r in ROWS if r.state == "command"]
STARTS = [r for r in ROWS if r.reply.split()[0] in ("starts", "fatal")]
BEFORE = [r for r in ROWS if r not in COMMANDS + STARTS]
NOBODY = 65534


class Damaged:
    """The files of one row: where they lie and what they are."""

    def __init__(self, spool, row, first, now, victim):
        self.row, self.spool, self.number = row, spool, first
        self.now, self.victim = now, victim
        self.place = os.path.join(spool, row.state)
        if row.state == "deferred":
            due = now // 64 * 64
            self.place = os.path.join(self.place, str(due))
            os.makedirs(self.place, exist_ok=True)
            owner = os.stat(os.path.join(spool, "deferred"))
            os.chown(self.place, owner.st_uid, owner.st_gid)
        self.names = []
        self.content = f"Subject: {row.id}\r\n\r\nx\r\n".encode()

    def file(self, rcpts=None, **kw):
        self.number += 1
        return queuefile.QueueFile(
            self.number, rcpts or [queuefile.recipient(b"anna@our.test")],
            self.content, (self.now - 10) * 10**6, **kw)

    def path(self, name):
        return os.path.join(self.place, name)

    def put(self, data, name=None):
        name = name or f"{self.number:X}"
        with open(self.path(name), "wb") as f:
            f.write(data)
        self.own(name)
        self.names.append(name)

    def own(self, name, mode=0o600):
        owner = os.stat(os.path.join(self.spool, "incoming"))
        path = self.path(name)
        if not os.path.islink(path):
            os.chmod(path, mode)
        os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)

    def link(self, make):
        self.number += 1
        name = f"{self.number:X}"
        make(self.path(name))
        self.names.append(name)
        return name

    def make(self):
        (what, arg), = table.steps(self.row.input)
        args = words(arg)
        getattr(self, "step_" + what.lower())(*args)
        return self

    # --- damage to the octets ---

    def step_cuts(self):
        for n in range(len(self.file().octets())):
            self.put(self.file().octets()[:n])

    def step_flips(self):
        size = len(self.file().octets())
        for bit in range(size * 8):
            # of the header's unused part one bit an octet
            if 80 * 8 <= bit < queuefile.HEADER * 8 and bit % 8:
                continue
            data = bytearray(self.file().octets())
            data[bit // 8] ^= 1 << bit % 8
            self.put(bytes(data))

    def step_octets(self, *data):
        self.file()
        self.put(b"".join(data))

    def step_cut(self, n):
        self.put(self.file().octets()[:int(n)])

    def step_set(self, at, data):
        octets = bytearray(self.file().octets())
        octets[int(at):int(at) + len(data)] = data
        self.put(bytes(octets))

    def step_append(self, data):
        self.put(self.file().octets() + data)

    def step_log(self, rcpt, what, right):
        f = self.file()
        self.put(f.octets() + queuefile.log_record(
            f.number, int(rcpt), int(what), self.now * 10**6,
            right == "right"))

    # --- nonsense with right sums ---

    def step_extents(self, *where):
        for which in where:
            f = self.file()
            at, octets = f.extents[0]
            f.extents = [(
                {"envelope": queuefile.HEADER, "-1": 2**64 - 1,
                 "end": f.log_offset}[which], octets)]
            self.put(f.octets())

    def step_rcpt(self, address):
        self.put(self.file([queuefile.recipient(address)]).octets())

    def step_rcpts(self, n):
        one = queuefile.recipient(b"a@x.test")
        self.put(self.file([one] * int(n)).octets())

    def step_sender(self, *data):
        self.put(self.file(sender=b"".join(data)).octets())

    def step_transport(self, name):
        self.put(self.file([queuefile.recipient(b"anna@our.test",
                                                name)]).octets())

    def step_size(self, n):
        f = self.file()
        f.envelope = queuefile.envelope(
            [queuefile.recipient(b"anna@our.test")], int(n),
            arrival=self.now * 10**6)
        self.put(f.octets())

    def step_id(self, number):
        f = self.file()
        name = f"{f.number:X}"
        f.number = int(number)
        self.put(f.octets(), name)

    # --- what is no plain file of ours ---

    def step_fifo(self):
        self.own(self.link(os.mkfifo))

    def step_dir(self):
        self.own(self.link(os.mkdir), 0o700)

    def step_symlink(self, _):
        self.own(self.link(lambda p: os.symlink(self.victim, p)))

    def step_hardlink(self, _):
        self.link(lambda p: os.link(self.victim, p))

    def step_name(self, name):
        self.put(self.file().octets(), name.decode())

    def step_mode(self, mode):
        self.put(self.file().octets())
        os.chmod(self.path(self.names[0]), int(mode, 8))

    def step_mtime(self, when):
        self.put(self.file().octets())
        os.utime(self.path(self.names[0]), (int(when), int(when)))

    def step_owner(self, uid):
        self.put(self.file().octets())
        os.chmod(self.path(self.names[0]), 0o666)
        os.chown(self.path(self.names[0]), int(uid), int(uid))

    def step_empty(self, n):
        for _ in range(int(n)):
            self.number += 1
            self.put(b"")

    # --- what became of them ---

    def became(self, name, log):
        shown = re.escape("".join(
            c if c >= " " else f"\\x{ord(c):02x}" for c in name))
        m = re.search(rf": {shown}: to=<.*dsn=([\d.]+), status=(\w+)", log)
        if m:
            return "delivered" if m[2] == "sent" else f"{m[2]} {m[1]}"
        if os.path.lexists(os.path.join(self.spool, "corrupt", name)):
            m = re.search(rf": {shown}: damaged \((.*)\), moved to", log)
            return f"corrupt {m[1] if m else '-'}"
        if os.path.lexists(self.path(name)):
            m = re.search(rf": {self.row.state}/(?:\d+/)?{shown}: "
                          r"(?:skipped: )?(.*)$",
                          log, re.M)
            return f"stays {m[1] if m else '-'}"
        return "removed"

    def all_became(self, log):
        """What became of them, each kind once."""
        if len(self.names) > 20:
            # without a line of log a file: corrupt/ and what is left
            corrupt = set(os.listdir(os.path.join(self.spool, "corrupt")))
            there = set(os.listdir(self.place))
            return {"corrupt" if n in corrupt else "stays" if n in there
                    else "removed" for n in self.names}
        return {self.became(n, log) for n in self.names}


class Spool:
    def __init__(self):
        self.instance = make_instance(users=("anna",), sets=[
            "minimal_backoff_time=300s", "queue_run_delay=1s"])
        self.instance.stop()
        self.dir = self.instance.command(
            "postconf", "-hx", "queue_directory").stdout.strip()
        self.outside = tempfile.mkdtemp(prefix="postern-victim.")
        self.victims, self.damaged = {}, {}
        now = int(time.time())
        number = (now - 5000) << 16
        for row in BEFORE:
            victim = os.path.join(self.outside, row.id)
            number += 1 << 16
            d = Damaged(self.dir, row, number, now, victim)
            with open(victim, "wb") as f:
                f.write(queuefile.QueueFile(
                    number + 1, [queuefile.recipient(b"anna@our.test")],
                    d.content, now * 10**6).octets())
            owner = os.stat(os.path.join(self.dir, "incoming"))
            os.chown(victim, owner.st_uid, owner.st_gid)
            with open(victim, "rb") as f:
                self.victims[row.id] = f.read()
            self.damaged[row.id] = d.make()
        self.instance.start()
        self.peak = 0
        with contextlib.suppress(AssertionError):   # the tests say which
            wait_until(self.all_right)

    def said(self, row):
        return self.damaged[row.id].all_became(self.instance.log())

    def all_right(self):
        for pid in self.instance.pids("qmgr"):
            with contextlib.suppress(OSError, TypeError), \
                    open(f"/proc/{pid}/status", encoding="ascii") as f:
                self.peak = max(self.peak, int(
                    re.search(r"VmHWM:\s+(\d+)", f.read())[1]))
        return all(re.match(row.reply, x) for row in BEFORE
                   for x in self.said(row))

    def end(self):
        self.instance.end()
        shutil.rmtree(os.path.dirname(self.instance.dir), ignore_errors=True)
        shutil.rmtree(self.outside, ignore_errors=True)


@pytest.fixture(scope="module")
def spool():
    if os.geteuid() != 0:
        pytest.skip("needs root to make files of other owners")
    yield from hostile.lifetime(Spool)


@pytest.mark.parametrize("row", BEFORE, ids=[r.id for r in BEFORE])
def test_queue_files(spool, row):
    for said in spool.said(row):
        assert re.match(row.reply, said), said
    copies = sum(f"Subject: {row.id}\r\n".encode() in m or
                 f"Subject: {row.id}\n".encode() in m
                 for m in spool.instance.messages("anna"))
    for name, want in table.effects(row).items():
        if name == "delivered":
            assert copies == int(want)
        elif name == "victim":
            with open(os.path.join(spool.outside, row.id), "rb") as f:
                assert f.read() == spool.victims[row.id]
        elif name == "rss":
            assert 0 < spool.peak < int(want)
        else:
            assert False, name


def test_the_queue_goes_on_after_all_of_them(spool):
    inst = spool.instance
    before = len(inst.messages("anna"))
    inst.send("anna", "Subject: after\r\n\r\nx\r\n")
    inst.wait_messages("anna", before + 1)
    log = inst.settled_log()
    assert "fatal:" not in log
    assert "QF-0" not in log  # no content in the log


# --- other files of the spool ---

def spoil(dir, row, victim):
    (what, arg), = table.steps(row.input)
    args = words(arg)
    path = os.path.join(dir, row.state)
    owner = os.stat(path)
    if what == "DUES":
        for name in ("abc", "-1", "99999999999999999999", "0x10"):
            os.mkdir(os.path.join(path, name))
        os.symlink("/etc", os.path.join(path, "12345"))
        return
    if what == "IDS":
        with open(path, "wb") as f:
            f.write(args[0])
    elif args[0] == "cut":
        os.truncate(path, int(args[1]))
    elif args[0] == "zero":
        with open(path, "r+b") as f:
            f.write(bytes(os.path.getsize(path)))
    elif args[0] == "flips":
        with open(path, "r+b") as f:
            data = bytearray(f.read())
            for i in range(0, min(len(data), 65536), 7):
                data[i] ^= 1 << i % 8
            f.seek(0)
            f.write(data)
    elif args[0] == "symlink":
        os.unlink(path)
        os.symlink(victim, path)
        os.chown(victim, owner.st_uid, owner.st_gid)
    os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
@pytest.mark.parametrize("row", STARTS, ids=[r.id for r in STARTS])
def test_spool(new_instance, row, tmp_path):
    inst = new_instance(users=("anna",))
    inst.send("anna", "Subject: first\r\n\r\nx\r\n")
    inst.wait_messages("anna", 1)
    inst.stop()
    dir = inst.command("postconf", "-hx", "queue_directory").stdout.strip()
    victim = tmp_path / "victim"
    victim.write_bytes(b"untouched\n")
    os.chmod(tmp_path, 0o755)
    spoil(dir, row, victim)
    if row.reply.startswith("fatal"):
        inst.command("postern", "start")
        inst.wait_log(": fatal: " + row.reply.split(" ", 1)[1])
    else:
        inst.start()
        inst.send("anna", "Subject: second\r\n\r\nx\r\n")
        inst.wait_messages("anna", 2)
        assert "fatal:" not in inst.log()
    assert victim.read_bytes() == b"untouched\n"


# --- what operators say ---

@pytest.mark.parametrize("row", COMMANDS, ids=[r.id for r in COMMANDS])
def test_commands(instance, row):
    p = instance.command("postern", *table.expand(row.input).decode().split())
    assert re.match(row.reply, f"{p.returncode} {p.stderr.rstrip()}"), p


# --- maildrop/, sendmail ---

def maildrop(inst):
    return os.path.join(inst.command(
        "postconf", "-hx", "queue_directory").stdout.strip(), "maildrop")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs other users")
def test_maildrop(new_instance):
    inst = new_instance(users=("anna",))
    inst.stop()
    drop = maildrop(inst)
    p = inst.command("sendmail", "anna@our.test", input="Subject: x\n\nx\n")
    assert p.returncode == 0
    good, = os.listdir(drop)
    with open(os.path.join(drop, good), "rb") as f:
        wire = f.read()
    os.unlink(os.path.join(drop, good))
    first = 4 + int.from_bytes(wire[:4], "little")
    gid = os.stat(drop).st_gid

    def make(name, data, mode=0o740, age=0, size=None):
        path = os.path.join(drop, name)
        with open(path, "wb") as f:
            f.write(data)
            if size:
                f.truncate(size)
        os.chown(path, NOBODY, gid)
        os.chmod(path, mode)
        os.utime(path, (time.time() - age,) * 2)

    # every other type of message behind the envelope, and in its place
    kinds = [k for k in range(256) if bytes([k]) not in
             (wire[4:5], wire[first + 4:first + 5])]
    for k in kinds[:64]:
        kind = bytes([k])
        make(f"type{k}", wire[:first + 4] + kind + wire[first + 5:])
        make(f"first{k}", wire[:4] + kind + wire[5:])
    make("sparse", wire[:first], size=100 << 30)
    make("old", wire, mode=0o640, age=2 * 86400)
    make("young", wire, mode=0o640, age=3600)
    inst.start()
    wait_until(lambda: {n for n in os.listdir(drop) if n[0] != "."} ==
               {"young"})
    assert inst.messages("anna") == []
    for k in kinds[:64]:
        inst.wait_log(rf"maildrop/type{k} is no message")
        inst.wait_log(rf"maildrop/first{k} is no message")
    inst.wait_log("maildrop/sparse is no message")
    assert inst.command("sendmail", "anna@our.test",
                        input="Subject: y\n\nx\n").returncode == 0
    inst.wait_messages("anna", 1)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs other users")
def test_sendmail_is_nobody_special(new_instance, tmp_path):
    inst = new_instance(users=("anna",))
    os.chmod(os.path.dirname(inst.dir), 0o755)
    path = os.path.join(BIN, "sendmail")
    assert not os.stat(path).st_mode & 0o6000
    text = b"Subject: x\n\nx\n"

    def run(prepare=None, args=(), **kw):
        return subprocess.run(
            [path, "-C", inst.etc, *args, "anna@our.test"], input=text,
            stderr=subprocess.PIPE, timeout=60, check=False, user=NOBODY,
            group=NOBODY, extra_groups=[], preexec_fn=prepare, **kw)

    # QF-022: a hostile environment, no descriptors
    p = run(env={"LD_LIBRARY_PATH": "/nonexistent", "IFS": "/", "PATH": "",
                 "TZ": "/" + "x" * 5000, "LC_ALL": "\x1b[31m"})
    assert p.returncode == 0, p.stderr
    inst.wait_messages("anna", 1)
    p = run(prepare=lambda: os.closerange(1, 3))
    assert p.returncode == 0
    inst.wait_messages("anna", 2)
    # QF-023: no argument at all, not even a name
    code = ("import ctypes, sys\n"
            "libc = ctypes.CDLL(None)\n"
            "none = (ctypes.c_char_p * 1)(None)\n"
            "libc.execve(sys.argv[1].encode(), none, none)\n")
    p = subprocess.run(["/usr/bin/python3", "-c", code, path],
                       stdin=subprocess.DEVNULL, stderr=subprocess.PIPE,
                       timeout=60, check=False)
    assert p.returncode == (64 if os.path.exists("/etc/postern") else 75), p
    # QF-024: somebody else's configuration, with the caller's rights
    evil = tmp_path / "evil"
    evil.mkdir()
    (evil / "main.cf").write_text("queue_directory = /proc/1/cwd\n")
    (evil / "master.cf").write_text("")
    for where in (tmp_path.parent, tmp_path, evil):
        os.chmod(where, 0o755)
    p = subprocess.run([path, "-C", str(evil), "anna@our.test"], input=text,
                       stderr=subprocess.PIPE, timeout=60, check=False,
                       user=NOBODY, group=NOBODY, extra_groups=[])
    assert p.returncode == 75, p.stderr
    # QF-025: no file may grow; the suite is down
    if is_sanitized([b"__tsan_"]):
        return      # it makes a file of its own before main()
    inst.stop()
    drop = maildrop(inst)

    def no_growth():
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    p = run(prepare=no_growth)
    assert p.returncode == 75, p
    assert [n for n in os.listdir(drop) if n[0] != "."] == []
