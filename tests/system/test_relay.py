"""Mail that leaves: DNS, SMTP and LMTP to other hosts."""
import glob
import re
import socket
import threading
import time

import pytest

import relaynet
from conftest import wait_until

ZONES = {
    "two.test": "@ IN MX 10 mx1\n@ IN MX 20 mx2\n"
                "mx1 IN A 127.0.0.71\nmx2 IN A 127.0.0.72",
    "one.test": "@ IN MX 5 mx\nmx IN A 127.0.0.71",
    "equal.test": "@ IN MX 5 a\n@ IN MX 5 b\n"
                  "a IN A 127.0.0.71\nb IN A 127.0.0.72",
    "implicit.test": "@ IN A 127.0.0.71",
    "alias.test": "host IN CNAME mx.one.test.\n@ IN MX 5 host",
    "null.test": "@ IN MX 0 .",
    "nohost.test": "@ IN MX 5 gone",
    "loop.test": "@ IN MX 5 mail.our.test.\n@ IN MX 9 mx.one.test.",
    "down.test": "@ IN MX 5 mx\nmx IN A 127.0.0.79",
}


@pytest.fixture(scope="module")
def names():
    server = relaynet.NameServer(ZONES)
    yield server
    server.end()


@pytest.fixture(scope="module")
def port():
    return relaynet.free_port(host="127.0.0.71")


@pytest.fixture
def sinks(port):
    made = []

    def make(host="127.0.0.71", **kw):
        kind = kw.pop("kind", relaynet.Sink)
        made.append(kind(host, kw.pop("port", port), **kw))
        return made[-1]

    yield make
    for sink in made:
        sink.end()


@pytest.fixture
def relay(new_instance, names, port):
    def make(*sets):
        return new_instance(users=("anna",), sets=(
            "mynetworks=127.0.0.0/8", "inet_protocols=ipv4",
            f"dns_servers=127.0.0.1@{names.port}",
            "dns_trust_anchor_file=", f"smtp_tcp_port={port}") + sets)
    return make


def delivered(log, queue_id, rcpt, status, program):
    return re.search(
        rf"^.*postern/{program}\[\d+\]: {queue_id}: to=<{re.escape(rcpt)}>, "
        r"relay=(?P<relay>\S+), (conn_use=\d+, )?delay=[\d.]+, "
        r"delays=[\d.]+/[\d.]+/[\d.]+/[\d.]+, dsn=(?P<dsn>\d\.\d+\.\d+), "
        rf"status={status} \((?P<text>.*)\)$", log, re.M)


def wait_status(inst, queue_id, rcpt, status, program="smtp"):
    return wait_until(lambda: delivered(inst.log(), queue_id, rcpt, status,
                                        program),
                      what=f"{status} for {rcpt}")


def flush(inst, queue_id):
    """Once it is deferred: one that is just being deferred is not tried."""
    wait_until(lambda: glob.glob(f"{inst.dir}/spool/deferred/*/{queue_id}"),
               what="deferral")
    assert inst.command("postqueue", "-f").returncode == 0


def test_the_preferred_mx_gets_it(relay, sinks):
    one, two = sinks(), sinks("127.0.0.72")
    inst = relay()
    qid = inst.send("r@two.test", "Subject: hi\r\n\r\n.dot\r\n..\r\nend\r\n",
                    sender="anna@our.test")
    line = wait_status(inst, qid, "r@two.test", "sent")
    assert line["relay"].startswith("mx1.two.test[127.0.0.71]:")
    assert line["dsn"] == "2.0.0"
    assert line["text"] == "250 2.0.0 Ok: queued as S1"
    assert not two.got
    got, = one.got
    assert got.sender.startswith("MAIL FROM:<anna@our.test> SIZE=")
    assert got.rcpts == ["RCPT TO:<r@two.test>"]
    assert got.data.endswith(b"\r\n\r\n..dot\r\n...\r\nend\r\n")
    assert re.search(rb"^Received: from ", got.data)


def test_the_next_mx_is_tried_when_the_first_is_away(relay, sinks):
    two = sinks("127.0.0.72")
    inst = relay()
    qid = inst.send("r@two.test")
    line = wait_status(inst, qid, "r@two.test", "sent")
    assert line["relay"].startswith("mx2.two.test[127.0.0.72]:")
    assert len(two.got) == 1
    assert re.search(r"connect to mx1\.two\.test\[127\.0\.0\.71\]:\d+: "
                     "Connection refused", inst.log())


def test_the_next_mx_is_tried_when_the_first_is_busy(relay, sinks):
    sinks(replies={"GREETING": "421 4.3.2 busy"})
    two = sinks("127.0.0.72")
    inst = relay()
    qid = inst.send("r@two.test")
    assert wait_status(inst, qid, "r@two.test", "sent")["relay"].startswith(
        "mx2")
    assert len(two.got) == 1


@pytest.mark.parametrize("domain,host", [
    ("implicit.test", "implicit.test"), ("alias.test", "host.alias.test"),
    ("[127.0.0.71]", "127.0.0.71")])
