"""POP3 from the greeting to the mailbox, as RFC 1939 and 2449 describe it."""
import os
import poplib
import re
import socket

import pytest

from conftest import PASSWORD, wait_until

TEXT = "Subject: %d\r\n\r\nline one\r\n.\r\n..two\r\nlast %d\r\n"


@pytest.fixture
def mail(instance):
    """Three messages for anna, nothing else in her mailbox."""
    for sub in ("new", "cur"):
        folder = os.path.join(instance.maildir("anna"), sub)
        if os.path.isdir(folder):
            for name in os.listdir(folder):
                os.unlink(os.path.join(folder, name))
    for i in range(3):
        instance.send("anna", TEXT % (i, i))
        instance.wait_messages("anna", i + 1)
    return instance


class Talk:
    """A connection as octets; commands may be sent together."""

    def __init__(self, inst, login="anna"):
        self.sock = socket.create_connection(
            ("127.0.0.1", inst.port("pop3")), timeout=60)
        self.file = self.sock.makefile("rb")
        assert self.line().startswith(b"+OK")
        if login:
            self.send(f"USER {inst.address(login)}\r\nPASS {PASSWORD}\r\n")
            assert self.line().startswith(b"+OK")
            assert self.line().startswith(b"+OK")

    def send(self, text):
        self.sock.sendall(text if isinstance(text, bytes) else text.encode())

    def line(self):
        return self.file.readline()

    def close(self):
        self.file.close()
        self.sock.close()


@pytest.mark.parametrize("tls", [False, True])
def test_sizes_are_what_is_sent(mail, tls):
    p = mail.pop3("anna", tls=tls)
    count, octets = p.stat()
    assert count == 3
    sizes = [int(row.split()[1]) for row in p.list()[1]]
    assert sum(sizes) == octets
    for i, size in enumerate(sizes):
        said, lines, _ = p.retr(i + 1)
        assert int(said.split()[1]) == size
        assert sum(len(x) + 2 for x in lines) == size
        assert lines[-4:] == [b"line one", b".", b"..two", b"last %d" % i]
        assert p.top(i + 1, 1)[1][-1] == b"line one"
    p.quit()


def test_unique_ids_last_over_sessions_and_a_restart(mail):
    p = mail.pop3("anna")
    ids = [row.split()[1] for row in p.uidl()[1]]
    assert len(set(ids)) == 3
    assert all(1 <= len(i) <= 70 for i in ids)
    p.dele(1)
    p.quit()
    mail.stop()
    mail.start()
    p = mail.pop3("anna")
    assert [row.split()[1] for row in p.uidl()[1]] == ids[1:]
    p.quit()


def test_only_quit_removes(mail):
    t = Talk(mail)
    t.send("DELE 1\r\n")
    assert t.line().startswith(b"+OK")
    t.close()
    # The lock tells when the session is over; a login waits for it, but not
    # as long as a busy machine may take.

    def login():
        try:
            return mail.pop3("anna")
        except poplib.error_proto as error:
            assert "[IN-USE]" in str(error)
            return None
    p = wait_until(login, what="the end of the session")
    assert p.stat()[0] == 3
    p.dele(1)
    p.dele(2)
    p.rset()
    p.dele(3)
    p.quit()
    assert len(mail.messages("anna")) == 2


def test_a_killed_session_removes_nothing_and_frees_the_maildrop(mail):
    p = mail.pop3("anna")
    p.dele(1)
    assert mail.kill("pop3d")
    with pytest.raises((poplib.error_proto, OSError)):
        p.noop()
    p = mail.pop3("anna")
    assert p.stat()[0] == 3
    p.quit()


def test_a_second_session_is_refused_until_the_first_quits(mail):
    p = mail.pop3("anna")
    with pytest.raises(poplib.error_proto, match=r"\[IN-USE\]"):
        mail.pop3("anna")
    p.quit()
    mail.pop3("anna").quit()


def test_imap_reads_the_same_mail_meanwhile(mail):
    p = mail.pop3("anna")
    c = mail.imap("anna")
    assert c.select("INBOX")[1] == [b"3"]
    assert c.store("2", "+FLAGS", r"(\Seen \Flagged)")[0] == "OK"
    said, lines, _ = p.retr(2)
    assert lines[-1] == b"last 1"
    p.dele(2)
    p.quit()
    assert c.noop()[0] == "OK"
    assert c.response("EXPUNGE")[1] == [b"2"]
    c.logout()


