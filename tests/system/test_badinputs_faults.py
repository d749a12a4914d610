"""Bad input to us as a server that no row can say: what comes slowly, from
many, or while the system fails. The rows of tests/badinputs name the tests.
"""
import contextlib
import glob
import os
import re
import shutil
import subprocess
import time

import pytest
from conftest import PATIENCE, is_sanitized, make_instance, wait_until

import badtalk

HELLO = ("EHLO probe.test", "MAIL FROM:<a@peer.test>",
         "RCPT TO:<user@local.test>", "DATA")
NEEDS_STRACE = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("strace") is None,
    reason="needs strace and root to let system calls fail")


def smtp(inst, *lines, port="smtp", source="127.0.0.1"):
    """A session that has said these lines, each taken."""
    session = (badtalk.Lmtp if port == "lmtp" else badtalk.Smtp)(
        inst.port(port), source)
    session.read()
    session.replies = []
    for line in lines:
        session.ask(line)
    return session


@contextlib.contextmanager
def failing(pids, calls, error, when="1+"):
    """While it lasts, these system calls of the processes fail."""
    command = ["strace", "-f", "-qqq", "-o", "/dev/null", "-e",
               f"trace={calls}", "-e",
               f"inject={calls}:error={error}:when={when}"]
    for pid in pids:
        command += ["-p", str(pid)]
    tracer = subprocess.Popen(command, stdin=subprocess.DEVNULL)

    def is_traced():
        """Every thread is seized, and strace sleeps: it has asked each to
        stop before its next call, and seen to those that did."""
        assert tracer.poll() is None, "strace ended"
        for path in (p for pid in pids
                     for p in glob.glob(f"/proc/{pid}/task/*/status")):
            try:
                with open(path, encoding="ascii") as f:
                    text = f.read()
            except (FileNotFoundError, ProcessLookupError):
                return False    # a thread that has just ended
            if f"TracerPid:\t{tracer.pid}\n" not in text:
                return False
        with open(f"/proc/{tracer.pid}/status", encoding="ascii") as f:
            return re.search(r"^State:\tS", f.read(), re.M)

    try:
        wait_until(is_traced, what="strace")
        yield
    finally:
        tracer.terminate()
        tracer.wait()


@pytest.fixture(scope="module")
def server():
    # processes that a test has counted do not go because they are idle
    inst = make_instance(("user", "user2"), domain="local.test",
                         sets=("smtpd_peername_lookup=no", "max_idle=1h"))
    yield inst
    inst.end()


@pytest.fixture(scope="module")
def strict():
    inst = make_instance(
        ("user",), domain="local.test", sets=(
            "smtpd_forbid_bare_newline=reject", "smtpd_peername_lookup=no",
            "smtpd_client_connection_count_limit=5",
            "smtpd_client_event_limit_exceptions="))
    yield inst
    inst.end()


# --- a strict server ---

def test_a_client_that_speaks_first_is_refused(new_instance):
    # it hears that at once: longer than a busy machine lets the client wait
    inst = new_instance(sets=["smtpd_peername_lookup=no",
                              "smtpd_greet_wait=60s"])
    session = badtalk.Smtp(inst.port("smtp"))
    session.send(b"EHLO x\r\nMAIL FROM:<a@peer.test>\r\n")
    session.read_rest()
    assert session.replies == [
        "554 5.5.0 Error: SMTP protocol synchronization"]
    session.close()


@pytest.mark.parametrize("content,what", [
    (b"A\n.\nB\r\n.\r\n", "LF"), (b"A\r.\rB\r\n.\r\n", "CR"),
    (b"A\r\n.\nB\r\n.\r\n", "LF")])
def test_a_strict_server_refuses_bare_ends_of_lines(strict, content, what):
    session = smtp(strict, *HELLO)
    session.send(content)
    session.read_rest()
    assert len(session.replies) == 1
    assert re.match(rf"521 5\.5\.2 .* bare <{what}> received",
                    session.replies[0])
    assert strict.messages("user") == []
    session.close()


