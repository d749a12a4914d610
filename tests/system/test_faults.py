"""Processes die, disks fill, files rot: nothing acknowledged is lost."""
import glob
import json
import os
import re
import signal
import smtplib
import socket
import subprocess
import threading

import pytest
from conftest import PATIENCE, free_port, wait_until
from relaynet import SlowSink

PROGRAMS = ["smtpd", "cleanup", "qmgr", "local", "deliver", "lookup", "auth",
            "limits", "log", "launch", "smtp", "dns", "bounce", "keys"]


class Sender(threading.Thread):
    """Sends numbered messages until told to end; notes what was acked."""

    def __init__(self, inst, name):
        super().__init__(daemon=True)
        self.inst, self.name = inst, name
        self.acked, self.sent = [], 0
        self.over = threading.Event()

    def run(self):
        while not self.over.is_set():
            self.sent += 1
            token = f"{self.name}-{self.sent}"
            try:
                with smtplib.SMTP("127.0.0.1", self.inst.port("smtp"),
                                  timeout=60) as s:
                    s.ehlo("client.elsewhere.test")
                    for _ in range(5):
                        s.mail("sender@elsewhere.test")
                        if s.rcpt(self.inst.address("anna"))[0] != 250:
                            break
                        if s.data(f"Subject: {token}\r\n\r\nx\r\n")[0] == 250:
                            self.acked.append(token)
                        self.sent += 1
                        token = f"{self.name}-{self.sent}"
            except (OSError, smtplib.SMTPException):
                self.over.wait(0.01)


def subjects(inst, user):
    found = []
    for text in inst.messages(user):
        found.append(re.search(rb"^Subject: (\S+)", text, re.M)[1].decode())
    return found


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_death_of_a_process_loses_nothing(new_instance, program):
    inst = new_instance()
    senders = [Sender(inst, f"s{i}") for i in range(3)]
    inst.send("anna")
    inst.wait_messages("anna", 1)
    for s in senders:
        s.start()
    killed = 0
    try:
        for _ in range(4):
            before = sum(len(s.acked) for s in senders)
            killed += len(inst.kill(program))
            wait_until(lambda: sum(len(s.acked) for s in senders) >
                       before + 10,
                       what=f"service after the death of {program}")
    finally:
        for s in senders:
            s.over.set()
        for s in senders:
            s.join(PATIENCE)
    assert killed > 0, f"no process of {program} was there to kill"
    acked = [t for s in senders for t in s.acked]
    wait_until(lambda: set(acked) <= set(subjects(inst, "anna")),
               what=f"delivery of all {len(acked)} acknowledged messages")
    # a copy twice only when the death fell between delivery and record
    found = subjects(inst, "anna")
    twice = len(found) - len(set(found))
    # (launch takes the processes with it that it started)
    assert twice <= (killed * 10 if program in ("local", "deliver", "qmgr",
                                                "launch") else 0), twice


def test_the_death_of_master_loses_nothing(new_instance):
    inst = new_instance()
    acked = [inst.send("anna", f"Subject: m{i}\r\n\r\nx\r\n")
             for i in range(20)]
    with open(os.path.join(inst.dir, "data/master.pid"),
              encoding="ascii") as f:
        master = int(f.read())
    pids = [p for name in PROGRAMS for p in inst.pids(name)]
    os.kill(master, signal.SIGKILL)
    wait_until(lambda: not any(os.path.exists(f"/proc/{p}/exe")
                               and os.path.isdir(f"/proc/{p}/fd")
                               and _alive(p) for p in pids),
               what="the end of all processes without their master")
    inst.start()
    assert len(acked) == 20
    wait_until(lambda: {f"m{i}" for i in range(20)} <=
               set(subjects(inst, "anna")), what="delivery")


def _alive(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii",
                  errors="replace") as f:
            return f.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_a_reload_drops_no_connection(new_instance):
    inst = new_instance()
    with inst.smtp() as s:
        s.ehlo("client.elsewhere.test")
        s.mail("sender@elsewhere.test")
        box = inst.imap("anna")
        box.select("INBOX")
        pids = inst.pids("smtpd")
        assert inst.command("postern", "reload").returncode == 0
        wait_until(lambda: set(inst.pids("smtpd")) - set(pids),
                   what="new processes")
        # the old session goes on, and new ones are met
        assert s.rcpt(inst.address("anna"))[0] == 250
        assert s.data("Subject: over the reload\r\n\r\nx\r\n")[0] == 250
        inst.send("anna")
        assert box.noop()[0] == "OK"
        box.logout()
    inst.wait_messages("anna", 2)
    wait_until(lambda: not set(inst.pids("smtpd")) & set(pids),
               what="the end of the old processes")


