"""The operator's commands about the queue and the users."""
import imaplib
import json
import os
import re
import stat
import subprocess

import pytest

from conftest import BIN, PASSWORD, wait_until

NOBODY = 65534
# A next hop that nobody answers for: mail waits.
STUCK = ["relayhost=[127.0.0.1]:1", "mynetworks=127.0.0.0/8",
         "minimal_backoff_time=1000s"]


def submit(inst, rcpt="x@elsewhere.test", sender="anna@our.test",
           text="Subject: waits\n\nbody\n"):
    p = inst.command("sendmail", "-f", sender, rcpt, input=text)
    assert p.returncode == 0, p.stderr


def ids(inst):
    p = inst.command("postqueue", "-j")
    assert p.returncode == 0, p.stderr
    return [json.loads(s) for s in p.stdout.splitlines()]


def wait_deferred(inst, count):
    def found():
        deferred = [m for m in ids(inst) if m["queue_name"] == "deferred"]
        return len(deferred) == count and deferred and all(
            m["recipients"][0].get("delay_reason") for m in deferred) and \
            deferred
    return wait_until(found, what=f"{count} deferred messages")


@pytest.fixture
def stuck(new_instance):
    return new_instance(sets=STUCK)


def test_an_empty_queue_says_so(stuck):
    for name, args in (("mailq", []), ("postqueue", ["-p"]),
                       ("sendmail", ["-bp"])):
        p = stuck.command(name, *args)
        assert (p.returncode, p.stdout) == (0, "Mail queue is empty\n")
    assert stuck.command("postqueue", "-j").stdout == ""


def test_mailq_is_what_its_readers_expect_octet_by_octet(stuck):
    submit(stuck, sender="<>", text="Subject: s\n\nx\n")
    submit(stuck)
    messages = wait_deferred(stuck, 2)
    p = stuck.command("mailq")
    lines = p.stdout.split("\n")
    assert lines[0] == ("-Queue ID-  --Size-- ----Arrival Time---- "
                        "-Sender/Recipient-------")
    assert re.fullmatch(r"[0-9A-F]{12} +\d+ \w{3} \w{3} [ \d]\d "
                        r"\d\d:\d\d:\d\d  MAILER-DAEMON", lines[1])
    reason = messages[0]["recipients"][0]["delay_reason"]
    assert lines[2] == " " * max(0, 76 - len(reason)) + f"({reason})"
    assert lines[3] == " " * 41 + "x@elsewhere.test"
    assert lines[4] == ""
    assert re.match(r"^[0-9A-F]+([\*!]?) +(\d+) "
                    r"(\w{3} \w{3} +\d+ +\d+:\d{2}:\d{2}) +anna@our.test$",
                    lines[5])
    assert re.fullmatch(r"-- \d+ Kbytes in 2 Requests\.", lines[9])
    assert lines[8] == "" and lines[10:] == [""]
    # a stopped suite tells its owner the same, from the spool
    stuck.stop()
    down = stuck.command("mailq")
    assert down.stdout == p.stdout
    assert "Mail system is down -- accessing queue directly" in down.stderr


def test_json_has_one_object_a_line(stuck):
    submit(stuck, sender='"o\\"d"@our.test')
    (m,) = wait_deferred(stuck, 1)
    assert set(m) == {"queue_name", "queue_id", "arrival_time",
                      "message_size", "forced_expire", "sender",
                      "recipients"}
    assert m["recipients"][0]["address"] == "x@elsewhere.test"
    line = stuck.command("postqueue", "-j").stdout
    assert line.startswith('{"queue_name": "deferred", "queue_id": "')
    assert '"forced_expire": false, "sender": ' in line


def test_hold_release_delete_and_requeue(stuck):
    for _ in range(3):
        submit(stuck)
    a, b, c = [m["queue_id"] for m in wait_deferred(stuck, 3)]
    p = stuck.command("postsuper", "-h", a)
    assert p.returncode == 0
    assert p.stderr == (f"postsuper: {a}: placed on hold\n"
                        "postsuper: Placed on hold: 1 message\n")
    assert {m["queue_id"]: m["queue_name"] for m in ids(stuck)}[a] == "hold"
    assert re.search(rf"^{a}! ", stuck.command("mailq").stdout, re.M)
    p = stuck.command("postsuper", "-H", "ALL")
    assert p.stderr == (f"postsuper: {a}: released from hold\n"
                        "postsuper: Released from hold: 1 message\n")
    wait_deferred(stuck, 3)
    p = stuck.command("postsuper", "-d", "-", input=f"{a}\n{b}\nnonsense\n")
    assert "Deleted: 2 messages" in p.stderr and p.returncode == 0
    assert [m["queue_id"] for m in ids(stuck)] == [c]
    p = stuck.command("postsuper", "-r", "ALL")
    assert "Requeued: 1 message" in p.stderr
    p = stuck.command("postsuper", "-d", "ALL", "hold")
    assert p.returncode == 0 and p.stderr == ""
    wait_deferred(stuck, 1)
    p = stuck.command("postsuper", "-d", "ALL")
    assert "Deleted: 1 message" in p.stderr
    wait_until(lambda: ids(stuck) == [])


