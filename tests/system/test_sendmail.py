"""Mail from the command line: running, stopped, hostile."""
import email.utils
import json
import os
import re
import socket
import stat
import subprocess
import time

import pytest

from conftest import BIN, wait_until

NOBODY = 65534
DAEMON = 1


def let_others_in(inst):
    """The directory that tempfile made is only ours."""
    os.chmod(os.path.dirname(inst.dir), 0o755)


def sendmail(inst, *args, text="Subject: hello\n\nbody\n", **kw):
    if isinstance(text, bytes):
        kw.setdefault("stdout", subprocess.PIPE)
        return subprocess.run(
            [os.path.join(BIN, "sendmail"), "-C", inst.etc, *args],
            input=text, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            timeout=60, check=False,
            **{k: v for k, v in kw.items() if k != "stdout"})
    return inst.command("sendmail", *args, input=text, **kw)


def header(message, name):
    head = message.split(b"\n\n", 1)[0].decode()
    found = re.findall(rf"^{name}:[ \t]*(.*(?:\n[ \t].*)*)$", head,
                       re.M | re.I)
    return found


def test_a_message_is_delivered_and_exit_code_is_0(instance):
    p = sendmail(instance, "-f", "me@here.test", "anna@our.test")
    assert p.returncode == 0, p.stderr
    (m,) = instance.wait_messages("anna", 1)
    assert m.endswith(b"\n\nbody\n")
    assert header(m, "Return-Path") == ["<me@here.test>"]
    assert header(m, "From") and header(m, "Date")
    assert header(m, "Message-I[dD]")
    uid = os.getuid()
    instance.wait_log(rf"pickup\[\d+\]: [0-9A-F]+: uid={uid} "
                      r"from=<me@here.test>")
    assert f"userid {uid}" in header(m, "Received")[0]


def test_t_takes_recipients_from_the_header_and_hides_bcc(instance):
    text = ("From: me@here.test\nTo: Bob <bob@our.test>,\n"
            "\t\"C, arol\" <carol@our.test>\nBcc: anna@our.test\n"
            "Subject: secret\n\nx\n")
    before = len(instance.messages("anna"))
    assert sendmail(instance, "-t", "-i", text=text).returncode == 0
    (b,) = instance.wait_messages("bob", 1)
    instance.wait_messages("carol", 1)
    a = instance.wait_messages("anna", before + 1)
    assert all(b"Bcc" not in m for m in a)
    assert b"Bcc" not in b


def test_t_with_resent_fields_takes_only_those(new_instance):
    inst = new_instance()
    text = ("Resent-To: bob@our.test\nResent-Bcc: carol@our.test\n"
            "From: x@y.test\nTo: anna@our.test\nSubject: again\n\nx\n")
    assert sendmail(inst, "-t", text=text).returncode == 0
    (b,) = inst.wait_messages("bob", 1)
    inst.wait_messages("carol", 1)
    assert inst.messages("anna") == []
    assert header(b, "Resent-From") and header(b, "Resent-Date")
    assert not header(b, "Resent-Bcc")


def test_a_dot_alone_ends_the_message_unless_i_is_given(new_instance):
    inst = new_instance()
    text = "Subject: d\n\n..x\n.\nafter\n"
    assert sendmail(inst, "bob@our.test", text=text).returncode == 0
    (m,) = inst.wait_messages("bob", 1)
    assert m.endswith(b"\n\n..x\n")
    for i, option in enumerate(("-i", "-oi")):
        assert sendmail(inst, option, "carol@our.test",
                        text=text).returncode == 0
        ms = inst.wait_messages("carol", i + 1)
        assert all(m.endswith(b"\n\n..x\n.\nafter\n") for m in ms)


def test_line_ends_long_lines_and_octets_survive(new_instance):
    inst = new_instance()
    body = (b"a\r\nb\nlong" + b"x" * 5000 + b"\n\xff\xfe\xe4 8bit\n"
            b".dot\n..dots\nno end")
    p = sendmail(inst, "-i", "anna@our.test", text=b"Subject: o\r\n\r\n" +
                 body)
    assert p.returncode == 0
    (m,) = inst.wait_messages("anna", 1)
    assert m.split(b"\n\n", 1)[1] == body.replace(b"\r\n", b"\n") + b"\n"


