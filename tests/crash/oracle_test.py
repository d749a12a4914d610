#!/usr/bin/python3
"""oracle_test.py - does crash-oracle give each of its verdicts?

A tree that is right is broken in one way a row, and the oracle has to say
exactly that. The queue's rows use the spool of a real instance.
"""
import glob
import os
import shutil
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                "../system"))
# pylint: disable=wrong-import-position
from conftest import make_instance, wait_until
from ledger import Ledger, message, need_tools, oracle

BOB = "bob@our.test"
FAR = "far@away.test"
NOTICE = """From: MAILER-DAEMON@our.test
Subject: Undelivered
Content-Type: multipart/report; report-type=delivery-status; boundary="b"

--b
Content-Type: message/delivery-status

Reporting-MTA: dns; our.test

Final-Recipient: rfc822; {rcpt}
Action: {action}
Status: 5.0.0

--b
Content-Type: text/rfc822-headers

X-Proof: {token}
Subject: x

--b--
"""


class Tree:
    """A mailbox of bob, a sink and a log, with what was promised of them."""

    def __init__(self, top):
        self.top = tempfile.mkdtemp(dir=top)
        self.mail = os.path.join(self.top, "mail")
        self.sink = os.path.join(self.top, "sink")
        self.log = os.path.join(self.top, "log")
        self.box = os.path.join(self.mail, "our.test/bob")
        for folder in ("", ".Work", ".Work.Old"):
            for sub in ("new", "cur", "tmp"):
                os.makedirs(os.path.join(self.box, folder, sub))
        os.mkdir(self.sink)
        self.write(self.log, b"x master[1]: started\n")
        self.ledger = Ledger(os.path.join(self.top, "ledger"))

    @staticmethod
    def write(path, octets):
        with open(path, "wb") as f:
            f.write(octets)

    def sent(self, token, rcpts=(BOB,), acked=True, size=2000):
        text = message(token, size)
        self.ledger.sent(token, text, rcpts)
        if acked:
            self.ledger.acked(token)
        return text

    def store(self, text, where="new/1.a.h", top=b"Received: by x\n"):
        self.write(os.path.join(self.box, where),
                   top + text.replace(b"\r\n", b"\n"))

    def relay(self, text, rcpts=(FAR,), name="1"):
        self.write(os.path.join(self.sink, name),
                   ",".join(rcpts).encode() + b"\r\nReceived: x\r\n" + text)


def one(t):
    t.store(t.sent("A-1"))


def lost(t):
    one(t)
    t.sent("A-2")


def lost_for_one(t):
    t.store(t.sent("A-1", (BOB, FAR)))


def lost_copy(t):
    one(t)
    t.ledger.copying("A-1", BOB)
    t.ledger.copied("A-1", BOB)


def lost_though_warned(t):
    t.sent("A-1", (FAR,))
    t.write(t.box + "/new/n", NOTICE.format(
        rcpt=FAR, token="A-1", action="delayed").encode())


def lost_though_another_is_told(t):
    t.sent("A-1", (FAR,))
    t.write(t.box + "/new/n", NOTICE.format(
        rcpt="other@away.test", token="A-1", action="failed").encode())


def notice(t):
    t.sent("A-1", (FAR,))
    t.write(t.box + "/new/n", NOTICE.format(
        rcpt=FAR, token="A-1", action="failed").encode())


def unanswered(t):
    t.sent("A-1", acked=False)


def lmtp_one_reply(t):
    t.sent("A-1", (BOB, FAR), acked=False)
    t.ledger.acked("A-1", FAR)


def damaged(t):
    t.store(t.sent("A-1"))
    t.store(t.sent("A-2").replace(b"a", b"b", 1), "cur/2.b.h:2,S")


def damaged_unanswered(t):
    t.store(t.sent("A-1", acked=False)[:-100])


def damaged_empty(t):
    one(t)
    t.write(t.box + "/.Work/new/3", b"")


def damaged_size(t):
    t.store(t.sent("A-1"), "new/1.a.h,S=17")


def damaged_sink(t):
    t.relay(t.sent("A-1", (FAR,))[:-2] + b"yy\r\n")


def damaged_line_end(t):
    text = t.sent("A-1", (FAR,))
    t.relay(text[:-1] + b"\r\n")


def twice(t):
    one(t)
    t.store(message("A-1", 2000), ".Work.Old/cur/9:2,")


def twice_and_a_kill(t):
    t.sent("A-1")
    t.ledger.killed("local", 77)
    t.store(message("A-1", 2000))
    t.store(message("A-1", 2000), ".Work/cur/9:2,")


def twice_and_an_end(t):
    twice(t)
    t.ledger.ended("auth", 77)


def twice_and_an_earlier_kill(t):
    t.ledger.killed("local", 77)
    twice(t)


def thrice_and_a_kill(t):
    twice_and_a_kill(t)
    t.store(message("A-1", 2000), "new/8")


