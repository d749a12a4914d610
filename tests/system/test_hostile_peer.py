"""A program that was taken over: what its neighbours make of it.

tests/tools/hostile.c stands in the place of one program, behind its walls and
with its edges, and says whatever it likes to every server that it can reach.
"""
import os
import re
import shutil
import socket
import stat

from conftest import BIN, make_instance, wait_until

SERVERS = ("cleanup", "lookup", "limits", "auth", "keys", "dns", "qmgr",
           "local", "log", "launch", "master", "pickup", "bounce")


def bin_with_hostile(inst, program, parameter):
    """A folder of programs, one of which somebody took over where it has that
    parameter."""
    folder = os.path.join(os.path.dirname(inst.dir), "bin")
    os.mkdir(folder)
    for name in os.listdir(BIN):
        path = os.path.join(BIN, name)
        if os.path.islink(path):
            os.symlink(os.readlink(path), os.path.join(folder, name))
        elif os.stat(path).st_mode & stat.S_IXUSR and name != program:
            os.link(path, os.path.join(folder, name)) if same_disk(
                path, folder) else shutil.copy(path, folder)
    shutil.copy(os.path.join(BIN, program),
                os.path.join(folder, program + ".real"))
    shutil.copy(os.path.join(BIN, "hostile"), os.path.join(folder, program))
    with open(os.path.join(folder, "hostile.when"), "w", encoding="ascii") as f:
        f.write(parameter)
    os.chmod(folder, 0o755)
    return folder


def same_disk(a, b):
    return os.stat(a).st_dev == os.stat(b).st_dev


def pids(inst):
    return {p: sorted(inst.pids(p)) for p in SERVERS}


def rss(pid):
    with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as f:
        return int(re.search(r"^VmRSS:\s+(\d+)", f.read(), re.M)[1])


def run_hostile(program, parameter, connect):
    inst = make_instance(start=False)
    try:
        folder = bin_with_hostile(inst, program, parameter)
        p = inst._run([os.path.join(folder, "postern"), "-c", inst.etc,
                       "start"])
        assert p.returncode == 0, p.stderr + inst.log()
        inst.send("anna", "Subject: before\r\n\r\nx\r\n")
        inst.wait_messages("anna", 1)
        before = pids(inst)
        assert all(before[s] for s in ("cleanup", "qmgr", "lookup", "auth",
                                       "keys", "limits"))
        connect(inst)
        # Mail goes on while it is at it, ...
        for i in range(5):
            inst.send("bob", f"Subject: meanwhile {i}\r\n\r\nx\r\n")
        # ... which it does once for each process of its group.
        wait_until(lambda: inst.log().count("hostile: done") == 2, 240,
                   "the end of the attack")
        inst.send("anna", "Subject: after\r\n\r\nx\r\n")
        inst.wait_messages("anna", 2)
        wait_until(lambda: len(inst.messages("bob")) >= 5, 60, "bob's mail")
        inst.imap("bob").logout()
        assert pids(inst) == before, inst.log()[-20000:]
        said = dict((m[1], m) for m in re.finditer(
            r"hostile: (\w+): (\d+) conversations, (\d+) packets, "
            r"(\d+) answers, (\d+) at once, (\d+) refused", inst.log()))
        for server in before:
            for pid in before[server]:
                if "Sanitizer" not in inst.log() and "san" not in BIN:
                    assert rss(pid) < 400_000, (server, rss(pid))
        return said, inst.log()
    finally:
        log = inst.log()
        inst.end()
        shutil.rmtree(os.path.dirname(inst.dir), ignore_errors=True)
        if "hostile: done" not in log:
            print(log[-5000:])


def connect_submission(inst):
    with socket.create_connection(("127.0.0.1", inst.port("submission")),
                                  timeout=20):
        pass


def test_a_hostile_smtpd_cannot_fell_its_servers():
    said, log = run_hostile("smtpd", "smtpd_protocol=submission",
                            connect_submission)
    for server in ("cleanup", "lookup", "auth", "limits", "keys", "dns"):
        assert server in said, server
        conversations, packets, answers, at_once, refused = map(
            int, said[server].groups()[1:])
        assert conversations > 4000 and packets > 1000, said[server][0]
        # auth and dns answer a stranger later than this
        assert answers > 100 or server in ("auth", "dns"), said[server][0]
        assert at_once == 4000 and refused > 1000, said[server][0]
    assert "more than" in log and "conversations at a time: refused" in log
    assert "what it sent is no conversation" in log


def test_a_hostile_agent_cannot_fell_qmgr():
    """smtp speaks to hosts of the network, and to qmgr."""
    said, log = run_hostile("smtp", "", lambda inst: None)
    conversations, packets, _, at_once, refused = map(
        int, said["qmgr"].groups()[1:])
    assert conversations > 1000 and packets > 1000, said["qmgr"][0]
    assert at_once > refused > 100, said["qmgr"][0]