def test_a_slow_next_hop_keeps_no_reload_waiting(new_instance):
    """What it is given is given once, though the qmgr that gave it is gone."""
    sink = SlowSink("127.0.0.1", free_port())
    inst = new_instance(sets=[f"relayhost=[127.0.0.1]:{sink.port}"])
    try:
        assert inst.command("sendmail", "-f", "bob@our.test",
                            "x@elsewhere.test", input="Subject: s\n\nx\n"
                            ).returncode == 0
        assert sink.met.wait(PATIENCE)
        (old,) = inst.pids("qmgr")
        assert inst.command("postconf", "-e",
                            "minimal_backoff_time=200s").returncode == 0
        assert inst.command("postern", "reload").returncode == 0
        wait_until(lambda: inst.pids("qmgr") and
                   old not in inst.pids("qmgr"), what="the next qmgr")
        inst.send("anna")
        inst.wait_messages("anna", 1)
        assert sink.got == []
        sink.go.set()
        wait_until(lambda: inst.command("mailq").stdout ==
                   "Mail queue is empty\n", what="delivery")
        assert [t.rcpts for t in sink.got] == [["RCPT TO:<x@elsewhere.test>"]]
        assert sink.sessions == 1
    finally:
        sink.go.set()
        sink.end()


@pytest.mark.parametrize("option,then", [("-h", "hold"), ("-d", None)])
def test_what_an_operator_wished_outlives_a_reload(new_instance, option,
                                                   then):
    """He was told that it is done, though an agent still had the message."""
    sink = SlowSink("127.0.0.1", free_port())
    inst = new_instance(sets=[f"relayhost=[127.0.0.1]:{sink.port}"])
    try:
        assert inst.command("sendmail", "-f", "bob@our.test",
                            "x@elsewhere.test", input="Subject: s\n\nx\n"
                            ).returncode == 0
        assert sink.met.wait(PATIENCE)
        (old,) = inst.pids("qmgr")
        p = inst.command("postsuper", option, "ALL")
        assert ": 1 message" in p.stderr
        assert inst.command("postconf", "-e",
                            "minimal_backoff_time=200s").returncode == 0
        assert inst.command("postern", "reload").returncode == 0
        wait_until(lambda: inst.pids("qmgr") and
                   old not in inst.pids("qmgr"), what="the next qmgr")

        def places():
            lines = inst.command("postqueue", "-j").stdout.splitlines()
            return [m["queue_name"] for m in map(json.loads, lines)
                    if m["recipients"][0]["address"] == "x@elsewhere.test"]

        assert places() == ([then] if then else [])
        # and it is not the agent that brings it back
        sink.replies["MAIL"] = "450 4.0.0 not now"
        sink.go.set()
        inst.send("anna")
        inst.wait_messages("anna", 1)
        inst.wait_log(r"smtp\[\d+\]: [0-9A-F]+: to=<x@elsewhere.test>, "
                      ".*status=deferred")
        assert places() == ([then] if then else [])
    finally:
        sink.go.set()
        sink.end()


def test_a_reload_with_an_error_changes_nothing(new_instance):
    inst = new_instance()
    with open(os.path.join(inst.etc, "main.cf"), "a", encoding="ascii") as f:
        f.write("smtpd_recipient_limit = many\n")
    p = inst.command("postern", "reload")
    assert p.returncode != 0
    assert re.search(r"main\.cf:\d+: error: smtpd_recipient_limit", p.stderr)
    inst.send("anna")
    inst.wait_messages("anna", 1)


def test_stop_says_farewell(new_instance):
    inst = new_instance()
    s = socket.create_connection(("127.0.0.1", inst.port("smtp")), 60)
    f = s.makefile("rb")
    assert f.readline().startswith(b"220 ")
    box = inst.imap("anna")
    stopping = threading.Thread(target=inst.stop)
    stopping.start()
    assert f.readline().startswith(b"421 ")
    assert f.readline() == b""
    with pytest.raises(Exception):
        while True:  # commands may be served until the stop arrives there
            box.noop()
    stopping.join(PATIENCE)
    assert not inst.is_running()
    assert inst.command("postern", "stop").returncode != 0