def test_the_same_while_the_suite_is_down(stuck):
    for _ in range(3):
        submit(stuck)
    a, b, c = [m["queue_id"] for m in wait_deferred(stuck, 3)]
    stuck.stop()
    assert "Placed on hold: 1" in stuck.command("postsuper", "-h", a).stderr
    assert "Deleted: 1" in stuck.command("postsuper", "-d", b).stderr
    assert "Requeued: 1" in stuck.command("postsuper", "-r", c).stderr
    assert {m["queue_id"]: m["queue_name"] for m in ids(stuck)} == {
        a: "hold", c: "deferred"}
    assert stuck.command("postqueue", "-f").returncode == 69
    stuck.start()
    wait_until(lambda: {m["queue_id"]: m["queue_name"] for m in ids(stuck)}
               == {a: "hold", c: "deferred"})
    stuck.command("postsuper", "-H", a)
    wait_deferred(stuck, 2)


def test_what_is_in_corrupt_is_told_of_and_comes_back(stuck):
    """Agents died of it, but of a storm of kills: the message is well."""
    submit(stuck)
    (m,) = wait_deferred(stuck, 1)
    qid = m["queue_id"]
    spool = os.path.join(stuck.dir, "spool")
    stuck.stop()
    for base, _, names in os.walk(os.path.join(spool, "deferred")):
        if qid in names:
            os.rename(os.path.join(base, qid),
                      os.path.join(spool, "corrupt", qid))
    p = stuck.command("mailq")
    assert f"1 message in corrupt/, which nobody delivers: {qid}\n" in p.stderr
    stuck.start()
    for args in (["mailq"], ["postqueue", "-p"], ["postqueue", "-j"],
                 ["postern", "queue", "list"]):
        p = stuck.command(*args)
        assert p.returncode == 0
        assert p.stdout == ("" if "-j" in args else "Mail queue is empty\n")
        assert p.stderr.endswith(
            f": warning: 1 message in corrupt/, which nobody delivers: {qid}\n")
    p = stuck.command("postern", "status")
    assert p.returncode == 0
    assert p.stdout.splitlines()[1:] == [
        "1 message in corrupt/, which nobody delivers: see mailq"]
    # "ALL" does not mean it
    stuck.command("postsuper", "-r", "ALL")
    assert os.listdir(os.path.join(spool, "corrupt")) == [qid]
    p = stuck.command("postern", "queue", "requeue", qid)
    assert p.returncode == 0, p.stderr
    assert [m["queue_id"] for m in wait_deferred(stuck, 1)] == [qid]
    assert stuck.command("mailq").stderr == ""
    assert len(stuck.command("postern", "status").stdout.splitlines()) == 1


def test_flush_tries_now(stuck):
    submit(stuck)
    (m,) = wait_deferred(stuck, 1)
    qid = m["queue_id"]

    def tries():
        return len(re.findall(rf"{qid}: to=.*status=deferred", stuck.log()))

    for i, cmd in enumerate([("postqueue", "-f"), ("postqueue", "-i", qid),
                             ("sendmail", "-q"), ("sendmail", "-qI" + qid),
                             ("postqueue", "-s", "elsewhere.test"),
                             ("postern", "queue", "flush")]):
        before = i + 1
        wait_until(lambda n=before: tries() >= n)
        assert tries() == before
        p = stuck.command(*cmd)
        assert p.returncode == 0, (cmd, p.stderr)
        wait_until(lambda n=before: tries() > n, what=str(cmd))
        wait_deferred(stuck, 1)