@pytest.mark.parametrize("lines", [(), HELLO], ids=["command", "content"])
def test_a_slow_client_is_ended(new_instance, lines):
    """One octet a while never makes a command, nor a message."""
    # (what comes before has to come in that time too)
    inst = new_instance(users=("user",), domain="local.test", sets=[
        "smtpd_peername_lookup=no", "smtpd_timeout=6s"])
    session = smtp(inst, *lines)
    deadline = time.monotonic() + PATIENCE
    while not session.ended and session.take() is None:
        assert time.monotonic() < deadline
        session.send(b"A")
        session.sock.settimeout(0.3)
        with contextlib.suppress(TimeoutError):
            session._heard(session.sock.recv(65536))
    assert session.raw.splitlines()[-1].startswith(b"421 4.4.2")
    session.close()


def test_connections_of_one_address_are_limited(strict):
    held = [badtalk.Smtp(strict.port("smtp"), "127.0.0.9")
            for _ in range(5)]
    for session in held:
        assert session.read().startswith("220")
    late = badtalk.Smtp(strict.port("smtp"), "127.0.0.9")
    assert late.read().startswith("421 4.7.0")
    late.close()
    # somebody else is served
    smtp(strict, "EHLO x", source="127.0.0.10").close()
    for session in held:
        session.close()

    def is_served():
        session = badtalk.Smtp(strict.port("smtp"), "127.0.0.9")
        said = session.read()
        session.close()
        return said.startswith("220")
    wait_until(is_served, what="room for a new client")


# --- many clients ---

def memory(inst, program):
    """kB: the share of every page that is the program's own."""
    total = 0
    for pid in inst.pids(program):
        with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as f:
            total += int(re.search(r"^Pss:\s+(\d+)", f.read(), re.M)[1])
    return total

def test_idle_sessions_are_cheap(server):
    """600 of 200 addresses, less than 100 kB each; a new client is served
    at once, and what they took is there again for others."""
    before = memory(server, "smtpd")
    held = []
    for i in range(600):
        held.append(smtp(server, "EHLO idle.test",
                         source=f"127.9.{i % 200}.1"))
    each = (memory(server, "smtpd") - before) / len(held)
    smtp(server, "EHLO new.test").close()
    for session in held:
        session.close()
    if not is_sanitized():      # else the memory is not ours alone
        assert each < 100, f"{each} kB"


# --- a system that fails ---

def content_reply(inst, subject):
    """Of a message; or the reply before it that refused it."""
    session = smtp(inst, HELLO[0])
    for line in HELLO[1:]:
        session.send(line.encode() + b"\r\n")
        if not session.is_positive(session.read()):
            break
    else:
        session.send(b"Subject: %s\r\n\r\nx\r\n.\r\n" % subject.encode())
        session.read()
    session.close()
    return session.replies[-1]


@NEEDS_STRACE
@pytest.mark.parametrize("program,calls,error,reply", [
    ("cleanup", "write,writev,pwrite64,pwritev,pwritev2", "ENOSPC",
     r"452 4\.3\.1"),
    ("cleanup", "fsync,fdatasync", "EIO", r"451 4\.3\.0"),
    ("qmgr", "openat,openat2,renameat,linkat", "ENOSPC", r"45[12] 4\.3\.[01]")],
    ids=["no room", "no sync", "no inode"])
