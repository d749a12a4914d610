"""IMAP through the whole suite: login, the user's process, its walls."""
import glob
import imaplib
import os
import re
import socket

import pytest
from conftest import PASSWORD, wait_until

from imaptalk import Talk


class SessionTalk(Talk):
    """Logged in by whatever way the test asks for."""

    def __init__(self, instance, user, tls=False):
        self.tls = instance.tls() if tls else None
        super().__init__(instance.port("imaps" if tls else "imap"),
                         instance.address(user), f'"{PASSWORD}"')

    def wrap(self, sock):
        if self.tls is None:
            return sock
        return self.tls.wrap_socket(sock, server_hostname="localhost")


@pytest.fixture
def talk(instance):
    made = []

    def make(user="anna", tls=False):
        made.append(SessionTalk(instance, user, tls))
        return made[-1]

    yield make
    for t in made:
        t.close()


@pytest.mark.parametrize("tls", [False, True])
def test_a_login_leads_to_the_users_mailboxes(talk, instance, tls):
    t = talk(tls=tls)
    assert t.login.status == "OK"
    assert t.login.text.startswith("[CAPABILITY IMAP4rev1 ")
    t.ok("SELECT INBOX")
    message = "Subject: hello\r\n\r\n" + "x" * 70 + "\r\n"
    assert t.append(message * 2000).status == "OK"
    a = t.ok("FETCH * BODY.PEEK[]")
    assert (message * 2000) in a.untagged[-1]
    assert glob.glob(os.path.join(instance.maildir("anna"), "cur", "*"))


def test_commands_that_came_with_the_login_are_answered(instance):
    with socket.create_connection(("127.0.0.1", instance.port("imap")),
                                  60) as s:
        s.sendall(f'a LOGIN {instance.address("anna")} "{PASSWORD}"\r\n'
                  "b SELECT INBOX\r\nc LOGOUT\r\n".encode())
        got = b""
        while (piece := s.recv(65536)):
            got += piece
    assert re.findall(rb"^([abc]) (\w+)", got, re.M) == [
        (b"a", b"OK"), (b"b", b"OK"), (b"c", b"OK")]


def test_sessions_of_a_user_share_a_process(talk, instance):
    before = len(instance.pids("imapd"))
    for t in [talk() for _ in range(8)]:
        t.ok("NOOP")
    # One for each process of auth, at most.
    assert len(instance.pids("imapd")) <= before + 2


def test_users_do_not_meet(talk):
    talk("anna").ok("CREATE hers")
    t = talk("bob")
    assert not t.ok('LIST "" hers').untagged
    assert t.cmd("SELECT ../anna/INBOX").status == "NO"


def test_a_delivery_wakes_idle(talk, instance):
    t = talk("carol")
    t.ok("SELECT INBOX")
    t.send("i IDLE\r\n")
    assert t.response().startswith("+")
    instance.send("carol", "Subject: wake up\r\n\r\nnow\r\n")
    assert t.response() == "* 1 EXISTS"
    assert t.response() == "* 1 RECENT"
    t.send("DONE\r\n")
    assert t.answer("i").status == "OK"
    assert t.ok("FETCH 1 BODY.PEEK[HEADER]").of("Subject: wake up\r\n")


def test_inotify_is_allowed_and_used(talk, instance):
    t = talk("carol")
    t.ok("SELECT INBOX")
    t.send("i IDLE\r\n")
    assert t.response().startswith("+")

    def watched():
        for pid in instance.pids("imapd"):
            for fd in glob.glob(f"/proc/{pid}/fd/*"):
                try:
                    if "inotify" in os.readlink(fd):
                        return True
                except OSError:
                    pass
        return False
    wait_until(watched, what="a watch")


def test_kill_9_of_the_users_process_loses_no_message(talk, instance):
    t = talk("bob")
    assert t.append("Subject: kept\r\n\r\nx\r\n").status == "OK"
    instance.kill("imapd")
    t = talk("bob")
    t.ok("SELECT INBOX")
    assert t.ok("FETCH 1:* BODY.PEEK[HEADER]").of("Subject: kept")


def test_a_wrong_password_is_refused(instance):
    c = imaplib.IMAP4("127.0.0.1", instance.port("imap"), timeout=60)
    with pytest.raises(imaplib.IMAP4.error):
        c.login(instance.address("anna"), "wrong")
    c.logout()


def test_stop_says_bye(new_instance):
    instance = new_instance()
    t = SessionTalk(instance, "anna")
    t.ok("SELECT INBOX")
    assert instance.stop().returncode == 0
    assert t.response().startswith("* BYE ")


def test_a_message_that_is_cut_while_it_is_fetched_ends_that_session_alone(
        new_instance):
    """By its owner, with a shell: what imapd has of it is no memory any
    more."""
    # (where no process of another user ends meanwhile)
    instance = new_instance(users=["bob"])
    other, t = SessionTalk(instance, "bob"), SessionTalk(instance, "bob")
    other.ok("SELECT INBOX")
    assert t.append("Subject: first\r\n\r\nx\r\n").status == "OK"
    folder = os.path.join(instance.maildir("bob"), "cur")
    path = os.path.join(folder, "1.cut.host:2,")
    owner = os.stat(folder)
    with open(path, "w", encoding="ascii") as f:
        f.write("Subject: large\n\n" + ("x" * 79 + "\n") * 600_000)
    os.chown(path, owner.st_uid, owner.st_gid)
    a = t.ok("SELECT INBOX")
    number = a.one(r"^(\d+) EXISTS").group(1)
    before = instance.pids("imapd")
    t.send(f"x FETCH {number} BODY.PEEK[]\r\n")
    announced = int(re.search(r"\{(\d+)\}$", t.line())[1])
    assert announced > 48_000_000
    os.truncate(path, 300_000)
    got = t.rest(60)
    assert len(got) < announced and "x OK" not in got[-100:]
    instance.wait_log("was cut while it was read")
    other.ok("NOOP")
    assert instance.pids("imapd") == before
    # Now it is what it is.
    assert "{3" in other.ok(f"FETCH {number} BODY.PEEK[]").untagged[-1][:60]
    for session in (other, t):
        session.close()