def test_names_lead_to_hosts(relay, sinks, domain, host):
    sink = sinks()
    inst = relay()
    qid = inst.send(f"r@{domain}")
    line = wait_status(inst, qid, f"r@{domain}", "sent")
    assert line["relay"].startswith(f"{host}[127.0.0.71]:")
    assert len(sink.got) == 1


def test_what_has_no_server_comes_back(relay):
    inst = relay()
    for domain, dsn, text in [
            ("null.test", "5.1.10", "Domain null.test does not accept mail"),
            ("nohost.test", "5.4.4", "Host or domain name not found. Name "
             "service error for name=gone.nohost.test type=A: Host not found"),
            ("nowhere.two.test", "5.4.4", "Host or domain name not found. "
             "Name service error for name=nowhere.two.test type=MX: Host not "
             "found"),
            ("loop.test", "5.4.6", "mail for loop.test loops back to "
             "myself")]:
        qid = inst.send(f"r@{domain}", sender="anna@our.test")
        line = wait_status(inst, qid, f"r@{domain}", "bounced")
        assert line["dsn"] == dsn
        assert line["text"].startswith(text)
        assert line["relay"] == "none"
    notices = inst.wait_messages("anna", 4)
    assert all(b"Final-Recipient: rfc822; r@" in n for n in notices)
    assert any(b"5.1.10" in n for n in notices)


def test_each_recipient_has_its_own_result(relay, sinks):
    sink = sinks(replies={
        "RCPT TO:<no@": "550 5.1.1 no such user",
        "RCPT TO:<later@": "450 4.2.1 mailbox busy"})
    inst = relay()
    qid = inst.send(["yes@one.test", "no@one.test", "later@one.test"],
                    sender="anna@our.test")
    wait_status(inst, qid, "yes@one.test", "sent")
    line = wait_status(inst, qid, "no@one.test", "bounced")
    assert line["dsn"] == "5.1.1"
    assert line["text"] == (
        "host mx.one.test[127.0.0.71] said: 550 5.1.1 no such user "
        "(in reply to RCPT TO command)")
    line = wait_status(inst, qid, "later@one.test", "deferred")
    assert line["dsn"] == "4.2.1"
    notice, = inst.wait_messages("anna", 1)
    assert b"no@one.test" in notice and b"later@one.test" not in notice
    assert b"550 5.1.1 no such user" in notice
    sink.replies.clear()
    flush(inst, qid)
    wait_status(inst, qid, "later@one.test", "sent")
    assert [t.rcpts for t in sink.got] == [
        ["RCPT TO:<yes@one.test>"], ["RCPT TO:<later@one.test>"]]


def test_a_name_server_that_is_away_defers(new_instance, sinks, port):
    sink = sinks()
    names = relaynet.NameServer(ZONES)
    try:
        inst = new_instance(users=("anna",), sets=(
            "mynetworks=127.0.0.0/8", "inet_protocols=ipv4",
            f"dns_servers=127.0.0.1@{names.port}", "dns_timeout=2s",
            "minimal_backoff_time=1s", "maximal_backoff_time=1s",
            "queue_run_delay=1s",
            "dns_trust_anchor_file=", f"smtp_tcp_port={port}"))
        names.stop()
        qid = inst.send("r@one.test")
        line = wait_status(inst, qid, "r@one.test", "deferred")
        assert line["dsn"] == "4.4.3"
        assert "type=MX: Host not found, try again" in line["text"]
        names.start()
        wait_status(inst, qid, "r@one.test", "sent")
        assert len(sink.got) == 1
    finally:
        names.end()


def test_without_a_name_server_nothing_is_asked(new_instance, port):
    inst = new_instance(users=("anna",), sets=(
        "mynetworks=127.0.0.0/8", "dns_servers=127.0.0.1@1",
        "dns_timeout=1s", "dns_trust_anchor_file=",
        f"smtp_tcp_port={port}"))
    qid = inst.send("r@one.test")
    assert wait_status(inst, qid, "r@one.test", "deferred")["dsn"] == "4.4.3"


def test_starttls_is_used_when_offered(relay, sinks, tmp_path):
    sink = sinks(certificate=relaynet.certificate(str(tmp_path)))
    inst = relay("smtp_tls_loglevel=1")
    qid = inst.send("r@one.test")
    wait_status(inst, qid, "r@one.test", "sent")
    got, = sink.got
    assert got.tls
    assert [x.split(" ")[0] for x in sink.lines[:4]] == [
        "EHLO", "STARTTLS", "EHLO", "MAIL"]
    assert re.search(r"Untrusted TLS connection established to "
                     r"mx\.one\.test\[127\.0\.0\.71\]:\d+: TLSv1\.[23] with "
                     "cipher", inst.log())