def test_a_failed_call_is_a_temporary_failure(program, calls, error, reply):
    """While the calls fail, that is the reply; then all is well, and nothing
    is there of what was refused."""
    inst = make_instance(("user",), domain="local.test",
                         sets=("smtpd_peername_lookup=no",))
    try:
        inst.send("user@local.test", "Subject: one\r\n\r\nx\r\n")
        inst.wait_messages("user@local.test", 1)
        with failing(inst.pids(program), calls, error):
            replies = [content_reply(inst, "refused")]
            # (files that were made ahead are still good)
            while replies[-1].startswith("250") and len(replies) < 3000:
                replies.append(content_reply(inst, "refused"))
            assert re.match(reply, replies[-1])
        # RFC 1870 6.1: that there is no room is said at MAIL for a while
        wait_until(lambda: content_reply(inst, "after").startswith("250"),
                   what="room")
        # what was taken meanwhile is found again (one that is just being
        # deferred is not by this flush)
        subjects = [b"one"] + [b"refused"] * (len(replies) - 1) + [b"after"]
        wait_until(lambda: inst.command("postern", "queue", "flush") and
                   len(inst.messages("user@local.test")) >= len(subjects),
                   what="delivery of what was taken")
        # and nothing comes later
        wait_until(lambda: inst.command("postqueue", "-j").stdout == "",
                   what="an empty queue")
        inst.stop()
        inst.start()
        qid = inst.send("user@local.test", "Subject: last\r\n\r\nx\r\n")
        inst.wait_log(f"{qid}: removed")
        assert sorted([*subjects, b"last"]) == sorted(
            re.search(rb"Subject: (\w+)", m)[1]
            for m in inst.messages("user@local.test"))
    finally:
        inst.end()


def test_too_little_room_is_said_at_mail():
    """queue_minfree: at the end of data, and then at once at MAIL."""
    inst = make_instance(("user",), domain="local.test",
                         sets=("queue_minfree=1000000000000000",
                               "smtpd_peername_lookup=no"))
    try:
        session = smtp(inst, *HELLO)
        session.send(b"x\r\n.\r\n")
        assert session.read().startswith("452 4.3.1")

        def is_said():
            session = smtp(inst, "EHLO probe.test")
            session.send(b"MAIL FROM:<a@peer.test>\r\n")
            reply = session.read()
            session.close()
            return reply.startswith("452 4.3.1 Insufficient system storage")
        wait_until(is_said, what="452 at MAIL")
    finally:
        inst.end()


def cpu_time(pids):
    total = 0
    for pid in pids:
        with open(f"/proc/{pid}/stat", encoding="ascii") as f:
            total += sum(map(int, f.read().rsplit(")", 1)[1].split()[11:13]))
    return total / os.sysconf("SC_CLK_TCK")


@NEEDS_STRACE
def test_no_descriptors_left(server):
    """Clients wait in the queue of the socket, without a busy loop; when
    there are descriptors again they are served."""
    smtp(server, "EHLO probe.test").close()
    pids = server.pids("smtpd")
    waiting = []
    with failing(pids, "accept4", "EMFILE"):
        used = cpu_time(pids)
        for _ in range(10):
            session = badtalk.Smtp(server.port("smtp"))
            session.sock.settimeout(0.2)
            with contextlib.suppress(TimeoutError):
                session._heard(session.sock.recv(65536))
            assert session.raw == b"" or session.raw.startswith(b"421")
            waiting.append(session)
        assert cpu_time(pids) - used < 1
    for session in waiting:
        if not session.ended:
            assert session.read()[:3] in ("220", "421")
        session.close()
    assert server.pids("smtpd") == pids
    smtp(server, "EHLO probe.test").close()


@NEEDS_STRACE
def test_no_process_can_be_made():
    """The first client of a service waits until there is one for it."""
    inst = make_instance(("user",), domain="local.test")
    try:
        with open(os.path.join(inst.dir, "data/master.pid"),
                  encoding="ascii") as f:
            master = int(f.read())
        client = None
        assert not inst.pids("login")
        with failing([master], "clone,clone3,fork,vfork", "EAGAIN"):
            client = badtalk.Imap(inst.port("imap"))
            inst.wait_log("master.*(?i:cannot|fork|start)")
            inst.send("user@local.test")
        assert client.read().startswith("* OK")
        client.close()
    finally:
        inst.end()