def test_postcat_prints_parts_of_a_message(stuck):
    submit(stuck, text="Subject: waits\n\nline 1\nline 2\n")
    (m,) = wait_deferred(stuck, 1)
    qid = m["queue_id"]
    whole = stuck.command("postcat", "-q", qid)
    assert whole.returncode == 0, whole.stderr
    text = whole.stdout
    assert re.match(r"\*\*\* ENVELOPE RECORDS deferred/\d+/" + qid +
                    r" \*\*\*\n", text)
    assert "\nsender: anna@our.test\n" in text
    assert "\nrecipient: x@elsewhere.test\n" in text
    assert "*** MESSAGE CONTENTS " in text
    assert re.search(r"\*\*\* MESSAGE FILE END \S+ \*\*\*\n$", text)
    assert "(connect to " in text or "deferred 4." in text
    body = stuck.command("postcat", "-qb", qid)
    assert body.stdout == "line 1\nline 2\n"
    head = stuck.command("postcat", "-qh", qid)
    assert "Subject: waits\n" in head.stdout and "line" not in head.stdout
    assert "***" not in head.stdout
    both = stuck.command("postcat", "-qbh", qid)
    assert both.stdout == head.stdout + body.stdout
    env = stuck.command("postcat", "-qe", qid)
    assert "Subject" not in env.stdout and "sender:" in env.stdout
    assert stuck.command("postcat", "-q", "ABCDEF012345").returncode == 1
    stuck.stop()
    assert stuck.command("postcat", "-qb", qid).stdout == body.stdout


def test_the_verb_queue_does_it_all(stuck):
    submit(stuck)
    (m,) = wait_deferred(stuck, 1)
    qid = m["queue_id"]
    assert stuck.command("postern", "queue", "list").stdout == \
        stuck.command("mailq").stdout
    assert f"/{qid} ***" in stuck.command("postern", "queue", "show",
                                          qid).stdout
    assert stuck.command("postern", "queue", "hold", qid).returncode == 0
    assert ids(stuck)[0]["queue_name"] == "hold"
    assert stuck.command("postern", "queue", "release",
                         qid).returncode == 0
    wait_deferred(stuck, 1)
    assert stuck.command("postern", "queue", "requeue",
                         qid).returncode == 0
    wait_deferred(stuck, 1)
    assert stuck.command("postern", "queue", "delete",
                         qid).returncode == 0
    assert ids(stuck) == []
    assert stuck.command("postern", "queue", "dance").returncode == 64


def test_an_id_that_is_not_there_is_told_of(stuck):
    """sysexits.h: 64 a wrong command line, 65 what is no id, 66 not there."""
    submit(stuck)
    (m,) = wait_deferred(stuck, 1)
    qid, gone = m["queue_id"], "ABCDEF012345"
    for verb in "hold", "delete", "requeue", "expire", "flush", "show":
        p = stuck.command("postern", "queue", verb, gone)
        assert p.returncode == 66 and p.stderr, (verb, p)
        p = stuck.command("postern", "queue", verb, "no/id")
        assert p.returncode == (66 if verb == "show" else 65), (verb, p)
        assert "no/id" in p.stderr, (verb, p)
    p = stuck.command("postqueue", "-i", "no/id")
    assert (p.returncode, p.stderr) == \
        (64, "postqueue: no valid queue id: no/id\n")
    p = stuck.command("postqueue", "-i", gone)
    assert (p.returncode, p.stderr) == \
        (66, "postqueue: 1 of 1 messages are not there\n")
    # one that is on hold is there, although it is not tried
    assert stuck.command("postsuper", "-h", qid).returncode == 0
    assert stuck.command("postqueue", "-i", qid).returncode == 0
    # scripts count on it: no failure of postsuper
    assert stuck.command("postsuper", "-h", gone).returncode == 0


def test_a_verb_tells_its_usage(stuck):
    listed = stuck.command("postern", "-h").stdout
    verbs = re.findall(r"^  (\S+)", listed.split("verbs:\n")[1], re.M)
    assert {"start", "check", "newaliases"} <= set(verbs), listed
    assert re.search(r"^  newaliases \[-v\]$", listed, re.M), listed
    for verb in verbs:
        p = stuck.command("postern", verb, "--help")
        assert (p.returncode, p.stderr) == (0, ""), (verb, p)
        assert re.match(rf"usage: postern {verb}\b", p.stdout), (verb, p)
    for verb in "start", "stop", "reload", "status", "check":
        p = stuck.command("postern", verb, "what")
        assert p.returncode == 64, (verb, p)
        assert f"usage: postern {verb}" in p.stderr, (verb, p)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs other users")
def test_everybody_may_list_and_only_root_may_order(stuck):
    os.chmod(os.path.dirname(stuck.dir), 0o755)
    submit(stuck)
    (m,) = wait_deferred(stuck, 1)

    def as_nobody(name, *args):
        return subprocess.run(
            [os.path.join(BIN, name), "-c", stuck.etc, *args], text=True,
            user=NOBODY, group=NOBODY, extra_groups=[], check=False,
            capture_output=True, timeout=60)

    assert as_nobody("postqueue", "-p").stdout == \
        stuck.command("postqueue", "-p").stdout
    for args in (("postsuper", "-d", "ALL"),
                 ("postsuper", "-h", m["queue_id"]),
                 ("postcat", "-q", m["queue_id"])):
        assert as_nobody(*args).returncode != 0, args
    assert [x["queue_name"] for x in ids(stuck)] == ["deferred"]
    stuck.stop()
    assert as_nobody("postqueue", "-p").returncode == 69
    assert as_nobody("postsuper", "-d", "ALL").returncode != 0


