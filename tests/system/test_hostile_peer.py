"""A program that was taken over: what its neighbours make of it.

tests/tools/hostile.c stands in the place of one program, behind its walls and
with its edges, and says whatever it likes to every server that it can reach.
"""
import imaplib
import os
import re
import shutil
import smtplib
import socket
import stat
import time

from conftest import BIN, is_sanitized, make_instance, wait_until

SERVERS = ("cleanup", "lookup", "limits", "auth", "keys", "dns", "qmgr",
           "local", "log", "launch", "master", "pickup", "bounce")


# Once the attack is over everything is as quick as the machine is.
PATIENCE = 240
# What waited for the end of the attack for no other reason took longer.
STARVED = 60


def bin_with_hostile(inst, program, parameter, one):
    """A folder of programs, one of which somebody took over where it has that
    parameter; one: only its first process."""
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
    if one:
        with open(os.path.join(folder, "hostile.one"), "w", encoding="ascii"):
            pass
    os.chmod(folder, 0o755)
    return folder


def same_disk(a, b):
    return os.stat(a).st_dev == os.stat(b).st_dev


def pids(inst):
    return {p: sorted(inst.pids(p)) for p in SERVERS}


def rss(pid):
    with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as f:
        return int(re.search(r"^VmRSS:\s+(\d+)", f.read(), re.M)[1])


def send(inst, user, text):
    """One message by a client with patience. Who was taken over may refuse
    what came to him; then it is another's turn."""
    for _ in range(60):
        try:
            with smtplib.SMTP("127.0.0.1", inst.port("smtp"),
                              timeout=PATIENCE) as s:
                s.sendmail("sender@elsewhere.test", [inst.address(user)],
                           text)
            return
        except smtplib.SMTPResponseException as e:
            assert 400 <= e.smtp_code < 500, e
    raise AssertionError("nobody takes mail:\n" + inst.log()[-5000:])


def wait_ours(inst, user, count):
    """All that we sent has come, and once. (Who may submit mail may submit
    his own, too.)"""
    def found():
        return [m for m in inst.messages(user)
                if re.search(rb"^Subject: (before|meanwhile|after)", m, re.M)]

    wait_until(lambda: len(found()) >= count, PATIENCE,
               f"{count} messages for {user}")
    assert len(found()) == count


def login(inst, user):
    for _ in range(60):
        try:
            inst.imap(user).logout()
            return
        except (imaplib.IMAP4.abort, ConnectionError):
            pass  # that was the one who was taken over
    raise AssertionError("nobody lets users in:\n" + inst.log()[-5000:])


def is_over(inst, times):
    return inst.log().count("hostile: done") >= times


def send_during(inst, times):
    """One message after the other as long as the attack goes on: how many.
    All of it may be slow on a machine that is busy; what came, after long,
    only when the attack was over was starved by it."""
    count, was_over = 0, False
    deadline = time.monotonic() + PATIENCE
    while not was_over or count < 5:
        began = time.monotonic()
        assert began < deadline, "the attack does not end"
        was_over = is_over(inst, times)
        send(inst, "bob", f"Subject: meanwhile {count}\r\n\r\nx\r\n")
        took = time.monotonic() - began
        assert was_over or took < STARVED or not is_over(inst, times), (
            f"message {count} waited {took:.0f} s for the end of the attack")
        count += 1
        time.sleep(0.1)  # what a client takes to think of the next
    return count