@NEEDS_STRACE
def test_a_message_that_cannot_be_deferred_waits():
    """It stays where it is; it is not tried again and again meanwhile, and a
    flush finds it."""
    inst = make_instance(("user",), domain="local.test",
                         sets=("smtpd_peername_lookup=no",
                               "mynetworks=127.0.0.0/8",
                               "relayhost=[127.0.0.1]:9"))
    try:
        inst.send("user@local.test")
        inst.wait_messages("user@local.test", 1)
        with failing(inst.pids("qmgr"), "renameat,renameat2,linkat", "EIO"):
            inst.send("x@remote.test")
            inst.wait_log("cannot defer")
            # while others come and go
            for _ in range(20):
                qid = inst.send("user@local.test")
            inst.wait_messages("user@local.test", 21)
            inst.wait_log(f"{qid}: removed")
            assert inst.log().count("cannot defer") == 1
        inst.command("postern", "queue", "flush")
        wait_until(lambda: glob.glob(f"{inst.dir}/spool/deferred/*/*"),
                   what="the second try")
        inst.wait_log_count("status=deferred", 2)
    finally:
        inst.end()


# --- deaths ---

@pytest.mark.parametrize("content", [b"Subject: torn\r\n\r\nx\r\n",
                                     b"Subject: torn\r\n\r\nx\r\n.\r\n"],
                         ids=["before the end", "at the end"])
def test_a_killed_server_leaves_one_message_or_none(server, content):
    before = len(server.messages("user2@local.test"))
    session = smtp(server, "LHLO probe.test", "MAIL FROM:<a@peer.test>",
                   "RCPT TO:<user2@local.test>", "DATA", port="lmtp")
    session.send(content)
    assert server.kill("smtpd")
    session.read_rest()
    acked = any(r.startswith("250") for r in session.replies)
    session.close()
    # the client tries again
    def is_served():
        try:
            session = smtp(server, "LHLO probe.test",
                           "MAIL FROM:<a@peer.test>",
                           "RCPT TO:<user2@local.test>", "DATA", port="lmtp")
        except (OSError, AssertionError):
            return False
        session.send(b"Subject: again\r\n\r\nx\r\n.\r\n")
        said = session.read()
        session.close()
        return said is not None and said.startswith("250")
    wait_until(is_served, what="another server")
    wait_until(lambda: sum(b"Subject: again" in m for m in
                           server.messages("user2@local.test")[before:]) == 1,
               what="the delivery")

    def torn():
        return sum(b"Subject: torn" in m
                   for m in server.messages("user2@local.test"))
    if acked:
        wait_until(torn, what="delivery of what was acknowledged")
    assert torn() <= (1 if content.endswith(b".\r\n") else 0)


@NEEDS_STRACE
@pytest.mark.parametrize("calls", ["unlinkat", "fsync,fdatasync"])
def test_a_failed_expunge_is_said(calls):
    """POP3's QUIT: +OK means that they are gone for good."""
    inst = make_instance(("user",), domain="local.test",
                         sets=("smtpd_peername_lookup=no",))
    try:
        for i in range(3):
            inst.send("user@local.test", f"Subject: m{i}\r\n\r\nx\r\n")
        inst.wait_messages("user@local.test", 3)
        session = badtalk.Pop3(inst.port("pop3"))
        session.read()
        session.enter("A", "user@local.test")
        session.ask("DELE 1")
        with failing(inst.pids("pop3d"), calls, "EIO"):
            session.send(b"QUIT\r\n")
            assert session.read().startswith("-ERR")
            session.read_rest()
        session.close()
        assert len(inst.messages("user@local.test")) >= 2
        # what was not removed can be read, and removed
        session = badtalk.Pop3(inst.port("pop3"))
        session.read()
        session.enter("A", "user@local.test")
        session.send(b"LIST\r\n")
        left = int(re.match(r"\+OK (\d)", session.read())[1])
        for i in range(left):
            session.ask(f"DELE {i + 1}")
        session.ask("QUIT")
        session.close()
        assert inst.messages("user@local.test") == []
    finally:
        inst.end()