def test_nobody_answers_where_no_service_is(stuck):
    assert not os.path.exists(os.path.join(stuck.dir,
                                           "spool/public/showq"))


# --- users ---

def users(inst, *args, **kw):
    return inst.command("postern", "user", *args, **kw)


def login(inst, user, password):
    c = imaplib.IMAP4("127.0.0.1", inst.port("imap"), timeout=60)
    try:
        c.login(f"{user}@our.test", password)
        c.logout()
        return True
    except imaplib.IMAP4.error:
        c.shutdown()
        return False


def test_users_are_added_changed_listed_and_deleted(new_instance):
    inst = new_instance(users=["anna"])
    path = os.path.join(inst.etc, "users")
    with open(path, encoding="ascii") as f:
        before = f.read()
    os.chmod(path, 0o640)
    st = os.stat(path)
    p = users(inst, "add", "Dora@Our.test", "one two")
    assert p.returncode == 0 and p.stderr == ""
    now = os.stat(path)
    assert stat.S_IMODE(now.st_mode) == 0o640
    assert (now.st_uid, now.st_gid) == (st.st_uid, st.st_gid)
    with open(path, encoding="ascii") as f:
        text = f.read()
    assert text.startswith(before) and "one two" not in text
    assert users(inst, "list").stdout.split() == ["anna@our.test",
                                                  "dora@our.test"]
    wait_until(lambda: login(inst, "dora", "one two"))
    inst.send("dora")
    assert users(inst, "passwd", "dora@our.test",
                 input="three\n").returncode == 0
    wait_until(lambda: login(inst, "dora", "three"))
    # each auth process looks at the file once a second
    wait_until(lambda: not login(inst, "dora", "one two"))
    assert login(inst, "anna", PASSWORD)
    assert users(inst, "add", "dora@our.test", "x").returncode == 73
    assert users(inst, "del", "dora@our.test").returncode == 0
    with open(path, encoding="ascii") as f:
        assert f.read() == before
    assert users(inst, "del", "dora@our.test").returncode == 67
    assert users(inst, "passwd", "dora@our.test", "x").returncode == 67
    wait_until(lambda: not login(inst, "dora", "three"))


def test_users_file_keeps_what_is_not_ours(new_instance):
    inst = new_instance(users=["anna"], start=False)
    path = os.path.join(inst.etc, "users")
    with open(path, encoding="ascii") as f:
        before = f.read()
    odd = "# a note\n\nmark@our.test:{PLAIN}x:12345:54321:gecos:/h:/sh:x=1\n"
    with open(path, "w", encoding="ascii") as f:
        f.write(odd + before.rstrip("\n"))          # no newline at the end
    assert users(inst, "add", "dora@our.test", "pw").returncode == 0
    assert users(inst, "passwd", "mark@our.test", "pw").returncode == 0
    with open(path, encoding="ascii") as f:
        lines = f.read().split("\n")
    assert lines[:2] == ["# a note", ""]
    assert re.fullmatch(r"mark@our.test:\{CRYPT\}\$y\$[^:]+:12345:54321:"
                        r"gecos:/h:/sh:x=1", lines[2])
    assert "\n".join(lines[3:]).startswith(before)
    assert lines[-2].startswith("dora@our.test:") and lines[-1] == ""


@pytest.mark.parametrize("args,code", [
    ([], 64), (["add"], 64), (["add", "a@b", "c", "d"], 64),
    (["list", "x"], 64), (["add", "noat", "x"], 65),
    (["add", "a:b@our.test", "x"], 65), (["add", "../x@our.test", "x"], 65),
    (["add", "a/b@our.test", "x"], 65), (["add", "x@..", "x"], 65),
    (["add", "x@our.test", ""], 65),
])
def test_bad_users_are_refused(new_instance, args, code):
    inst = new_instance(users=["anna"], start=False)
    with open(os.path.join(inst.etc, "users"), encoding="ascii") as f:
        before = f.read()
    assert users(inst, *args, input="").returncode == code
    with open(os.path.join(inst.etc, "users"), encoding="ascii") as f:
        assert f.read() == before


def test_a_domain_that_is_not_ours_is_warned_of(new_instance):
    inst = new_instance(users=["anna"], start=False)
    p = users(inst, "add", "x@other.test", "pw")
    assert p.returncode == 0
    assert "virtual_mailbox_domains" in p.stderr