def copied(t):
    twice(t)
    t.ledger.copying("A-1", BOB)
    t.ledger.copied("A-1", BOB)


def taken(t):
    t.sent("A-1")
    t.ledger.taken("A-1", BOB)


def taken_and_back(t):
    one(t)
    t.ledger.taken("A-1", BOB)


def taking(t):
    t.sent("A-1")
    t.ledger.taking("A-1", BOB)


def moved_and_a_broken_removal(t):
    t.sent("A-1")
    t.ledger.taking("A-1", BOB)
    t.ledger.copying("A-1", BOB)
    t.ledger.moved("A-1", BOB)


def moved_away(t):
    t.sent("A-1")
    t.ledger.copying("A-1", BOB)
    t.ledger.moved("A-1", BOB)


def moved_twice(t):
    twice(t)
    t.ledger.copying("A-1", BOB)
    t.ledger.moved("A-1", BOB)


def refused_yet_there(t):
    t.store(t.sent("A-1", acked=False))
    t.ledger.refused("A-1", 451)


def not_a_recipient(t):
    t.relay(t.sent("A-1"))
    t.store(message("A-1", 2000))


def an_alias(t):
    t.ledger.alias("info@our.test", BOB)
    t.store(t.sent("A-1", ("info@our.test",)))


def tmp_without_a_kill(t):
    one(t)
    t.write(t.box + "/tmp/1.x.h", b"half")


def tmp_of_a_kill(t):
    tmp_without_a_kill(t)
    t.ledger.killed("deliver", 5)


def tmp_of_an_end(t):
    tmp_without_a_kill(t)
    t.ledger.ended("imapd", 5)


def panic(t):
    one(t)
    t.write(t.log, b"x qmgr[7]: panic: no such state\n")


def segfault(t):
    one(t)
    t.ledger.killed("qmgr", 7)
    t.write(t.log, b"x master[1]: warning: process qmgr[7] killed by "
            b"signal 11\n")


def foreign_kill(t):
    one(t)
    t.ledger.killed("qmgr", 7)
    t.write(t.log, b"x master[1]: warning: process qmgr[8] killed by "
            b"signal 9\n")


def our_kill(t):
    one(t)
    t.ledger.killed("qmgr", 7)
    t.write(t.log, b"x master[1]: warning: process qmgr[7] killed by "
            b"signal 9\n")


def make_mbox(t, *parts):
    shutil.rmtree(t.box)
    t.write(t.box, b"".join(FROM + p.replace(b"\r\n", b"\n") for p in parts))


def mbox(t):
    make_mbox(t, t.sent("A-1") + b"\n", t.sent("A-2") + b"\n")


def mbox_cut(t):
    text = t.sent("A-1")
    t.ledger.killed("deliver", 5)
    make_mbox(t, text[:700] + b"\n", text + b"\n")


def mbox_swallowed(t):
    torn = t.sent("A-1", acked=False)[:700]
    t.ledger.killed("deliver", 5)
    make_mbox(t, torn, t.sent("A-2") + b"\n")


FROM = b"From x@y Thu Jan  1 00:00:00 2026\n"


def mbox_cut_in_its_first_line(t):
    """Its line was ended before the next one was appended."""
    text = t.sent("A-1")
    t.ledger.killed("deliver", 5)
    make_mbox(t, t.sent("A-2") + b"\n" + FROM[:20] + b"\n\n" + FROM + text +
              b"\n")


def mbox_cut_in_its_first_word(t):
    text = t.sent("A-1")
    t.ledger.killed("deliver", 5)
    make_mbox(t, t.sent("A-2") + b"\n" + FROM[:3] + b"\n\n" + FROM + text +
              b"\n")


def behind_the_mark(t):
    one(t)
    t.sent("A-2", acked=False)
    t.ledger.mark(1)
    t.ledger.mark(2)
    t.ledger.acked("A-2")


ROWS = [
    # what is done; lost damaged duplicated residue died
    (one, "00000"), (lost, "10000"), (lost_for_one, "10000"),
    (lost_copy, "10000"), (lost_though_warned, "10000"),
    (lost_though_another_is_told, "10000"), (notice, "00000"),
    (unanswered, "00000"), (lmtp_one_reply, "10000"),
    (damaged, "11000"), (damaged_unanswered, "01000"),
    (damaged_empty, "01000"), (damaged_size, "01000"),
    (damaged_sink, "11000"), (damaged_line_end, "11000"),
    (twice, "00100"), (twice_and_a_kill, "00000"),
    (twice_and_an_end, "00100"), (twice_and_an_earlier_kill, "00100"),
    (thrice_and_a_kill, "00100"),
    (copied, "00000"), (taken, "00000"), (taken_and_back, "00100"),
    (taking, "00000"), (moved_and_a_broken_removal, "00000"),
    (moved_away, "10000"), (moved_twice, "00100"), (refused_yet_there, "00100"),
    (not_a_recipient, "00100"), (an_alias, "00000"),
    (tmp_without_a_kill, "00010"), (tmp_of_a_kill, "00000"),
    (tmp_of_an_end, "00000"), (panic, "00001"),
    (segfault, "00001"),
    (foreign_kill, "00001"), (our_kill, "00000"), (mbox, "00000"),
    (mbox_cut, "00000"), (mbox_swallowed, "11000"),
    (mbox_cut_in_its_first_line, "00000"),
    (mbox_cut_in_its_first_word, "00000"),
    (behind_the_mark, "10000"),
]


