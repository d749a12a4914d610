"""The queue: retry, expiry, notifications, and what survives a death."""
import email
import email.policy
import os
import socketserver
import subprocess
import threading
import time

import pytest

from conftest import free_port, wait_until

QUICK = ["minimal_backoff_time=1s", "maximal_backoff_time=2s",
         "queue_run_delay=1s"]


class Sink(socketserver.ThreadingTCPServer):
    """A next hop that keeps what it gets, or refuses it."""
    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, port=0, refuse=None, features=()):
        self.mails, self.rcpts, self.refuse = [], [], refuse
        self.features = features
        super().__init__(("127.0.0.1", port), Conversation)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def port(self):
        return self.server_address[1]


class Conversation(socketserver.StreamRequestHandler):
    def say(self, text):
        self.wfile.write(text.encode() + b"\r\n")

    def handle(self):
        self.say("220 sink ESMTP")
        rcpts = []
        for line in self.rfile:
            verb = line.split(b" ")[0].strip().upper().split(b":")[0]
            if verb == b"QUIT":
                self.say("221 bye")
                return
            if verb == b"RCPT":
                if self.server.refuse:
                    self.say(self.server.refuse)
                else:
                    rcpts.append(line)
                    self.server.rcpts.append(line)
                    self.say("250 2.1.5 ok")
            elif verb == b"DATA" and rcpts:
                self.say("354 go")
                text = b""
                while not text.endswith(b"\r\n.\r\n"):
                    piece = self.rfile.readline()
                    if not piece:
                        return
                    text += piece
                self.server.mails.append(text)
                self.say("250 2.0.0 taken")
                rcpts = []
            elif verb == b"EHLO":
                for word in ("sink", *self.server.features):
                    self.say(f"250-{word}")
                self.say("250 HELP")
            elif verb == b"DATA":
                self.say("503 5.5.1 no recipient")
            else:
                self.say("250 ok")


def relaying(new_instance, port, *sets, **kw):
    return new_instance(users=("anna", "bob"), sets=[
        f"relayhost=[127.0.0.1]:{port}", "mynetworks=127.0.0.0/8",
        *QUICK, *sets], **kw)


def maildir(instance, user):
    path = instance.values["maildir"].replace("%d", instance.domain)
    return os.path.join(path.replace("%n", user), "new")


def mails(instance, user):
    path = maildir(instance, user)
    out = []
    for name in sorted(os.listdir(path)) if os.path.isdir(path) else []:
        with open(os.path.join(path, name), "rb") as f:
            out.append(email.message_from_binary_file(
                f, policy=email.policy.default))
    return out


def wait_mail(instance, user, count=1):
    return wait_until(lambda: len(mails(instance, user)) >= count and
                      mails(instance, user), what=f"mail for {user}")


def spool(instance, *parts):
    return os.path.join(instance.dir, "spool", *parts)


def report_of(mail):
    """Fields of a notification's second part: message, then recipients."""
    assert mail.get_content_type() == "multipart/report"
    assert mail.get_param("report-type") == "delivery-status"
    parts = list(mail.iter_parts())
    assert len(parts) == 3
    assert parts[1].get_content_type() == "message/delivery-status"
    return parts, parts[1].get_payload()


def test_a_deferred_message_goes_when_its_next_hop_answers(new_instance):
    port = free_port()
    i = relaying(new_instance, port)
    qid = i.send("far@away.test", sender=i.address("anna"))
    i.wait_log(rf"{qid}: to=<far@away.test>.*status=deferred")
    wait_until(lambda: os.listdir(spool(i, "deferred")))
    sink = Sink(port)
    i.wait_log(rf"{qid}: to=<far@away.test>.*status=sent")
    i.wait_log(rf"{qid}: removed")
    assert len(sink.mails) == 1
    assert b"\r\nbody\r\n" in sink.mails[0]
    wait_until(lambda: not [n for _, _, f in os.walk(spool(i, "deferred"))
                            for n in f])


def test_a_message_that_is_too_old_is_returned(new_instance):
    i = relaying(new_instance, free_port(), "maximal_queue_lifetime=2s")
    qid = i.send("far@away.test", sender=i.address("anna"))
    mail = wait_mail(i, "anna")[0]
    i.wait_log(rf"{qid}: from=<{i.address('anna')}>, status=expired, "
               "returned to sender")
    i.wait_log(rf"{qid}: sender non-delivery notification: \w+")
    i.wait_log(rf"{qid}: removed")
    parts, fields = report_of(mail)
    assert mail["Return-Path"] == "<>"
    assert mail["Auto-Submitted"] == "auto-replied"
    assert fields[0]["Reporting-MTA"].startswith("dns; ")
    assert fields[1]["Final-Recipient"] == "rfc822; far@away.test"
    assert fields[1]["Action"] == "failed"
    assert fields[1]["Status"].startswith("4.")
    assert parts[2].get_content_type() == "message/rfc822"
    assert parts[2].get_payload(0)["Subject"] == "test"


