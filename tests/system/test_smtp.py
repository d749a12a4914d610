"""SMTP, submission and LMTP as clients speak them, to the mailbox."""
import re
import smtplib
import socket

import pytest

from conftest import PASSWORD


def text_of(instance, user, needle):
    """The one message of that user with that text in it."""
    from conftest import wait_until

    def find():
        return [m for m in instance.messages(user) if needle in m]
    wait_until(find, what=f"{needle!r} for {user}")
    found = find()
    assert len(found) == 1
    return found[0].replace(b"\r\n", b"\n")


def test_a_message_reaches_the_mailbox_with_its_trace(instance):
    queue_id = instance.send("bob", "Subject: trace\r\n\r\nbody\r\n")
    got = text_of(instance, "bob", b"Subject: trace")
    assert re.search(
        rb"^Received: from client\.elsewhere\.test \(localhost \[127\.0\.0\.1\]"
        rb"\)\n\tby \S+ \(Postern\) with ESMTP id " + queue_id.encode() +
        rb"\n\tfor <bob@our\.test>; \w{3}, +\d+ \w{3} \d{4} [\d:]{8} [-+]\d{4}$",
        got, re.M)
    # Relayed mail is not touched: no Date, no Message-ID, no From.
    assert not re.search(rb"(?mi)^(date|message-id|from):", got)


def test_submission_completes_what_is_missing(instance):
    with instance.submission("anna") as s:
        s.sendmail("anna@our.test", ["bob@our.test"],
                   "Subject: fixed\r\nTo: bob\r\nBcc: carol@our.test\r\n\r\nx\r\n")
    got = text_of(instance, "bob", b"Subject: fixed")
    head = got.split(b"\n\n")[0]
    assert re.search(rb"with ESMTPSA id", head)
    for field in (rb"Date: \w{3}, ", rb"Message-Id: <\S+@\S+>",
                  rb"From: anna@our\.test", rb"To: bob@\S+"):
        assert re.search(rb"(?m)^" + field, head), field
    assert b"Bcc" not in head and b"carol" not in head


def test_submission_wants_tls_and_a_login(instance):
    with smtplib.SMTP("localhost", instance.port("submission")) as s:
        s.ehlo()
        assert s.mail("anna@our.test") == \
            (530, b"5.7.0 Authentication required")
        s.starttls(context=instance.tls())
        s.ehlo()
        assert s.has_extn("auth") and not s.has_extn("starttls")
        with pytest.raises(smtplib.SMTPAuthenticationError) as e:
            s.login("anna@our.test", "wrong")
        assert e.value.smtp_code == 535
        s.login("anna@our.test", PASSWORD)
        assert s.mail("anna@our.test")[0] == 250
        assert s.rcpt("x@elsewhere.test")[0] == 250
    instance.wait_log(r"warning: \S+: SASL PLAIN authentication failed: .*"
                      r"sasl_username=anna@our\.test")


def test_submissions_speaks_tls_from_the_start(instance):
    with smtplib.SMTP_SSL("localhost", instance.port("submissions"),
                          context=instance.tls()) as s:
        s.login("anna@our.test", PASSWORD)
        s.sendmail("anna@our.test", ["carol@our.test"],
                   "Subject: wrapped\r\n\r\nx\r\n")
    assert b"with ESMTPSA" in text_of(instance, "carol", b"Subject: wrapped")


def test_lmtp_delivers(instance):
    with smtplib.LMTP("127.0.0.1", instance.port("lmtp")) as s:
        s.ehlo("c.test")
        s.mail("a@elsewhere.test")
        for user in ("bob", "carol"):
            assert s.rcpt(f"{user}@our.test")[0] == 250
        assert s.data("Subject: by lmtp\r\n\r\nx\r\n")[0] == 250
        assert s.getreply()[0] == 250  # RFC 2033 4.2: one a recipient
    for user in ("bob", "carol"):
        assert b"with LMTP id" in text_of(instance, user, b"Subject: by lmtp")


def test_chunks_of_any_size_make_the_message(instance):
    content = b"Subject: chunks\r\n\r\n.dot\r\n" + b"0123456789\r\n" * 20000
    with instance.smtp() as s:
        s.ehlo("c.test")
        assert s.has_extn("chunking")
        s.mail("a@elsewhere.test")
        s.rcpt("bob@our.test")
        for size in (1, 2, 3, 5, 8191, 65536, len(content)):
            chunk, content = content[:size], content[size:]
            last = b" LAST" if not content else b""
            s.send(b"BDAT %d%s\r\n" % (len(chunk), last) + chunk)
            assert s.getreply()[0] == 250
            if last:
                break
    got = text_of(instance, "bob", b"Subject: chunks")
    assert got.endswith(b"\n.dot\n" + b"0123456789\n" * 20000)