def test_a_certificate_is_verified_when_that_is_asked_for(relay, sinks,
                                                          tmp_path):
    pair = relaynet.certificate(str(tmp_path), "mx.one.test")
    sink = sinks(certificate=pair)
    inst = relay("smtp_tls_security_level=verify",
                 f"smtp_tls_CAfile={pair[0]}")
    tmp_path.chmod(0o755)
    qid = inst.send(["r@one.test", "r@two.test"])
    wait_status(inst, qid, "r@one.test", "sent")
    # the same server by another name
    line = wait_status(inst, qid, "r@two.test", "deferred")
    assert line["dsn"].startswith("4.")
    assert len(sink.got) == 1 and sink.got[0].tls


def test_tls_that_is_required_and_not_offered_defers(relay, sinks):
    sink = sinks()
    inst = relay("smtp_tls_security_level=encrypt")
    qid = inst.send("r@one.test")
    line = wait_status(inst, qid, "r@one.test", "deferred")
    assert line["dsn"] == "4.7.4"
    assert line["text"] == ("TLS is required, but was not offered by host "
                            "mx.one.test[127.0.0.71]")
    assert not sink.got and not any(x.startswith("MAIL") for x in sink.lines)


def test_a_relayhost_gets_everything_and_sessions_are_kept(relay, sinks):
    sink = sinks(kind=relaynet.SlowSink)
    inst = relay("relayhost=[127.0.0.71]")
    ids = [inst.send(f"r{i}@d{i}.test") for i in range(30)]
    sink.go.set()       # all wait for it: none is late for a kept session
    for i, qid in enumerate(ids):
        wait_status(inst, qid, f"r{i}@d{i}.test", "sent")
    assert len(sink.got) == 30
    assert sink.sessions < 30
    assert "conn_use=2" in inst.log()


def test_lmtp_delivers_for_each_recipient(relay, sinks, port, tmp_path):
    sink = sinks(lmtp=True, replies={"RCPT TO:<no@": "550 5.1.1 nobody"})
    inst = relay("lmtp_destination_recipient_limit=10",
                 f"transport_maps=inline:{{ one.test=lmtp:[127.0.0.71]:{port}"
                 " }")
    qid = inst.send(["a@one.test", "b@one.test", "no@one.test"])
    wait_status(inst, qid, "a@one.test", "sent", program="lmtp")
    wait_status(inst, qid, "b@one.test", "sent", program="lmtp")
    assert wait_status(inst, qid, "no@one.test", "bounced",
                       program="lmtp")["dsn"] == "5.1.1"
    assert sink.lines[0].startswith("LHLO ")
    assert sum(len(t.rcpts) for t in sink.got) == 2


def test_a_bare_newline_never_leaves(relay, sinks):
    sink = sinks()
    inst = relay()
    with socket.create_connection(("127.0.0.1", inst.port("smtp")), 60) as s:
        f = s.makefile("rb")
        f.readline()
        for line in (b"HELO x\r\n", b"MAIL FROM:<anna@our.test>\r\n",
                     b"RCPT TO:<r@one.test>\r\n", b"DATA\r\n"):
            s.sendall(line)
            reply = f.readline()
            while reply[3:4] == b"-":
                reply = f.readline()
            assert reply[:1] in b"23", reply
        s.sendall(b"Subject: x\r\n\r\na\n.\nMAIL FROM:<b@our.test>\r\n"
                  b"b\r.\rc\r\n.\n\r\n.\r\n")
        assert f.readline().startswith(b"250")
    wait_until(lambda: sink.got, what="the message")
    got, = sink.got
    assert re.fullmatch(rb"([^\r\n]*\r\n)*", got.data)
    assert b"\r\nMAIL FROM:<b@our.test>\r\n" in got.data
    assert len([x for x in sink.lines if x.startswith("MAIL")]) == 1


@pytest.mark.parametrize("reply", ["451 4.3.0 not now", None])
def test_an_unanswered_dot_defers_and_is_sent_again(relay, sinks, reply):
    sink = sinks(replies={"END": reply})
    inst = relay("minimal_backoff_time=1s")
    qid = inst.send("r@one.test")
    line = wait_status(inst, qid, "r@one.test", "deferred")
    if reply is None:
        assert line["dsn"] == "4.4.2"
        assert "message may be sent more than once" in line["text"]
    else:
        assert "in reply to end of DATA command" in line["text"]
    sink.replies.clear()
    inst.command("postqueue", "-f")     # or at its time, a second later
    wait_status(inst, qid, "r@one.test", "sent")


def test_no_message_is_lost_when_smtp_and_dns_are_killed(relay, sinks):
    sink = sinks()
    inst = relay("minimal_backoff_time=1s", "maximal_backoff_time=2s",
                 "queue_run_delay=1s")
    rcpts = [f"r{i}@{d}" for i in range(60)
             for d in ("one.test", "equal.test")]
    stop = threading.Event()

    def killer():
        while not stop.wait(0.3):
            inst.kill("smtp")
            inst.kill("dns")

    thread = threading.Thread(target=killer)
    sinks("127.0.0.72")
    thread.start()
    try:
        ids = {}
        for r in rcpts:
            ids[r] = inst.send(r)
    finally:
        time.sleep(1)
        stop.set()
        thread.join()
    inst.command("postqueue", "-f")
    for r, qid in ids.items():
        wait_status(inst, qid, r, "sent")
    assert sink.got
