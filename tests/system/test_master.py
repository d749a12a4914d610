"""master: processes on demand, restart, and what the operator sees."""
import os
import re
import signal
import socket

from conftest import wait_until


def test_a_service_is_started_by_its_first_client_and_ends_when_idle(
        new_instance):
    inst = new_instance(sets=["max_idle=1s"])
    before = inst.pids("smtpd")
    assert inst.pids("login") == []
    with inst.submission("anna"):
        during = inst.pids("smtpd")
        assert len(during) > len(before)
        # a session keeps its process, however long it says nothing
        wait_until(lambda: len(inst.pids("smtpd")) == len(before) + 1,
                   what="the end of the idle process beside it")
    wait_until(lambda: inst.pids("smtpd") == before,
               what="the end of the idle processes")
    # and the next client is met like the first
    inst.submission("anna").quit()
    with socket.create_connection(("127.0.0.1", inst.port("imap")), 60) as s:
        assert s.recv(100).startswith(b"* OK")
        assert inst.pids("login")


def test_a_process_that_is_killed_is_replaced(new_instance):
    inst = new_instance()
    old = inst.kill("lookup")
    assert old
    inst.wait_log(r"master\[\d+\]: warning: process lookup\[\d+\] killed by "
                  r"signal 9")
    wait_until(lambda: len(inst.pids("lookup")) == len(old), what="a new one")
    assert not set(old) & set(inst.pids("lookup"))
    inst.send("anna")
    inst.wait_messages("anna", 1)


def test_one_master_an_instance(new_instance):
    inst = new_instance()
    p = inst.command("postern", "start")
    assert p.returncode == 1
    assert re.search(r"it runs already, process \d+", p.stderr)


def test_a_hangup_signal_reloads(new_instance):
    inst = new_instance()
    with open(os.path.join(inst.dir, "data/master.pid"),
              encoding="ascii") as f:
        os.kill(int(f.read()), signal.SIGHUP)
    inst.wait_log(r"master\[\d+\]: reload -- version")
    inst.send("anna")
    inst.wait_messages("anna", 1)


def test_a_reload_leaves_no_process_behind(new_instance):
    """What the old launch started for users ends when its askers do."""
    inst = new_instance()
    inst.send("anna")
    inst.wait_messages("anna", 1)
    old = inst.pids("launch") + inst.pids("deliver")
    assert len(old) == 2
    # another value of anything: every program is replaced
    with open(os.path.join(inst.etc, "main.cf"), "a", encoding="utf-8") as f:
        f.write("hopcount_limit = 49\n")
    assert inst.command("postern", "reload").returncode == 0
    wait_until(lambda: not set(old) & set(inst.pids("launch") +
                                          inst.pids("deliver")),
               what="the end of what was there before")
    inst.send("anna")
    inst.wait_messages("anna", 2)


def test_a_rotated_log_is_followed(new_instance):
    inst = new_instance()
    os.rename(inst.log_path, inst.log_path + ".1")

    def again():
        inst.send("anna")
        return inst.log()

    wait_until(again, what="a new log file")