class Check:
    def __init__(self):
        self.rows = self.bad = 0

    def expect(self, name, verdict, wanted):
        got = "".join(map(str, (verdict.lost, verdict.damaged,
                                verdict.duplicated, verdict.residue,
                                verdict.died)))
        self.rows += 1
        if not verdict.said or got != wanted or \
                (verdict.code == 0) != (wanted == "00000"):
            self.bad += 1
            print(f"oracle_test: {name}: {wanted} was expected (lost damaged "
                  f"duplicated residue died):\n{verdict.text}")


def trees(check, top):
    for row, wanted in ROWS:
        t = Tree(top)
        row(t)
        check.expect(row.__name__, oracle(t.ledger.path, mail=t.mail,
                                          sink=t.sink, log=t.log), wanted)
        if row is behind_the_mark:
            for until, expected in ((1, "00000"), (2, "00000")):
                check.expect(f"until mark {until}", oracle(
                    t.ledger.path, mail=t.mail, acked_until=until), expected)
            check.expect("window 0", oracle(t.ledger.path, mail=t.mail,
                                            window=0), "10000")
        t.ledger.close()


def queue_files(inst, place):
    return sorted(p for p in glob.glob(
        os.path.join(inst.dir, "spool", place, "**"), recursive=True)
        if os.path.isfile(p))


def flip(path, at):
    with open(path, "r+b") as f:
        f.seek(at)
        octet = f.read(1)
        f.seek(at)
        f.write(bytes([octet[0] ^ 1]))


def spools(check):
    """Two recipients, one of them delivered; one message that waits in
    maildrop/; then the spool is broken."""
    inst = make_instance(users=("bob",), sets=("relayhost = [127.0.0.1]:1",))
    try:
        spool, mail = inst.dir + "/spool", inst.dir + "/mail"
        ledger = Ledger(inst.dir + "/ledger")
        text = message("Q-1", 3000)
        ledger.sent("Q-1", text, [BOB, FAR])
        with inst.submission("bob") as s:
            s.sendmail(BOB, [BOB, FAR], text)
        ledger.acked("Q-1")
        inst.wait_messages("bob", 1)
        inst.wait_log("to=<far@away.test>.*status=deferred")
        wait_until(lambda: queue_files(inst, "deferred"))
        assert inst.stop().returncode == 0
        text = message("Q-2", 2000)
        ledger.sent("Q-2", text, [BOB])
        assert inst.command("sendmail", "-i", "-f", BOB, BOB,
                            input=text.decode()).returncode == 0
        ledger.acked("Q-2")

        def expect(name, wanted):
            check.expect(name, oracle(ledger.path, spool=spool, mail=mail,
                                      log=inst.log_path), wanted)

        (deferred,) = queue_files(inst, "deferred")
        (dropped,) = queue_files(inst, "maildrop")
        expect("deferred, delivered, in maildrop", "00000")
        flip(deferred, 2000)
        expect("an octet of the queue file is wrong", "10000")
        flip(deferred, 2000)
        os.rename(deferred, deferred + ".x")
        expect("a name that is no queue id", "10010")
        os.rename(deferred + ".x", deferred)
        os.chmod(dropped, 0o600)
        expect("not marked as whole", "10000")
        os.chmod(dropped, 0o740)
        flip(dropped, 1500)
        expect("an octet of the file in maildrop is wrong", "11000")
        flip(dropped, 1500)
        (box,) = glob.glob(inst.maildir("bob") + "/new/*")
        os.rename(box, box + ".away")
        shutil.copy(box + ".away", spool + "/kept")
        os.unlink(box + ".away")
        expect("recorded as delivered, not in the mailbox", "10000")
        shutil.copy(spool + "/kept", box)
        os.unlink(spool + "/kept")
        expect("all as before", "00000")
        ledger.close()
    finally:
        inst.end()
        shutil.rmtree(os.path.dirname(inst.dir), ignore_errors=True)


def main():
    need_tools("crash-oracle")
    check = Check()
    top = tempfile.mkdtemp(prefix="postern-oracle.")
    try:
        trees(check, top)
    finally:
        shutil.rmtree(top)
    spools(check)
    print(f"oracle_test: {check.rows} trees judged, {check.bad} wrongly")
    return 1 if check.bad else 0


if __name__ == "__main__":
    sys.exit(main())