def test_a_refusal_is_quoted_in_the_notification(new_instance):
    sink = Sink(refuse="550 5.7.99 we do not like you")
    i = relaying(new_instance, sink.port)
    i.send(["far@away.test", "bob"], sender=i.address("anna"))
    _, fields = report_of(wait_mail(i, "anna")[0])
    assert len(fields) == 2  # bob has his mail and is not in it
    assert fields[1]["Status"] == "5.7.99"
    assert fields[1]["Diagnostic-Code"].startswith("smtp; 550 5.7.99 we do")
    assert len(wait_mail(i, "bob")) == 1


def test_a_long_message_comes_back_without_its_body(new_instance):
    sink = Sink(refuse="550 5.1.1 who")
    i = relaying(new_instance, sink.port, "bounce_size_limit=3000")
    i.send("far@away.test", sender=i.address("anna"),
           text="Subject: long one\r\n\r\n" + "0123456789\r\n" * 400)
    parts, _ = report_of(wait_mail(i, "anna")[0])
    assert parts[2].get_content_type() == "text/rfc822-headers"
    text = parts[2].get_content()
    assert "Subject: long one" in text and "0123456789" not in text


def test_nothing_is_returned_to_nobody(new_instance):
    sink = Sink(refuse="550 5.1.1 who")
    i = relaying(new_instance, sink.port)
    qid = i.send("far@away.test", sender="")
    i.wait_log(rf"{qid}: undeliverable notification discarded")
    i.wait_log(rf"{qid}: removed")
    assert "non-delivery notification" not in i.log()


def test_an_agent_may_forget_what_nobody_is_told_of(new_instance):
    """Else it would hold the result for ever, and not end when all stop."""
    inst = new_instance(sets=["virtual_mailbox_maps=static:all"])
    inst.send("nobody", sender="")
    inst.wait_log(r"undeliverable notification discarded")
    inst.wait_log(r": removed$")
    assert inst.stop().returncode == 0
    assert "does not end" not in inst.log()


def send_with(instance, rcpt, options, sender):
    """One message with ESMTP parameters at RCPT; the queue id."""
    with instance.smtp() as s:
        s.ehlo("client.elsewhere.test")
        assert s.mail(sender)[0] == 250
        assert s.rcpt(rcpt, options)[0] == 250
        code, said = s.data("Subject: test\r\n\r\nbody\r\n")
        assert code == 250
        return said.split()[-1].decode()


@pytest.mark.parametrize("where", ["delivered", "relayed"])
def test_success_is_told_when_it_was_asked_for(new_instance, where):
    sink = Sink()
    i = relaying(new_instance, sink.port)
    rcpt = i.address("bob") if where == "delivered" else "far@away.test"
    send_with(i, rcpt, ["NOTIFY=SUCCESS", "ORCPT=rfc822;who+2Bx@orig.test"],
              i.address("anna"))
    parts, fields = report_of(wait_mail(i, "anna")[0])
    assert fields[1]["Action"] == where
    assert fields[1]["Original-Recipient"] == "rfc822;who+x@orig.test"
    assert fields[1]["Status"].startswith("2.")
    assert parts[2].get_content_type() == "text/rfc822-headers"


def test_a_next_hop_that_notifies_is_left_to_it(new_instance):
    sink = Sink(features=["DSN"])
    i = relaying(new_instance, sink.port)
    qid = send_with(i, "far@away.test", ["NOTIFY=SUCCESS"],
                    i.address("anna"))
    i.wait_log(rf"{qid}: removed")
    assert b"NOTIFY=SUCCESS" in sink.rcpts[0]
    assert "delivery status notification" not in i.log()


def test_never_means_never(new_instance):
    sink = Sink(refuse="550 5.1.1 who")
    i = relaying(new_instance, sink.port)
    qid = send_with(i, "far@away.test", ["NOTIFY=NEVER"], i.address("anna"))
    i.wait_log(rf"{qid}: to=.*status=bounced")
    i.wait_log(rf"{qid}: removed")
    assert "notification" not in i.log()