def test_commands_may_be_sent_together_also_over_the_login(mail):
    t = Talk(mail, login=None)
    t.send(f"USER {mail.address('anna')}\r\nPASS {PASSWORD}\r\n"
           "STAT\r\nRETR 1\r\nNOOP\r\nQUIT\r\n")
    for _ in range(2):
        assert t.line().startswith(b"+OK")
    assert re.match(rb"\+OK 3 \d+\r\n", t.line())
    assert re.match(rb"\+OK \d+ octets\r\n", t.line())
    while t.line() != b".\r\n":
        pass
    assert t.line().startswith(b"+OK")
    assert t.line().startswith(b"+OK")
    assert t.line() == b""
    t.close()


def test_capabilities_before_and_after_the_login(mail):
    p = poplib.POP3("127.0.0.1", mail.port("pop3"), timeout=60)
    before = p.capa()
    assert {"TOP", "UIDL", "RESP-CODES", "PIPELINING"} <= set(before)
    p.user(mail.address("anna"))
    p.pass_(PASSWORD)
    after = p.capa()
    assert {"TOP", "UIDL", "RESP-CODES", "PIPELINING"} <= set(after)
    assert "STLS" not in after
    p.quit()


# Logged in: input, then the beginning of each answer; the last one may end
# the connection.
BAD = [
    ("RETR 0", ["-ERR"]),
    ("RETR 4294967297", ["-ERR"]),
    ("RETR -1", ["-ERR"]),
    ("RETR 99999999999999999999", ["-ERR"]),
    ("TOP 1 -1", ["-ERR"]),
    ("LAST", ["-ERR"]),
    ("STAT\0", ["-ERR"]),
    ("ST\rAT", ["-ERR"]),
    ("A" * 3000, ["-ERR"]),
    ("AUTH PLAIN", ["-ERR"]),
    ("STLS", ["-ERR"]),
    ("DELE 1\r\nDELE 1\r\nRETR 1\r\nRSET", ["+OK", "-ERR", "-ERR", "+OK"]),
]


@pytest.mark.parametrize("text,answers", BAD, ids=[b[0][:30] for b in BAD])
def test_what_is_wrong_gets_err_and_the_session_goes_on(mail, text, answers):
    t = Talk(mail)
    t.send(text + "\r\nSTAT\r\nQUIT\r\n")
    for answer in answers + ["+OK 3 ", "+OK"]:
        assert t.line().startswith(answer.encode())
    t.close()
    assert len(mail.messages("anna")) == 3


def test_too_many_errors_end_the_session(mail):
    t = Talk(mail)
    t.send("XYZ\r\n" * 200)
    count = 0
    try:
        while t.line().startswith(b"-ERR"):
            count += 1
    except ConnectionResetError:
        pass
    assert 10 <= count < 50
    t.close()


def test_a_message_that_is_cut_while_it_is_sent_has_no_end(mail):
    """What came is no message: the client must not delete it as one."""
    folder = os.path.join(mail.maildir("anna"), "cur")
    path = os.path.join(folder, "1.cut.host:2,")
    owner = os.stat(folder)
    with open(path, "w", encoding="ascii") as f:
        f.write("Subject: large\n\n" + ("x" * 79 + "\n") * 600_000)
    os.chown(path, owner.st_uid, owner.st_gid)
    t = Talk(mail)
    t.send("LIST\r\n")
    assert t.line().startswith(b"+OK")
    sizes = dict(map(int, row.split()) for row in iter(t.line, b".\r\n"))
    (number,) = [n for n, size in sizes.items() if size > 48_000_000]
    before = mail.pids("pop3d")
    t.send(f"RETR {number}\r\n")
    assert t.line().startswith(b"+OK")
    os.truncate(path, 300_000)
    got = t.file.read()
    assert not got.endswith(b"\r\n.\r\n")
    mail.wait_log("a message was cut while it was sent")
    assert mail.pids("pop3d") == before
    t.close()
    os.unlink(path)