def test_a_port_in_use_is_a_clear_error(new_instance):
    one = new_instance()
    base = one.port("smtp") - 25
    p = one._run([os.path.join(os.environ.get("POSTERN_BUILD", "build"),
                               "bin/postern"), "init", one.dir + "2",
                  "--port-base", str(base)])
    assert p.returncode != 0
    assert re.search(r"port \d+ \(smtp\): Address already in use", p.stderr)
    assert one.command("postern", "start").returncode != 0


def test_two_instances_do_not_meet(new_instance):
    one, two = new_instance(), new_instance(domain="their.test")
    one.send("anna")
    two.send("anna")
    one.wait_messages("anna", 1)
    two.wait_messages("anna", 1)
    one.stop()
    two.send("bob")
    two.wait_messages("bob", 1)


def test_a_damaged_queue_file_goes_to_corrupt_and_the_rest_goes_on(
        new_instance):
    # a next hop that never answers, so that the message stays in the queue
    inst = new_instance(sets=["relayhost=[127.0.0.1]:9",
                              "mynetworks=127.0.0.0/8"])
    spool = os.path.join(inst.dir, "spool")
    inst.send("x@far.test", "Subject: rots\r\n\r\n" + "text\r\n" * 200)
    path = wait_until(lambda: glob.glob(f"{spool}/deferred/*/*"),
                      what="deferral")[0]
    inst.stop()
    with open(path, "r+b") as f:
        data = f.read()
        at = data.rindex(b"text\r\ntext")
        f.seek(at)
        f.write(b"TEXT")
    os.utime(path)
    inst.start()
    inst.command("postern", "queue", "flush")
    wait_until(lambda: glob.glob(f"{spool}/corrupt/*"), what="corrupt/")
    inst.wait_log("corrupt")
    inst.send("anna")
    inst.wait_messages("anna", 1)


def test_a_full_disk_gives_a_temporary_failure_and_nothing_half(new_instance,
                                                                tmp_path):
    if os.geteuid() != 0:
        pytest.skip("needs root to mount a small filesystem")
    inst = new_instance(start=False, sets=["message_size_limit=1000000"])
    spool = os.path.join(inst.dir, "spool")
    mail = os.path.join(inst.dir, "mail")
    for path, size in ((spool, "14m"), (mail, "600k")):
        os.makedirs(path, exist_ok=True)
        st = os.stat(path)
        subprocess.run(["mount", "-t", "tmpfs", "-o",
                        f"size={size},uid={st.st_uid},gid={st.st_gid},"
                        f"mode={st.st_mode & 0o7777:o}", "tmpfs", path],
                       check=True)
    try:
        inst.start()
        big = "Subject: big\r\n\r\n" + ("x" * 70 + "\r\n") * 5000  # 360 kB
        inst.send("anna", big)
        inst.wait_messages("anna", 1)
        # a second one has no room in the mailbox: deferred, nothing half
        inst.send("anna", big.replace("big", "two"))
        inst.wait_log(r"to=<anna@our.test>.*dsn=4\.\d\.\d, status=deferred")
        assert len(inst.messages("anna")) == 1
        assert glob.glob(os.path.join(inst.maildir("anna"), "tmp/*")) == []
        # and the queue fills: 4xx at the latest with the end of data
        code = 250
        for i in range(12):
            with inst.smtp() as s:
                s.ehlo("client.elsewhere.test")
                code = s.mail("sender@elsewhere.test")[0]
                if code != 250:
                    break
                s.rcpt(inst.address("anna"))
                code = s.data(big.replace("big", f"n{i}"))[0]
                if code != 250:
                    break
        assert 400 <= code < 500, code
        # room again: what was deferred arrives whole
        subprocess.run(["mount", "-o", "remount,size=60m", mail], check=True)
        subprocess.run(["mount", "-o", "remount,size=60m", spool], check=True)
        inst.command("postern", "queue", "flush")
        wait_until(lambda: any(b"Subject: two" in m
                               for m in inst.messages("anna")),
                   what="the deferred message")
        for m in inst.messages("anna"):
            assert m.count(b"\n" + b"x" * 70) == 5000
    finally:
        inst.stop()
        for path in (spool, mail):
            subprocess.run(["umount", path], check=False)


def test_idle_clients_keep_nobody_out(new_instance):
    inst = new_instance()
    idle = []
    try:
        for port in (inst.port("smtp"), inst.port("imap")):
            for _ in range(300):
                idle.append(socket.create_connection(("127.0.0.1", port), 60))
        inst.send("anna")
        box = inst.imap("anna")
        assert box.select("INBOX")[0] == "OK"
        box.logout()
    finally:
        for s in idle:
            s.close()
    inst.wait_messages("anna", 1)
