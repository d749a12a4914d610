"""Local delivery: users with homes, aliases, .forward, commands, files.

The users are in a passwd file of the test's own, which only the instance
sees (mount namespace): nothing of the host changes.
"""
import fcntl
import glob
import mailbox
import os
import re
import signal
import stat
import subprocess

import pytest

from conftest import BIN, PATIENCE, wait_until

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0, reason="needs root to make users")

LUCY, MARK, SINK = 20001, 20002, 20003
DOMAIN = "mail.our.test"


class Local:
    def __init__(self, inst):
        self.inst = inst
        os.chmod(os.path.dirname(inst.dir), 0o755)
        self.homes = os.path.join(inst.dir, "home")
        self.spool = os.path.join(inst.dir, "mboxes")
        os.mkdir(self.homes, 0o755)
        with open("/etc/passwd", encoding="utf-8") as f:
            passwd = f.read()
        for name, uid in (("lucy", LUCY), ("mark", MARK)):
            home = os.path.join(self.homes, name)
            os.mkdir(home, 0o755)
            os.chown(home, uid, uid)
            passwd += f"{name}:x:{uid}:{uid}::{home}:/bin/sh\n"
        passwd += f"sink:x:{SINK}:{SINK}::/nonexistent:/bin/sh\n"
        self.passwd = os.path.join(inst.dir, "passwd")
        with open(self.passwd, "w", encoding="utf-8") as f:
            f.write(passwd)
        # where default_privs may write
        self.out = os.path.join(inst.dir, "out")
        os.mkdir(self.out)
        os.chown(self.out, SINK, SINK)

    def start(self, aliases=""):
        with open(os.path.join(self.inst.etc, "aliases"), "a",
                  encoding="utf-8") as f:
            f.write(aliases)
        p = self.inst.command("newaliases")
        assert p.returncode == 0, p.stderr
        p = subprocess.run(
            ["unshare", "-m", "sh", "-c",
             'mount --bind "$1" /etc/passwd && exec "$2" -c "$3" start',
             "sh", self.passwd, os.path.join(BIN, "postern"),
             self.inst.etc], capture_output=True, text=True, check=False,
            timeout=PATIENCE)
        assert p.returncode == 0, p.stderr + self.inst.log()
        return self

    def home(self, name, *parts):
        return os.path.join(self.homes, name, *parts)

    def write(self, name, uid, text, mode=0o644):
        with open(name, "w", encoding="utf-8") as f:
            f.write(text)
        os.chown(name, uid, uid)
        os.chmod(name, mode)

    def send(self, name, text="Subject: t\r\n\r\nbody\r\n",
             sender="me@elsewhere.test"):
        return self.inst.send(f"{name}@{DOMAIN}", text, sender)

    def maildir(self, name):
        out = []
        for path in glob.glob(self.home(name, "Maildir/new/*")):
            with open(path, "rb") as f:
                out.append(f.read())
        return out

    def wait_maildir(self, name, count):
        wait_until(lambda: len(self.maildir(name)) >= count)
        found = self.maildir(name)
        assert len(found) == count, b"\n----\n".join(found).decode() + \
            self.inst.log()
        return found

    def wait_status(self, qid, status):
        return self.inst.wait_log(rf"{qid}: to=.*status={status} \(.*")[0]

    def read_out(self, name):
        path = os.path.join(self.out, name)
        wait_until(lambda: os.path.exists(path) and os.path.getsize(path))
        with open(path, encoding="utf-8") as f:
            return f.read()


@pytest.fixture
def local(new_instance):
    def make(*sets):
        return Local(new_instance(start=False, sets=[
            "default_privs=sink", *sets]))
    return make


def test_a_system_user_gets_mail_in_his_home(local):
    box = local("home_mailbox=Maildir/", "recipient_delimiter=+").start()
    box.send("lucy")
    (m,) = box.wait_maildir("lucy", 1)
    assert f"Delivered-To: lucy@{DOMAIN}\n".encode() in m
    st = os.stat(glob.glob(box.home("lucy", "Maildir/new/*"))[0])
    assert st.st_uid == LUCY and stat.S_IMODE(st.st_mode) & 0o77 == 0
    box.send("Lucy+extension")
    box.wait_maildir("lucy", 2)