@pytest.mark.parametrize("size", [100_000, 1_500_000, 5_000_000])
def test_a_big_message_streams(instance, size):
    line = "0123456789" * 7 + "\n"
    text = "Subject: big%d\n\n" % size + line * (size // len(line))
    before = len(instance.messages("carol"))
    assert sendmail(instance, "carol@our.test", text=text).returncode == 0
    ms = instance.wait_messages("carol", before + 1)
    (m,) = [m for m in ms if b"Subject: big%d\n" % size in m]
    assert m.split(b"\n\n", 1)[1] == text.split("\n\n", 1)[1].encode()


@pytest.mark.parametrize("args,text,code", [
    ([], "x", 64),                               # no recipient
    (["-t"], "Subject: x\n\nbody", 64),          # none in the header
    (["-Z"], "", 64),
    (["-bx"], "", 64),
    (["-B", "9BIT", "anna@our.test"], "", 64),
    (["-t"], "To: anna@@our.test bad\n\nx", 65),
    (["-XV", "anna@our.test"], "", 64),
    (["-q1h"], "", 0),
    (["-bh"], "", 0),
    (["-bv", "anna@our.test"], "", 0),
    (["-bv", "nobodyhere@our.test"], "", 67),
])
def test_exit_codes_are_those_of_sysexits(instance, args, text, code):
    p = sendmail(instance, *args, text=text)
    assert p.returncode == code, p.stderr + p.stdout


def test_what_is_too_big_is_refused_with_69(new_instance):
    inst = new_instance(sets=["message_size_limit=20000"])
    text = "Subject: x\n\n" + "y" * 70 + "\n"
    text += ("z" * 70 + "\n") * 400
    p = sendmail(inst, "anna@our.test", text=text)
    assert p.returncode == 69 and "too big" in p.stderr
    text += ("z" * 70 + "\n") * 100000
    assert sendmail(inst, "anna@our.test", text=text).returncode == 69
    inst.stop()
    assert sendmail(inst, "anna@our.test", text=text).returncode == 69
    assert os.listdir(os.path.join(inst.dir, "spool/maildrop")) == []


@pytest.mark.parametrize("args", [
    ["-FCronDaemon", "-i", "-odi", "-oem", "-oi", "-t", "-f", "anna"],
    ["-FCronDaemon", "-i", "-B8BITMIME", "-oem", "bob@our.test"],
    ["-oi", "-oem", "-odb", "-f", "me@here.test", "--", "bob@our.test"],
    ["-oem", "-oi", "-f", "me@here.test", "-B8BITMIME", "-Nnever",
     "-Rhdrs", "--", "bob@our.test"],
    ["-i", "-m", "-f", "<>", "bob@our.test"],
    ["-G", "-i", "-f", "me@here.test", "--", "bob@our.test"],
    ["-t", "-oA/etc/aliases", "-Am", "-Lx", "-d0", "-X/dev/null"],
])
def test_command_lines_of_real_callers_are_taken(instance, args):
    text = "From: a@b.test\nTo: bob@our.test\nSubject: caller\n\nx\n"
    before = len(instance.messages("bob"))
    p = sendmail(instance, *args, text=text)
    assert p.returncode == 0, p.stderr
    instance.wait_messages("bob", before + 1)


def test_full_name_goes_into_from(new_instance):
    inst = new_instance()
    for i, (name, want) in enumerate([
            ("Joe User", "Joe User <joe@here.test>"),
            ("J. User", '"J. User" <joe@here.test>'),
            ("Jürgen", "=?"),
    ]):
        assert sendmail(inst, "-F", name, "-f", "joe@here.test",
                        "anna@our.test",
                        text=f"Subject: n{i}\n\nx\n").returncode == 0
        ms = inst.wait_messages("anna", i + 1)
        (m,) = [m for m in ms if b"Subject: n%d\n" % i in m]
        assert header(m, "From")[0].startswith(want)
        assert "<joe@here.test>" in header(m, "From")[0]


def test_mailbox_lines_and_headless_text_are_mail(new_instance):
    inst = new_instance()
    assert sendmail(inst, "anna@our.test",
                    text="From me Mon Jan  1 00:00:00 2020\n"
                    "Subject: x\n\nbody\n").returncode == 0
    (m,) = inst.wait_messages("anna", 1)
    assert b"From me" not in m and b"\nSubject: x\n" in m
    assert sendmail(inst, "bob@our.test",
                    text="just text\n").returncode == 0
    (m,) = inst.wait_messages("bob", 1)
    assert m.endswith(b"\n\njust text\n")


# --- -bs ---

def test_bs_speaks_smtp_on_standard_input_and_output(new_instance):
    inst = new_instance()
    script = ("EHLO localhost\r\nMAIL FROM:<me@here.test>\r\n"
              "RCPT TO:<anna@our.test>\r\nDATA\r\nSubject: bs\r\n\r\nx\r\n"
              ".\r\nQUIT\r\n")
    p = sendmail(inst, "-bs", "-odb", "-oem", text=script)
    assert p.returncode == 0, p.stderr
    lines = p.stdout.splitlines()
    assert lines[0].startswith("220 ") and lines[-1].startswith("221 ")
    assert any(re.match("250 2.0.0 Ok: queued as", s) for s in lines)
    (m,) = inst.wait_messages("anna", 1)
    inst.stop()
    p = sendmail(inst, "-bs", text=script)
    assert p.returncode == 75 and p.stdout == ""


# --- stopped ---

def maildrop(inst):
    return os.path.join(inst.dir, "spool/maildrop")


def test_mail_is_taken_while_the_suite_is_down(new_instance):
    inst = new_instance()
    inst.stop()
    big = "Subject: b\n\n" + ("y" * 70 + "\n") * 40000
    assert sendmail(inst, "-f", "me@here.test", "anna@our.test",
                    "bob@our.test").returncode == 0
    assert sendmail(inst, "carol@our.test", text=big).returncode == 0
    names = os.listdir(maildrop(inst))
    assert len(names) == 2
    for name in names:
        st = os.stat(os.path.join(maildrop(inst), name))
        assert stat.S_IMODE(st.st_mode) == 0o740 and st.st_nlink == 1
    inst.start()
    inst.wait_messages("anna", 1)
    inst.wait_messages("bob", 1)
    (m,) = inst.wait_messages("carol", 1)
    assert m.split(b"\n\n", 1)[1] == big.split("\n\n", 1)[1].encode()
    wait_until(lambda: os.listdir(maildrop(inst)) == [])
    inst.wait_log(rf"[0-9A-F]+: uid={os.getuid()} from=<me@here.test>")


def test_many_recipients_survive_the_wait(new_instance):
    inst = new_instance()
    inst.stop()
    rcpts = ["anna@our.test", "bob@our.test"] + \
        [f"anna+{i}@our.test" for i in range(3000)]
    text = "To: " + ",\n ".join(rcpts) + "\nSubject: m\n\nx\n"
    assert sendmail(inst, "-t", text=text).returncode == 0
    inst.start()
    inst.wait_messages("bob", 1)


def test_what_is_refused_later_is_told_by_mail(new_instance):
    inst = new_instance()
    inst.stop()
    assert sendmail(inst, "-f", "anna@our.test", "bob@our.test",
                    text="Subject: s\n\n" + "y" * 9000).returncode == 0
    p = inst.command("postconf", "-e", "message_size_limit=5000")
    assert p.returncode == 0, p.stderr
    inst.start()
    (m,) = inst.wait_messages("anna", 1)
    assert b"bob@our.test" in m and b"too big" in m and b"Subject: s" in m
    wait_until(lambda: os.listdir(maildrop(inst)) == [])
    assert inst.messages("bob") == []


def queue(inst, **kw):
    p = subprocess.run([os.path.join(BIN, "postqueue"), "-c", inst.etc, "-j"],
                       capture_output=True, timeout=60, check=False, **kw)
    assert p.returncode == 0, p.stderr
    return [json.loads(line) for line in p.stdout.splitlines()]


def test_the_queue_shows_what_waits_in_maildrop(new_instance):
    # no filesystem has that much: cleanup takes nothing
    inst = new_instance(sets=["queue_minfree=1000000000000000"])
    let_others_in(inst)
    inst.stop()
    rcpts = [f"anna+{i}@our.test" for i in range(2500)]
    assert sendmail(inst, "-f", "me@here.test", "-t", text="To: "
                    + ",\n ".join(rcpts) + "\n\nx\n").returncode == 0
    (many,) = os.listdir(maildrop(inst))
    then = 1700000000
    os.utime(os.path.join(maildrop(inst), many), (then, then))
    assert sendmail(inst, "-f", "<>", "bob@our.test").returncode == 0
    (name,) = set(os.listdir(maildrop(inst))) - {many}
    with open(os.path.join(maildrop(inst), name), "rb") as f:
        wire = f.read()
    gid = os.stat(maildrop(inst)).st_gid

    def make(path, data, mode=0o740):
        path = os.path.join(maildrop(inst), path)
        with open(path, "wb") as f:
            f.write(data)
        os.chown(path, -1, gid)
        os.chmod(path, mode)

    # octets that no reader of the list is to see (the message is refused when
    # it is taken); then what is no message
    make("odd", wire.replace(b"bob@our.test", b"b\"bb\n\xff\x1b.test"))
    make("unmarked", wire, mode=0o640)
    make("noise", b"\xff" * 100)
    os.mkfifo(os.path.join(maildrop(inst), "fifo"), 0o740)

    def check(found, odd=()):
        found = {len(m["recipients"]) > 1 and "many" or
                 m["recipients"][0]["address"]: m for m in found}
        assert set(found) == {"many", "bob@our.test", *odd}
        assert all(m["queue_name"] == "maildrop" and
                   re.fullmatch("[0-9A-F]+", m["queue_id"])
                   for m in found.values())
        m = found["many"]
        assert (m["sender"], m["arrival_time"]) == ("me@here.test", then)
        assert [r["address"] for r in m["recipients"]] == rcpts
        assert m["message_size"] > 2500 * 16
        assert found["bob@our.test"]["sender"] == "MAILER-DAEMON"
        return m["queue_id"]

    qid = check(queue(inst), odd=['b"bb???.test'])
    text = inst.command("mailq").stdout
    when = time.strftime("%a %b %e %T", time.localtime(then))
    assert re.search(rf"^{qid} +\d+ {when}  me@here.test$", text, re.M)
    assert re.search(r"^-- \d+ Kbytes in 3 Requests\.$", text, re.M)
    for name in ("noise", "odd"):
        os.remove(os.path.join(maildrop(inst), name))
    inst.start()
    inst.wait_log("maildrop/fifo: not a regular file")
    assert check(queue(inst)) == qid
    if os.geteuid() == 0:
        check(queue(inst, user=NOBODY, group=NOBODY, extra_groups=[]))
    text = inst.command("postern", "queue", "list").stdout
    assert re.search(r"^-- \d+ Kbytes in 2 Requests\.$", text, re.M)
    # they are nobody's to order yet
    assert inst.command("postsuper", "-d", "ALL").returncode == 0
    check(queue(inst))
    p = inst.command("postconf", "-e", "queue_minfree=0")
    assert p.returncode == 0, p.stderr
    os.remove(os.path.join(maildrop(inst), "unmarked"))
    inst.command("postern", "reload")
    inst.wait_messages("bob", 1)
    # 2,500 deliveries, each of them synced
    wait_until(lambda: queue(inst) == [], 600)


def leave(inst, rcpt, age):
    """A message in maildrop/ that was left so long ago; the second."""
    before = set(os.listdir(maildrop(inst)))
    assert sendmail(inst, rcpt).returncode == 0
    (name,) = set(os.listdir(maildrop(inst))) - before
    then = time.time() - age
    os.utime(os.path.join(maildrop(inst), name), (then, then))
    return int(then)


def test_mail_is_as_old_as_when_sendmail_took_it(new_instance):
    # nobody answers there; what is older than an hour is not tried again
    inst = new_instance(sets=["relayhost=[127.0.0.1]:1",
                              "maximal_queue_lifetime=3600s"])
    inst.stop()
    began = time.time()
    leave(inst, "old@elsewhere.test", 7000)
    then = leave(inst, "young@elsewhere.test", 1000)
    leave(inst, "anna@our.test", 5000)
    leave(inst, "bob@our.test", 10 * 365 * 86400)
    leave(inst, "carol@our.test", -5000)
    inst.start()

    def wait_delay(rcpt, age, rest):
        """As old as it was when it was left, and what went by since. (anna
        gets root's mail too: the notification.)"""
        def is_logged():
            most = age + time.time() - began + 2
            return any(
                age - 2 < float(m[1]) < most
                for m in re.finditer(rf"to=<{rcpt}>, .*, delay=([\d.]+), "
                                     rf"delays={rest}", inst.log()))
        wait_until(is_logged, what=f"a delay of {age} s for {rcpt}")

    wait_delay("old@elsewhere.test", 7000,
               r"7\d\d\d/\S+, dsn=4\S+, status=deferred")
    inst.wait_log(r": from=<\S*>, status=expired, returned to sender")
    wait_delay("young@elsewhere.test", 1000, ".*deferred")
    (m,) = wait_until(lambda: [m for m in queue(inst)
                               if m["queue_name"] == "deferred"])
    assert m["arrival_time"] == then
    assert m["recipients"][0]["address"] == "young@elsewhere.test"
    wait_delay("anna@our.test", 5000, ".*status=sent")
    # the times of files are what their owners say: those cannot be true
    for name in ("bob", "carol"):
        wait_delay(f"{name}@our.test", 0, ".*status=sent")
    text = wait_until(lambda: [m for m in inst.messages("anna") if
                               b"Subject: hello" in m.split(b"\n\n")[0]])[0]
    date = email.utils.parsedate_to_datetime(header(text, "Date")[0])
    assert 5000 <= time.time() - date.timestamp() < \
        5001 + time.time() - began


@pytest.mark.skipif(os.geteuid() != 0, reason="needs other users")
def test_the_owner_of_the_file_is_the_submitter(new_instance):
    inst = new_instance()
    let_others_in(inst)
    inst.stop()
    for uid, user in ((NOBODY, "anna"), (DAEMON, "bob")):
        p = sendmail(inst, f"{user}@our.test", user=uid, group=uid,
                     extra_groups=[])
        assert p.returncode == 0, p.stderr
    inst.start()
    for uid, user in ((NOBODY, "anna"), (DAEMON, "bob")):
        (m,) = inst.wait_messages(user, 1)
        assert f"userid {uid}" in header(m, "Received")[0]
        inst.wait_log(rf"[0-9A-F]+: uid={uid} from=")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs other users")
def test_a_user_by_the_socket_is_who_the_kernel_says(instance):
    let_others_in(instance)
    p = sendmail(instance, "-f", "root@our.test", "anna@our.test",
                 user=NOBODY, group=NOBODY, extra_groups=[])
    assert p.returncode == 0, p.stderr
    instance.wait_log(rf"[0-9A-F]+: uid={NOBODY} from=<root@our.test>")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs other users")
def test_hostile_files_in_maildrop_are_no_mail(new_instance):
    inst = new_instance()
    inst.stop()
    drop = maildrop(inst)
    secret = os.path.join(inst.dir, "secret")
    with open(secret, "w", encoding="ascii") as f:
        f.write("secret")
    # a good message, then its octets in the wrong clothes
    assert sendmail(inst, "carol@our.test").returncode == 0
    (good,) = os.listdir(drop)
    with open(os.path.join(drop, good), "rb") as f:
        wire = f.read()
    outside = os.path.join(inst.dir, "outside")
    with open(outside, "wb") as f:
        f.write(wire.replace(b"carol", b"anna\0"[:5]))
    os.chmod(outside, 0o740)
    os.link(outside, os.path.join(drop, "linked"))
    os.symlink(secret, os.path.join(drop, "symlink"))
    os.mkfifo(os.path.join(drop, "fifo"), 0o777)
    s = socket.socket(socket.AF_UNIX)
    s.bind(os.path.join(drop, "socket"))
    s.close()
    os.mkdir(os.path.join(drop, "directory"))
    gid = os.stat(drop).st_gid

    def make(name, data, mode=0o740, group=gid):
        path = os.path.join(drop, name)
        with open(path, "wb") as f:
            f.write(data)
        os.chown(path, NOBODY, group)
        os.chmod(path, mode)

    make("group", wire, group=NOBODY)
    make("twice", wire)
    os.link(os.path.join(drop, "twice"), os.path.join(inst.dir, "second"))
    make("unmarked", wire, mode=0o640)
    make("torn", wire[:-3])
    make("huge", b"\xff" * 100)
    make("empty", b"")
    make("zero", b"\0" * 4096)
    make("text", b"From: x\nTo: anna@our.test\n\nx\n")
    make("flipped", wire[:8] + bytes([wire[8] ^ 0x55]) + wire[9:])
    inst.start()
    inst.wait_messages("carol", 1)
    wait_until(lambda: {n for n in os.listdir(drop) if n[0] != "."} ==
               {"twice", "unmarked"})
    with open(secret, encoding="ascii") as f:
        assert f.read() == "secret"
    assert inst.messages("anna") == [] and inst.messages("bob") == []
    for name in ("linked", "twice", "group", "torn", "fifo", "symlink",
                 "text"):
        inst.wait_log(rf"maildrop/{name}: |maildrop/{name} is no message")
    assert len(inst.messages("carol")) == 1
    # and the suite still takes mail
    assert sendmail(inst, "bob@our.test").returncode == 0
    inst.wait_messages("bob", 1)


def test_kill_of_pickup_loses_nothing(new_instance):
    inst = new_instance()
    inst.stop()
    for i in range(30):
        assert sendmail(inst, "anna@our.test",
                        text=f"Subject: k{i}\n\nx\n").returncode == 0
    inst.start()
    inst.kill("pickup")
    wait_until(lambda: os.listdir(maildrop(inst)) == [])
    wait_until(lambda: {f"k{i}" for i in range(30)} <= {
        header(m, "Subject")[0] for m in inst.messages("anna")})


@pytest.mark.skipif(os.geteuid() != 0, reason="needs other users")
def test_maildrop_cannot_be_listed_or_read_by_users(new_instance):
    inst = new_instance()
    inst.stop()
    assert sendmail(inst, "anna@our.test").returncode == 0
    (name,) = os.listdir(maildrop(inst))
    for cmd in (["ls", maildrop(inst)],
                ["cat", os.path.join(maildrop(inst), name)],
                ["rm", "-f", os.path.join(maildrop(inst), name)],
                ["ln", os.path.join(maildrop(inst), name),
                 os.path.join(maildrop(inst), "x")]):
        p = subprocess.run(cmd, user=NOBODY, group=NOBODY, extra_groups=[],
                           capture_output=True, check=False)
        assert p.returncode != 0, cmd


@pytest.mark.parametrize("state", ["down", "up"])
def test_what_waits_in_maildrop_can_be_shown_and_deleted(new_instance, state):
    # no filesystem has that much: cleanup takes nothing
    inst = new_instance(sets=["queue_minfree=1000000000000000"])
    inst.stop()
    for name in ("bob", "anna"):
        p = sendmail(inst, "-f", "me@here.test", f"{name}@our.test",
                     text="From: me@here.test\n\nthe body\n")
        assert p.returncode == 0, p.stderr
    if state == "up":
        inst.start()
    ids = {m["recipients"][0]["address"]: m["queue_id"] for m in queue(inst)}
    bob, anna = ids["bob@our.test"], ids["anna@our.test"]
    p = inst.command("postcat", "-q", bob)
    assert p.returncode == 0, p.stderr
    assert re.fullmatch(
        rf"\*\*\* ENVELOPE RECORDS maildrop/{bob} \*\*\*\n"
        r"message_arrival_time: .*\n"
        rf"named_attribute: uid={os.geteuid()}\n"
        r"sender: me@here\.test\n"
        r"recipient: bob@our\.test\n"
        rf"\*\*\* MESSAGE CONTENTS maildrop/{bob} \*\*\*\n"
        r"From: me@here\.test\n\nthe body\n"
        rf"\*\*\* MESSAGE FILE END maildrop/{bob} \*\*\*\n", p.stdout), \
        p.stdout
    assert inst.command("postcat", "-bq", bob).stdout == "the body\n"
    assert inst.command("postcat", "-hq", bob).stdout == "From: me@here.test\n\n"
    # all that there is, and what is on hold, is not maildrop's
    assert inst.command("postsuper", "-d", "ALL").returncode == 0
    inst.command("postsuper", "-d", bob, "hold")
    assert len(os.listdir(maildrop(inst))) == 2
    p = inst.command("postsuper", "-d", bob)
    assert p.returncode == 0, p.stderr
    assert f"{bob}: removed\n" in p.stderr
    assert "Deleted: 1 message\n" in p.stderr
    assert [m["queue_id"] for m in queue(inst)] == [anna]
    assert len(os.listdir(maildrop(inst))) == 1
    p = inst.command("postcat", "-q", bob)
    assert p.returncode != 0 and p.stdout == ""


def test_a_large_file_in_maildrop_costs_its_list_little(new_instance):
    """Whoever makes a file makes it as large as he likes; the list has what
    its first 16 MB name."""
    inst = new_instance(sets=["queue_minfree=1000000000000000"])
    inst.stop()
    rcpts = ", ".join(f"anna+{'x' * 50}{i}@our.test" for i in range(3000))
    assert sendmail(inst, "-t", text=f"To: {rcpts}\n\nx\n").returncode == 0
    (name,) = os.listdir(maildrop(inst))
    with open(os.path.join(maildrop(inst), name), "r+b") as f:
        wire = f.read()
        first = 4 + int.from_bytes(wire[:4], "little")
        second = first + 4 + int.from_bytes(wire[first:first + 4], "little")
        f.seek(first)
        count = 40_000_000 // (second - first)
        f.write(wire[first:second] * count)
    (found,) = queue(inst)
    assert found["recipients"][0]["address"].startswith("anna+")
    listed = len(found["recipients"])
    # a packet has a thousand of them, about
    whole = 900 * count
    assert 0 < listed < whole / 2, (listed, whole)