def test_the_postmaster_gets_copies_when_told_to(new_instance):
    sink = Sink(refuse="550 5.1.1 who")
    i = relaying(new_instance, sink.port, "notify_classes=bounce,2bounce",
                 "bounce_notice_recipient=bob@our.test")
    i.send("far@away.test", sender=i.address("anna"))
    copy = wait_mail(i, "bob")[0]
    assert copy["Subject"].startswith("Postmaster Copy")
    report_of(copy)
    qid = i.send("far@away.test", sender="")
    i.wait_log(rf"{qid}: postmaster non-delivery notification: \w+")
    i.wait_log(rf"{qid}: removed")
    assert len(wait_mail(i, "bob", 2)) == 2
    assert len(mails(i, "anna")) == 1


def test_the_sender_is_told_once_of_a_delay(new_instance):
    i = relaying(new_instance, free_port(), "delay_warning_time=1s")
    qid = i.send("far@away.test", sender=i.address("anna"))
    i.wait_log(rf"{qid}: sender delay notification: \w+")
    parts, fields = report_of(wait_mail(i, "anna")[0])
    assert fields[1]["Action"] == "delayed"
    assert parts[2].get_content_type() == "text/rfc822-headers"
    before = i.log().count("status=deferred")
    wait_until(lambda: i.log().count("status=deferred") >= before + 2)
    assert len(mails(i, "anna")) == 1


def send_many(instance, count, done, start=0):
    """Numbered messages to bob; those that were acknowledged go to done."""
    for n in range(start, start + count):
        try:
            instance.send("bob", text=f"Subject: n{n}\r\n\r\nx\r\n")
            done.append(n)
        except (OSError, AssertionError):
            time.sleep(0.05)
        except Exception:  # smtplib's own
            time.sleep(0.05)


def numbers(instance):
    return sorted(int(m["Subject"][1:]) for m in mails(instance, "bob"))


@pytest.mark.parametrize("program", ["qmgr", "cleanup", "local", "bounce"])
def test_no_death_of_a_program_loses_accepted_mail(new_instance, program):
    i = new_instance(users=("anna", "bob"), sets=QUICK)
    done = []
    threads = [threading.Thread(target=send_many, args=(i, 100, done, k))
               for k in range(0, 400, 100)]
    for t in threads:
        t.start()
    for _ in range(5):
        time.sleep(0.15)
        i.kill(program)
    for t in threads:
        t.join()
    got = wait_until(lambda: set(numbers(i)) >= set(done) and numbers(i),
                     what="every acknowledged message")
    if program == "qmgr":  # agents tell the next one what they have
        time.sleep(3)
        got = numbers(i)
        assert len(got) == len(set(got))


def test_a_restart_delivers_what_was_waiting(new_instance):
    port = free_port()
    i = relaying(new_instance, port)
    ids = [i.send("far@away.test", sender=i.address("anna"))
           for _ in range(20)]
    for qid in ids:
        i.wait_log(rf"{qid}: to=.*status=deferred")
    i.stop()
    sink = Sink(port)
    i.start()
    wait_until(lambda: len(sink.mails) >= 20, what="20 mails")
    for qid in ids:
        i.wait_log(rf"{qid}: removed")
    assert len(sink.mails) == 20


def test_a_damaged_file_stops_nobody(new_instance):
    port = free_port()
    i = relaying(new_instance, port)
    bad, good = (i.send("far@away.test", sender=i.address("anna"))
                 for _ in range(2))
    for qid in (bad, good):
        i.wait_log(rf"{qid}: to=.*status=deferred")
    i.stop()
    where = subprocess.run(["find", spool(i, "deferred"), "-name", bad],
                           capture_output=True, text=True,
                           check=True).stdout.strip()
    with open(where, "r+b") as f:
        f.seek(1030)
        f.write(b"\xff\xff\xff\xff")
    sink = Sink(port)
    i.start()
    i.wait_log(rf"{good}: to=.*status=sent")
    i.wait_log(rf"{bad}: damaged .*, moved to corrupt/")
    assert os.listdir(spool(i, "corrupt")) == [bad]
    assert len(sink.mails) == 1


def test_a_file_that_was_never_committed_is_removed(new_instance):
    i = new_instance(users=("anna",))
    i.stop()
    for name in os.listdir(spool(i, "incoming")):
        os.unlink(spool(i, "incoming", name))
    owner = os.stat(spool(i, "incoming"))
    for name, text in (("1234ABCD0001", b""), ("1234ABCD0002", b"Postern")):
        with open(spool(i, "incoming", name), "wb") as f:
            f.write(text)
        os.chown(f.name, owner.st_uid, owner.st_gid)
    i.start()
    wait_until(lambda: not set(os.listdir(spool(i, "incoming"))) &
               {"1234ABCD0001", "1234ABCD0002"}, what="their end")