def test_an_alias_leads_to_addresses_users_and_owners(local):
    box = local("home_mailbox=Maildir/").start(
        "team: lucy, mark, \"An, Na\" <anna@our.test>\n"
        "owner-team: mark\n"
        "lucy: lucy, bob@our.test\n"
        "chain: team\n")
    box.send("chain")
    (a,) = box.inst.wait_messages("anna", 1)
    assert f"Return-Path: <owner-team@{DOMAIN}>".encode() in a
    assert f"Delivered-To: team@{DOMAIN}".encode() in a
    assert f"Delivered-To: chain@{DOMAIN}".encode() in a
    box.wait_maildir("mark", 1)
    box.wait_maildir("lucy", 1)             # herself, and once
    box.inst.wait_messages("bob", 1)
    box.inst.wait_log(r"status=sent \(forwarded as [0-9A-F]+\)")


def test_aliases_that_lead_in_a_circle_end(local):
    box = local().start("one: two\ntwo: one\n")
    box.send("one", sender="anna@our.test")
    box.inst.wait_log(r"to=<one@.*dsn=5.4.6, status=bounced "
                      r"\(mail forwarding loop for one@")


def test_commands_and_files_of_aliases_have_default_privs(local):
    box = local()
    out = box.out
    box.start(
        f"prog: \"|(id -u; id -G; env; cat) > {out}/prog\"\n"
        f"plain: |/usr/bin/tee {out}/plain\n"
        f"file: {out}/file\n"
        "fails: \"|echo 'no such thing' >&2; exit 67\"\n"
        "later: \"|exit 75\"\n"
        "dies: \"|kill -9 $$\"\n"
        "missing: |/nonexistent/program\n"
        "void: /dev/null\n")
    box.send("prog")
    text = box.read_out("prog")
    wait_until(lambda: "body" in box.read_out("prog"))
    text = box.read_out("prog")
    assert text.split("\n")[:2] == [str(SINK), str(SINK)]
    env = dict(s.split("=", 1) for s in text.split("From ")[0].split("\n")
               if "=" in s)
    assert env["RECIPIENT"] == f"prog@{DOMAIN}"
    assert env["SENDER"] == "me@elsewhere.test" and env["USER"] == "sink"
    assert not set(env) - {
        "PATH", "SHELL", "HOME", "USER", "LOGNAME", "SENDER", "RECIPIENT",
        "ORIGINAL_RECIPIENT", "LOCAL", "DOMAIN", "EXTENSION", "QUEUE_ID",
        "TZ", "LANG", "LC_ALL", "home", "user", "local", "domain",
        "recipient", "extension", "recipient_delimiter", "PWD", "SHLVL",
        "_", "OLDPWD"}
    assert "\r" not in text
    assert f"Delivered-To: prog@{DOMAIN}\n" in text
    box.send("plain")
    assert box.read_out("plain").startswith("From me@elsewhere.test  ")
    box.send("file")
    box.read_out("file")
    assert os.stat(os.path.join(out, "file")).st_uid == SINK
    assert "dsn=2.0.0" in box.wait_status(box.send("void"), "sent")
    line = box.wait_status(box.send("fails"), "bounced")
    assert "dsn=5.1.1" in line and "no such thing" in line
    assert "dsn=4.3.0" in box.wait_status(box.send("later"), "deferred")
    assert "signal 9" in box.wait_status(box.send("dies"), "bounced")
    assert "dsn=4.3.0" in box.wait_status(box.send("missing"), "deferred")