def run_hostile(program, parameter, connect, one=False, look=None):
    """What hostile said of each server, and the log. look: called with the
    instance when all is over."""
    times = 1 if one else 2  # the processes of its group
    inst = make_instance(start=False)
    try:
        folder = bin_with_hostile(inst, program, parameter, one)
        p = inst._run([os.path.join(folder, "postern"), "-c", inst.etc,
                       "start"])
        assert p.returncode == 0, p.stderr + inst.log()
        send(inst, "anna", "Subject: before\r\n\r\nx\r\n")
        wait_ours(inst, "anna", 1)
        before = pids(inst)
        assert all(before[s] for s in ("cleanup", "qmgr", "lookup", "auth",
                                       "keys", "limits"))
        connect(inst)
        # Mail goes on while it is at it, which it is in each process once.
        count = send_during(inst, times)
        send(inst, "anna", "Subject: after\r\n\r\nx\r\n")
        wait_ours(inst, "anna", 2)
        wait_ours(inst, "bob", count)
        login(inst, "bob")
        assert pids(inst) == before, inst.log()[-20000:]
        said = dict((m[1], m) for m in re.finditer(
            r"hostile: (\w+): (\d+) conversations, (\d+) packets, "
            r"(\d+) answers, (\d+) at once, (\d+) refused", inst.log()))
        for server, of in before.items():
            for pid in of:
                assert is_sanitized() or rss(pid) < 400_000, (server,
                                                              rss(pid))
        if look is not None:
            look(inst)
        return said, inst.log()
    finally:
        log = inst.log()
        inst.end()
        shutil.rmtree(os.path.dirname(inst.dir), ignore_errors=True)
        if "hostile: done" not in log:
            print(log[-5000:])


def check_servers(said, servers, late):
    """late: who answers a stranger later than he listens."""
    for server in servers:
        assert server in said, server
        conversations, packets, answers, at_once, refused = map(
            int, said[server].groups()[1:])
        assert conversations > 4000 and packets > 300, said[server][0]
        assert answers > 20 or server in late, said[server][0]
        assert at_once == 4000 and refused > 1000, said[server][0]


def connect_submission(inst):
    with socket.create_connection(("127.0.0.1", inst.port("submission")),
                                  timeout=20):
        pass


def test_a_hostile_smtpd_cannot_fell_its_servers():
    said, log = run_hostile("smtpd", "smtpd_protocol=submission",
                            connect_submission)
    check_servers(said, ("cleanup", "lookup", "auth", "limits", "keys",
                         "dns"), late=("auth", "dns"))
    assert "more than" in log and "conversations at a time: refused" in log
    assert "what it sent is no conversation" in log


def test_a_hostile_agent_cannot_fell_qmgr():
    """smtp speaks to hosts of the network, and to qmgr."""
    said, log = run_hostile("smtp", "", lambda inst: None)
    conversations, packets, _, at_once, refused = map(
        int, said["qmgr"].groups()[1:])
    assert conversations > 1000 and packets > 300, said["qmgr"][0]
    assert at_once > refused > 100, said["qmgr"][0]



def connect_imap(inst):
    """Until the one that was taken over has its client: it is started by the
    first."""
    with socket.create_connection(("127.0.0.1", inst.port("imap")),
                                  timeout=20):
        pass


def test_a_hostile_login_cannot_fell_its_servers():
    said, log = run_hostile("login", "", connect_imap, one=True)
    check_servers(said, ("auth", "limits", "keys"), late=("auth",))
    assert "conversations at a time: refused" in log


def test_a_hostile_local_cannot_fell_its_servers():
    said, log = run_hostile("local", "", lambda inst: None, one=True)
    check_servers(said, ("cleanup", "lookup", "auth", "limits"),
                  late=("auth",))
    assert int(said["qmgr"][3]) > 300, said["qmgr"][0]
    assert "conversations at a time: refused" in log


def test_a_hostile_cleanup_cannot_fell_qmgr():
    """It hoards queue files, and commits what it never wrote or had."""
    def is_clean(inst):
        spool = os.path.join(inst.dir, "spool")
        # What it held is looked at when it let go of it. The other one has
        # its stock, and what was delivered is kept to be used again.
        wait_until(lambda: len(os.listdir(os.path.join(spool, "incoming")))
                   < 1000, PATIENCE, "the end of what it hoarded")

    said, log = run_hostile("cleanup", "", lambda inst: None, one=True,
                            look=is_clean)
    assert int(said["qmgr"][3]) > 300, said["qmgr"][0]
    files = int(re.search(r"hostile: stock: (\d+) files, (\d+) told",
                          log)[1])
    assert 2000 < files <= 4096
    assert "and wants more than 4096" in log
    assert "transport bounce: no program serves it" in log
    assert "transport place1: no program serves it" in log
    assert "its file is no message" in log
