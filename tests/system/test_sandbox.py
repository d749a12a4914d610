"""The walls: sandbox.def is the truth, and the running processes obey it."""
import contextlib
import os
import re
import shutil
import stat
import subprocess
import tempfile

import pytest
from conftest import BIN, make_instance, wait_until

PROBE = os.path.join(BIN, "escape-probe")
ROW = re.compile(r"^PROGRAM\((\w+),\s*(\d+),\s*(\d+),\s*(.*?),\s*(EMPTY|HOST),"
                 r"\s*\"(.*?)\",\s*(.*?)\)\s*$", re.M)
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))


def rows():
    with open(os.path.join(ROOT, "lib/service/sandbox.def"),
              encoding="ascii") as f:
        return {m[1]: m for m in ROW.finditer(f.read())}


def run_probe(as_user=None):
    parent = tempfile.mkdtemp(prefix="postern-probe.")
    kw = {}
    try:
        shutil.copy(PROBE, parent)  # a user may not reach the build tree
        target = os.path.join(parent, "targets")
        os.mkdir(target)
        if as_user is not None:
            os.chmod(parent, 0o755)
            os.chown(target, as_user, as_user)
            kw = {"user": as_user, "group": as_user, "extra_groups": []}
        p = subprocess.run([os.path.join(parent, "escape-probe"), target],
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                           text=True, timeout=300, check=False, **kw)
        return p.returncode, p.stdout
    finally:
        shutil.rmtree(parent, ignore_errors=True)


def test_nothing_escapes_an_instance_that_root_runs():
    if os.geteuid() != 0:
        pytest.skip("needs root")
    code, out = run_probe()
    assert code == 0, out
    assert re.search(r"^escape-probe: [1-9]\d+ attempts, 0 bad$", out, re.M)


def test_nothing_escapes_an_instance_that_a_user_runs(nobody):
    code, out = run_probe(nobody)
    assert code == 0, out


def status_of(pid):
    with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as f:
        return dict(line.rstrip("\n").split(":\t", 1)
                    for line in f if ":\t" in line)


def missing_walls(pid, name, row, as_root):
    """What a process lacks of them, as text; nothing when it is gone."""
    try:
        s = status_of(pid)
        if s["Name"] != name[:15]:
            return ""   # a process that became another
        lacks = [key for key, value in (("Seccomp", "2"), ("NoNewPrivs", "1"))
                 if s[key] != value]
        if name not in ("master", "launch"):
            none = ["CapEff", "CapPrm"] + ["CapBnd"] * as_root
            lacks += [key for key in none if int(s[key], 16) != 0]
            lacks += [key for key in ("Uid", "Gid")
                      if as_root and "0" in s[key].split()]
        elif as_root and row[4].count("CAP(") != \
                bin(int(s["CapEff"], 16)).count("1"):
            lacks.append("CapEff")
        if as_root and row[5] == "EMPTY":
            root = os.readlink(f"/proc/{pid}/root")
            if not root.endswith("/empty") or os.listdir(f"/proc/{pid}/root/"):
                lacks.append(root)
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return f"{name}[{pid}]: " + ", ".join(
        f"{key} {s.get(key)}" for key in lacks) if lacks else ""


def check_live(inst, as_root):
    """{program: pids}; each has its walls, one that only just starts soon."""
    seen = {name: inst.pids(name) for name in rows()}
    last = []

    def all_stand():
        last[:] = [x for name, row in rows().items() for pid in seen[name]
                   if (x := missing_walls(pid, name, row, as_root))]
        return not last
    with contextlib.suppress(AssertionError):
        wait_until(all_stand, 30)
    assert last == []
    return {name: pids for name, pids in seen.items() if pids}


def test_the_running_processes_are_behind_their_walls():
    inst = make_instance()
    try:
        inst.send("anna")
        inst.wait_messages("anna", 1)
        inst.imap("anna").logout()
        seen = check_live(inst, os.geteuid() == 0)
        started = {n for n, r in rows().items() if int(r[3]) > 0}
        assert started <= set(seen), started - set(seen)
        uids = {}
        if os.geteuid() == 0:
            for name, pids in seen.items():
                uids[name] = status_of(pids[0])["Uid"].split()[0]
            del uids["master"], uids["launch"]
            services = [u for n, u in uids.items()
                        if n not in ("imapd", "pop3d", "deliver",
                                     "deliver_command")]
            assert len(set(services)) == len(services), uids
    finally:
        inst.end()


def test_the_same_walls_stand_without_root(nobody):
    inst = make_instance(as_user=nobody)
    try:
        inst.send("anna")
        inst.wait_messages("anna", 1)
        assert inst.pids("smtpd")
        check_live(inst, False)
    finally:
        inst.end()


def test_there_is_no_set_id_file(instance):
    for top in (BIN, instance.dir):
        for base, dirs, files in os.walk(top):
            for name in files:
                mode = os.lstat(os.path.join(base, name)).st_mode
                assert not mode & (stat.S_ISUID | stat.S_ISGID), \
                    os.path.join(base, name)


def test_the_private_key_is_in_no_network_process(instance):
    """Its octets, as in the file and as the number they encode."""
    if os.geteuid() != 0:
        pytest.skip("needs root to read other processes' memory")
    instance.submission("anna").quit()
    instance.imap("anna", tls=True).logout()
    key = os.path.join(instance.dir, "keys/key.pem")
    der = subprocess.run(["openssl", "pkey", "-in", key, "-outform", "DER"],
                         stdout=subprocess.PIPE, check=True).stdout
    text = subprocess.run(["openssl", "pkey", "-in", key, "-text", "-noout"],
                          stdout=subprocess.PIPE, check=True).stdout.decode()
    number = bytes.fromhex(re.search(r"priv:\n([\s0-9a-f:]+?)pub:", text)[1]
                           .replace(":", "").replace("\n", "")
                           .replace(" ", ""))[-32:]
    with open(key, "rb") as f:
        pem = f.read().splitlines()[1]
    needles = [der, number, number[::-1], pem]

    def holds(pid):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError), \
                open(f"/proc/{pid}/maps", encoding="utf-8") as maps, \
                open(f"/proc/{pid}/mem", "rb", 0) as mem:
            for line in maps:
                a, b = (int(x, 16) for x in line.split()[0].split("-"))
                if " r" not in line[:60] or "[v" in line:
                    continue
                if b - a > 1 << 30:  # a sanitizer's books
                    continue
                try:
                    mem.seek(a)
                    data = mem.read(b - a)
                except OSError:
                    continue
                if any(n in data for n in needles):
                    return True
        return False

    assert any(holds(p) for p in instance.pids("keys")), \
        "the scan does not even find it where it is"
    for name in rows():
        if name == "keys":
            continue
        for pid in instance.pids(name):
            assert not holds(pid), f"{name}[{pid}] has the private key"