def test_a_command_has_its_time_and_its_big_input(local):
    box = local("command_time_limit=10s")
    box.start(f"slow: \"|sleep 1000 & sleep 1000\"\n"
              "loud: \"|yes\"\n"
              f"eats: \"|wc -c > {box.out}/eats\"\n"
              "deaf: \"|exit 0\"\n")
    queue_ids = [box.send("slow"), box.send("loud")]
    for queue_id in queue_ids:
        line = box.wait_status(queue_id, "bounced")
        assert "time limit exceeded" in line
    text = "Subject: big\r\n\r\n" + ("x" * 70 + "\r\n") * 20000
    box.send("eats", text)
    assert int(box.read_out("eats")) > 1400000
    box.wait_status(box.send("deaf", text), "sent")


def test_an_included_file_is_a_list(local):
    box = local("home_mailbox=Maildir/")
    listed = os.path.join(box.out, "list")
    box.write(listed, SINK, "# members\nlucy\nanna@our.test,\n"
              f"\"|touch {box.out}/never\"\n")
    box.start(f"list: :include:{listed}\n"
              f"none: :include:{box.out}/absent\n")
    qid = box.send("list")
    box.wait_maildir("lucy", 1)
    box.inst.wait_messages("anna", 1)
    assert "mail to command is restricted" in box.wait_status(
        qid, "bounced")
    assert not os.path.exists(f"{box.out}/never")
    box.wait_status(box.send("none"), "deferred")


def test_forward_is_the_users_own_word(local):
    box = local("home_mailbox=Maildir/", "recipient_delimiter=+")
    ran = box.home("lucy", "ran")
    box.write(box.home("lucy", ".forward"), LUCY,
              f"\\lucy, anna@our.test\n\"|id -u > {ran}\"\n"
              f"{box.home('lucy', 'copy')}\n")
    box.write(box.home("lucy", ".forward+bob"), LUCY, "bob@our.test\n")
    box.start()
    box.wait_status(box.send("lucy"), "sent")
    box.wait_maildir("lucy", 1)
    (a,) = box.inst.wait_messages("anna", 1)
    assert f"Delivered-To: lucy@{DOMAIN}".encode() in a
    wait_until(lambda: os.path.exists(ran) and os.path.getsize(ran))
    with open(ran, encoding="ascii") as f:
        assert f.read() == f"{LUCY}\n"
    assert os.stat(box.home("lucy", "copy")).st_uid == LUCY
    box.send("lucy+bob")
    box.inst.wait_messages("bob", 1)
    box.wait_maildir("lucy", 1)


@pytest.mark.parametrize("how", ["group", "world", "owner", "link", "home",
                                 "directory"])
def test_a_forward_that_others_can_write_does_not_count(local, how):
    box = local("home_mailbox=Maildir/")
    path = box.home("lucy", ".forward")
    text = f"\"|touch {box.home('lucy', 'ran')}\"\n"
    if how == "link":
        box.write(box.home("mark", "f"), LUCY, text)
        os.symlink(box.home("mark", "f"), path)
    elif how == "directory":
        os.mkdir(path)
    else:
        box.write(path, MARK if how == "owner" else LUCY, text,
                  {"group": 0o664, "world": 0o646}.get(how, 0o644))
    if how == "home":
        os.chmod(box.home("lucy"), 0o757)
    box.start()
    box.send("lucy")
    box.wait_maildir("lucy", 1)
    assert not os.path.exists(box.home("lucy", "ran"))


def test_an_mbox_is_locked_quoted_and_bounded(local):
    box = local("home_mailbox=mbox", "mailbox_size_limit=20000").start()
    body = "Subject: q\r\n\r\nFrom here\r\n>From there\r\nFro\r\nFrom"
    qids = [box.send("lucy", body + f" {i}\r\n") for i in range(10)]
    for qid in qids:
        box.wait_status(qid, "sent")
    path = box.home("lucy", "mbox")
    box_file = mailbox.mbox(path)
    assert len(box_file) == 10
    m = box_file[0].get_payload()
    assert m.startswith(">From here\n>From there\nFro\n>From ")
    assert box_file[0].get_from().startswith("me@elsewhere.test  ")
    st = os.stat(path)
    assert st.st_uid == LUCY and stat.S_IMODE(st.st_mode) == 0o600
    assert not os.path.exists(path + ".lock")
    before = st.st_size
    line = box.wait_status(box.send(
        "lucy", "Subject: b\r\n\r\n" + "y" * 70 * 300 + "\r\n"), "bounced")
    assert "dsn=5.2.2" in line
    assert os.stat(path).st_size == before
    # somebody holds the lock: it waits for him
    with open(path + ".lock", "w", encoding="ascii"):
        pass
    qid = box.send("lucy")
    box.inst.wait_log(rf"{qid}: from=.*queue active")
    os.unlink(path + ".lock")
    box.wait_status(qid, "sent")