def test_a_large_message_arrives_whole(instance):
    line = "x" * 70 + "\r\n"
    instance.send("carol", "Subject: large\r\n\r\n" + line * 100000)
    got = text_of(instance, "carol", b"Subject: large")
    assert got.count(b"x" * 70 + b"\n") == 100000
    with instance.smtp() as s:
        s.ehlo("c.test")
        code, said = s.mail("a@x.test", ["SIZE=999999999"])
        assert (code, said[:5]) == (552, b"5.3.4")


def test_utf8_addresses_need_smtputf8(instance):
    with instance.smtp() as s:
        s.ehlo("c.test")
        assert s.has_extn("smtputf8")
        s.command_encoding = "utf-8"
        assert s.docmd("MAIL FROM:<\u00fc@x.test>")[0] == 553
        assert s.docmd("MAIL FROM:<\u00fc@x.test> SMTPUTF8")[0] == 250
        assert s.rcpt("bob@our.test")[0] == 250
        assert s.data("Subject: \u00fcber\r\n\r\nx\r\n".encode())[0] == 250
    assert b"with UTF8SMTP id" in text_of(
        instance, "bob", "Subject: \u00fcber".encode())


def test_many_recipients_of_one_message(instance):
    users = ["anna", "bob", "carol"]
    instance.send(users * 30, "Subject: to many\r\n\r\nx\r\n")
    for user in users:
        assert b"for <" not in text_of(
            instance, user, b"Subject: to many").split(b"\n\n")[0]


def test_a_dead_cleanup_costs_no_accepted_mail(instance):
    before = len(instance.messages("anna"))
    accepted = 0
    for i in range(20):
        if i % 5 == 2:
            instance.kill("cleanup")
        try:
            instance.send("anna", f"Subject: kill {i}\r\n\r\nx\r\n")
            accepted += 1
        except AssertionError as e:
            assert "451" in str(e) or "queue file write error" in str(e)
    assert accepted >= 10
    from conftest import wait_until
    wait_until(lambda: len(instance.messages("anna")) - before >= accepted,
               what="all accepted messages")


def test_stop_says_farewell_to_a_session(new_instance):
    inst = new_instance(users=("anna",))
    with socket.create_connection(("127.0.0.1", inst.port("smtp"))) as s:
        assert s.recv(100).startswith(b"220")
        inst.stop()
        assert s.recv(100).startswith(b"421 4.3.2")
        assert s.recv(100) == b""


def test_the_log_has_the_lines_that_its_readers_know(instance):
    with socket.create_connection(("127.0.0.1", instance.port("smtp")),
                                  60) as sock, sock.makefile("rb") as f:
        assert f.readline().startswith(b"220")
        sock.sendall(b"EHLO log.test\r\n")
        while not f.readline().startswith(b"250 "):
            pass
        sock.sendall(b"MAIL FROM:<s@peer.test>\r\nRCPT TO:<anna@our.test>\r\n"
                     b"RCPT TO:<x@remote.test>\r\nNONSENSE\r\nDATA\r\n")
        while not f.readline().startswith(b"354"):
            pass
        sock.sendall(b"Message-ID: <log@test>\r\n\r\nx\r\n.\r\nQUIT\r\n")
        queue_id = re.search(rb"queued as (\w+)", f.read())[1].decode()
    client = r"localhost\[127\.0\.0\.1\]"
    for line in (
            rf"smtpd\[\d+\]: connect from {client}$",
            rf"smtpd\[\d+\]: NOQUEUE: reject: RCPT from {client}: 454 4\.7\.1 "
            r"<x@remote\.test>: Relay access denied; from=<s@peer\.test> "
            r"to=<x@remote\.test> proto=ESMTP helo=<log\.test>$",
            rf"smtpd\[\d+\]: {queue_id}: client={client}$",
            rf"cleanup\[\d+\]: {queue_id}: message-id=<log@test>$",
            rf"smtpd\[\d+\]: disconnect from {client} ehlo=1 mail=1 rcpt=1/2 "
            r"data=1 quit=1 unknown=0/1 commands=5/7$"):
        instance.wait_log(line)