def test_the_lock_of_a_delivery_that_died_delays_no_other(local):
    """A power cut leaves the same name, with nobody who holds it."""
    box = local("home_mailbox=mbox").start()
    path = box.home("lucy", "mbox")
    box.wait_status(box.send("lucy"), "sent")
    with open(path, "r+b") as f:
        fcntl.lockf(f, fcntl.LOCK_EX)
        box.send("lucy")
        wait_until(lambda: os.path.exists(path + ".lock"))
        (pid,) = box.inst.pids("deliver")
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: pid not in box.inst.pids("deliver"))
    assert os.path.exists(path + ".lock")
    qid = box.send("lucy")
    line = box.wait_status(qid, "(?:sent|deferred)")
    assert "status=sent" in line
    box.inst.wait_log("mbox.lock: who made it is dead; taken over")
    wait_until(lambda: not os.path.exists(path + ".lock"))


@pytest.mark.parametrize("torn", ["From x@y  Thu Jan", "From x@y  Thu\n\nhal",
                                  "From x@y  Thu\n\nline\n", "\n", "x",
                                  "\0", "From x@y  Thu\n\nline\n\n" +
                                  "\0" * 9000],
                         ids=["separator", "field", "line", "newline",
                              "octet", "zero", "zeros"])
def test_a_message_that_a_crash_cut_swallows_no_other(local, torn):
    box = local("home_mailbox=mbox").start()
    path = box.home("lucy", "mbox")
    box.write(path, LUCY, torn, 0o600)
    for _ in range(2):
        box.wait_status(box.send("lucy"), "sent")
    with open(path, encoding="ascii") as f:
        text = f.read()
    assert text.startswith(torn.rstrip("\0")) and "\0" not in text
    assert len(re.findall(r"(?:\A|(?<=\n\n))From me@elsewhere\.test",
                          text)) == 2


def test_mail_spool_directory_holds_the_mailboxes(local):
    box = local()
    os.mkdir(box.spool)
    os.chmod(box.spool, 0o1777)
    p = box.inst.command("postconf", "-e",
                         f"mail_spool_directory={box.spool}")
    assert p.returncode == 0, p.stderr
    box.start()
    box.wait_status(box.send("lucy"), "sent")
    path = os.path.join(box.spool, "lucy")
    assert os.stat(path).st_uid == LUCY
    # a link there leads nowhere
    box.write(box.home("mark", "victim"), MARK, "untouched")
    os.symlink(box.home("mark", "victim"), os.path.join(box.spool, "mark"))
    box.wait_status(box.send("mark"), "deferred")
    with open(box.home("mark", "victim"), encoding="ascii") as f:
        assert f.read() == "untouched"


def test_mail_spool_directory_may_hold_maildirs(local):
    box = local()
    os.mkdir(box.spool)
    os.chmod(box.spool, 0o1777)
    p = box.inst.command("postconf", "-e",
                         f"mail_spool_directory={box.spool}/")
    assert p.returncode == 0, p.stderr
    box.start()
    box.wait_status(box.send("lucy"), "sent")
    (path,) = glob.glob(os.path.join(box.spool, "lucy/new/*"))
    assert os.stat(path).st_uid == LUCY


@pytest.mark.parametrize("part", ["", "new", "tmp", "cur"])
def test_a_maildir_of_somebody_else_gets_nothing(local, part):
    """Who made it could take away what comes."""
    box = local()
    os.mkdir(box.spool)
    os.chmod(box.spool, 0o1777)
    p = box.inst.command("postconf", "-e",
                         f"mail_spool_directory={box.spool}/")
    assert p.returncode == 0, p.stderr
    for name in ("", "new", "tmp", "cur"):
        path = os.path.join(box.spool, "lucy", name)
        os.mkdir(path)
        os.chmod(path, 0o777)
        uid = MARK if name == part else LUCY
        os.chown(path, uid, uid)
    box.start()
    line = box.wait_status(box.send("lucy"), "deferred")
    assert "dsn=4.2.0" in line and "belongs to another user" in line
    assert not glob.glob(os.path.join(box.spool, "lucy/*/*"))


def test_an_mbox_may_be_in_a_directory_that_cannot_be_read(local):
    """Its name is made durable by a sync of the whole file system."""
    box = local()
    hidden = os.path.join(box.out, "hidden")
    os.mkdir(hidden)
    os.chmod(hidden, 0o333)
    box.start(f"file: {hidden}/file\n")
    for _ in range(2):  # one that is missing, and one that is empty
        box.wait_status(box.send("file"), "sent")
        assert len(mailbox.mbox(f"{hidden}/file")) == 1
        os.truncate(f"{hidden}/file", 0)


def test_a_maildir_that_forward_names_is_made_and_filled(local):
    box = local("home_mailbox=mbox")
    named = box.home("lucy", "Mail", "lists")
    box.write(box.home("lucy", ".forward"), LUCY,
              f"\\lucy\n{named}/\n{named}/\n")
    box.start()
    for count in (1, 2):
        box.wait_status(box.send("lucy"), "sent")
        paths = glob.glob(os.path.join(named, "new/*"))
        assert len(paths) == count
    for path in (box.home("lucy", "Mail"), named, paths[0]):
        st = os.stat(path)
        assert st.st_uid == LUCY and stat.S_IMODE(st.st_mode) & 0o77 == 0
    with open(paths[0], "rb") as f:
        assert f"\nDelivered-To: lucy@{DOMAIN}\n".encode() in f.read()
    assert len(mailbox.mbox(box.home("lucy", "mbox"))) == 2


def processes_with(word):
    found = []
    for path in glob.glob("/proc/[0-9]*/cmdline"):
        try:
            with open(path, "rb") as f:
                if word in f.read():
                    found.append(int(path.split("/")[2]))
        except OSError:
            pass
    return found


def test_a_command_does_not_outlive_its_deliver_command(local):
    box = local("command_time_limit=600s")
    box.start("slow: \"|setsid sleep 3141592 & touch "
              f"{box.out}/began; sleep 3141592\"\n")
    box.send("slow")
    wait_until(lambda: os.path.exists(f"{box.out}/began") and
               len(processes_with(b"sleep\0003141592")) == 2)
    box.inst.stop()
    wait_until(lambda: not processes_with(b"sleep\0003141592"))


def test_a_process_that_ends_again_and_again_costs_nothing(local):
    box = local("home_mailbox=Maildir/").start()
    open_files = {}
    for _ in range(6):
        queue_id = box.send("lucy")
        pid = box.inst.wait_log(
            rf"local\[(\d+)\]: {queue_id}: to=.*status=sent")[1]
        open_files.setdefault(pid, []).append(
            len(os.listdir(f"/proc/{pid}/fd")))
        for old in box.inst.pids("deliver"):
            os.kill(old, signal.SIGKILL)
        wait_until(lambda: not box.inst.pids("deliver"))
    assert all(n[-1] <= n[0] for n in open_files.values()), open_files


def test_luser_relay_gets_what_nobody_gets(local):
    box = local("local_recipient_maps=")
    p = box.inst.command("postconf", "-e",
                         "luser_relay=anna@our.test")
    assert p.returncode == 0, p.stderr
    box.start()
    box.send("nobody-there")
    (m,) = box.inst.wait_messages("anna", 1)
    assert f"Delivered-To: nobody-there@{DOMAIN}".encode() in m


def test_mailbox_command_and_unknown_users(local):
    box = local()
    p = box.inst.command("postconf", "-e", "mailbox_command=cat > $HOME/got")
    assert p.returncode == 0, p.stderr
    box.start()
    box.wait_status(box.send("lucy"), "sent")
    with open(box.home("lucy", "got"), encoding="ascii") as f:
        assert "Subject: t" in f.read()
    assert os.stat(box.home("lucy", "got")).st_uid == LUCY
    with box.inst.smtp() as s:
        s.ehlo("x.test")
        s.mail("me@elsewhere.test")
        assert s.rcpt(f"absent@{DOMAIN}")[0] == 550
        assert s.rcpt(f"root@{DOMAIN}")[0] in (250, 550)


def test_recipients_of_one_message_do_not_wait_for_each_other(local):
    box = local("command_time_limit=600s")
    names = [f"c{i}" for i in range(6)]
    # each ends when all have begun
    box.start("".join(
        f"{n}: \"|touch {box.out}/{n}; until [ `ls {box.out} | wc -l` = 6 ]; "
        "do sleep 1; done\"\n" for n in names))
    qid = box.inst.send([f"{n}@{DOMAIN}" for n in names])
    wait_until(lambda: len(re.findall(rf"{qid}: to=.*status=sent",
                                      box.inst.log())) == 6)


def mboxes(local, *sets):
    """An instance whose users' mail is in mail_spool_directory."""
    box = local(*sets)
    os.mkdir(box.spool)
    os.chmod(box.spool, 0o1777)
    p = box.inst.command("postconf", "-e", "home_mailbox=",
                         f"mail_spool_directory={box.spool}")
    assert p.returncode == 0, p.stderr
    return box


def test_a_mailbox_in_the_spool_needs_no_home(local):
    """sink's home is /nonexistent; that of lucy comes later, with a
    .forward."""
    box = mboxes(local)
    os.rename(box.home("lucy"), box.home("away"))
    box.start()
    for name in ("sink", "lucy"):
        box.wait_status(box.send(name), "sent")
        assert len(mailbox.mbox(os.path.join(box.spool, name))) == 1
    os.rename(box.home("away"), box.home("lucy"))
    box.write(box.home("lucy", ".forward"), LUCY, "anna@our.test\n")
    box.wait_status(box.send("lucy"), "sent")
    box.inst.wait_messages("anna", 1)
    assert len(mailbox.mbox(os.path.join(box.spool, "lucy"))) == 1
    box.wait_status(box.send("sink"), "sent")
    assert "fatal" not in box.inst.log()


def test_a_mailbox_in_a_home_waits_for_the_home(local):
    box = local("home_mailbox=Maildir/")
    os.rename(box.home("lucy"), box.home("away"))
    box.start()
    line = box.wait_status(box.send("lucy"), "deferred")
    assert (f"dsn=4.2.0, status=deferred (there is no home directory "
            f"{box.home('lucy')})") in line
    os.rename(box.home("away"), box.home("lucy"))
    box.send("lucy")
    box.wait_maildir("lucy", 1)


@pytest.mark.parametrize("who", ["lucy", "anna"])
def test_a_message_above_the_limit_of_a_mailbox_comes_back(local, who):
    """In a Maildir a message is a file: mailbox_size_limit is for local
    users, virtual_mailbox_limit for virtual ones."""
    param, other = "mailbox_size_limit", "virtual_mailbox_limit"
    address = f"lucy@{DOMAIN}"
    if who == "anna":
        param, other, address = other, param, "anna@our.test"
    box = local("home_mailbox=Maildir/", f"{param}=20000", f"{other}=0")
    box.start()
    large = "Subject: b\r\n\r\n" + ("y" * 70 + "\r\n") * 300
    for text, status in ((large, "bounced"), ("Subject: s\r\n\r\n", "sent")):
        qid = box.inst.send(address, text)
        line = box.wait_status(qid, status)
        if status == "bounced":
            assert (f"dsn=5.2.3, status=bounced (message is larger than "
                    f"{param})") in line
    if who == "anna":
        (m,) = box.inst.wait_messages("anna", 1)
    else:
        (m,) = box.wait_maildir("lucy", 1)
    assert b"Subject: s" in m
