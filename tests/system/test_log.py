"""Lines of the log that other programs read: fail2ban, pflogsumm, exporters.

The expressions are ours, made after what the documentation and the filters of
those programs say they look for.
"""
import base64
import os
import re
import smtplib
import socket

import pytest

from conftest import PASSWORD, wait_until

# pflogsumm: the program's name behind syslog_name, then the queue id
PFLOGSUMM = re.compile(
    r"^\w{3} [ \d]\d [\d:]{8} \S+ postfix(?:/(?:smtps|submission))?/"
    r"(?P<program>[^\[:]*)\[\d+\]: (?P<id>[0-9A-F]+): to=<(?P<to>[^>]*)>, "
    r"(?:orig_to=<[^>]*>, )?relay=(?P<relay>[^,]+), (?:conn_use=[^,]+, )?"
    r"delay=(?P<delay>[^,]+), delays=[^,]+, dsn=[^,]+, status=(?P<status>\S+)"
    r" \(.*\)$", re.M)


def deliveries(inst, rcpt):
    return wait_until(lambda: [m for m in PFLOGSUMM.finditer(inst.log())
                               if m["to"] == rcpt], what=f"a line of {rcpt}")


def test_a_transport_has_the_name_of_its_program(new_instance):
    inst = new_instance(sets=["syslog_name=postfix",
                              "mydestination=local.test",
                              "relay_domains=lmtp.test error.test "
                              "discard.test smtp.test",
                              "transport_maps=inline:{"
                              "{lmtp.test = lmtp:[127.0.0.1]:1}, "
                              "{smtp.test = smtp:[127.0.0.1]:1}, "
                              "{error.test = error:5.1.1 gone}, "
                              "{discard.test = discard:}}"])
    rcpts = {"anna@our.test": ("virtual", "virtual", "sent"),
             "nobody@local.test": ("local", "local", None),
             "x@lmtp.test": ("lmtp", "none", "deferred"),
             "x@smtp.test": ("smtp", "none", "deferred"),
             "x@error.test": ("error", "none", "bounced"),
             "x@discard.test": ("discard", "none", "sent")}
    p = inst.command("sendmail", "-f", "bob@our.test", *rcpts,
                     input="Subject: s\n\nx\n")
    assert p.returncode == 0, p.stderr
    for rcpt, (program, relay, status) in rcpts.items():
        m = deliveries(inst, rcpt)[0]
        assert (m["program"], m["relay"]) == (program, relay), rcpt
        assert status is None or m["status"] == status, rcpt


# --- failed logins, as fail2ban looks for them ---

HOST = r"(?P<host>[\d.]+|[\da-fA-F:]+)"
BEGIN = r"^\w{3} [ \d]\d [\d:]{8} (?:\S+ )?"
DOVECOT = BEGIN + r"(?:dovecot|auth)(?:\[\d+\])?: (?:auth(?:-worker)?: )?" \
    r"(?:(?:pop3|imap)-login: )?(?:Info: )?"
BAD_LOGIN = [re.compile(DOVECOT + s, re.M) for s in (
    r"(?:Aborted login|Disconnected)(?::(?: [^ \(\n]+)+)? "
    r"\(auth failed, \d+ attempts(?: in \d+ secs)?\):"
    r"(?: user=<[^>\n]*>,)?(?: method=\S+,)? rip=" + HOST +
    r"(?:[^>\n]*(?:, session=<\S+>)?)\s*$",
    r"[a-z-]{3,15}\(\S*," + HOST + r"(?:,\S*)?\): "
    r"(?:[Uu]nknown user|[Pp]assword mismatch|invalid credentials)")]
BAD_SASL = re.compile(
    BEGIN + r"postfix(?:-\w+)?/\w+(?:/smtp[ds])?(?:\[\d+\])?: warning: "
    r"[^\[\n]*\[" + HOST + r"\](?::\d+)?: SASL (?:LOGIN|PLAIN|"
    r"(?:CRAM|DIGEST)-MD5) authentication failed:"
    r"(?! Connection lost to authentication server| Invalid authentication "
    r"mechanism)", re.M | re.I)


def talk(port, lines):
    """Says each line when the one before was answered; to the end."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as s, \
            s.makefile("rb") as f:
        f.readline()
        for line in lines:
            s.sendall(line.encode() + b"\r\n")
            f.readline()
        s.shutdown(socket.SHUT_WR)
        f.read()


@pytest.fixture(name="watched")
def watched_fixture(new_instance):
    return new_instance(sets=["syslog_name=postfix", "imap_log_style=dovecot",
                              "auth_failure_delay=0"])


# A name that was made to look like the end of a line, with another address.
EVIL = "x>, rip=192.0.2.7, session=<y"


@pytest.mark.parametrize("user", ["anna@our.test", "nobody@our.test", EVIL])
@pytest.mark.parametrize("protocol", ["imap", "pop3"])
def test_fail2ban_sees_who_guesses_passwords(watched, protocol, user):
    inst = watched
    talk(inst.port(protocol), [f'a LOGIN "{user}" wrong']
         if protocol == "imap" else [f"USER {user}", "PASS wrong"])
    inst.wait_log(r"Disconnected: .*auth failed, 1 attempts")
    for line in BAD_LOGIN:
        (m,) = wait_until(lambda line=line: list(line.finditer(inst.log())),
                          what=line.pattern)
        assert m["host"] == "127.0.0.1"


def test_the_name_of_a_user_is_no_address_to_ban(watched):
    inst = watched
    for user in ("x,192.0.2.7): unknown user", "x,192.0.2.7): (", "x,192.0.2.7",
                 "x) rip=192.0.2.7, "):
        talk(inst.port("imap"), [f'a LOGIN "{user}" wrong'])
    wait_until(lambda: len(re.findall("auth failed", inst.log())) == 4)
    for line in BAD_LOGIN:
        assert [m["host"] for m in line.finditer(inst.log())] == \
            ["127.0.0.1"] * 4


def test_fail2ban_sees_sasl_failures(watched):
    inst = watched
    inst.stop()
    # as Debian's master.cf has it
    path = os.path.join(inst.etc, "master.cf")
    with open(path, encoding="utf-8") as f:
        text = f.read()
    assert "syslog_name=postern/submission" in text
    with open(path, "w", encoding="utf-8") as f:
        f.write(text.replace("syslog_name=postern/", "syslog_name=postfix/"))
    inst.start()
    fail_sasl(inst)
    wait_until(lambda: len(list(BAD_SASL.finditer(inst.log()))) >= 2)
    assert [m["host"] for m in BAD_SASL.finditer(inst.settled_log())] == \
        ["127.0.0.1"] * 2
    assert re.search(r"postfix/submission/smtpd\[\d+\]: warning: .*SASL PLAIN "
                     r".*, sasl_username=anna@our.test$", inst.log(), re.M)


def fail_sasl(inst):
    with smtplib.SMTP("127.0.0.1", inst.port("submission"), timeout=60) as c:
        c.starttls(context=inst.tls())
        c.ehlo()
        for text in ("PLAIN " + base64.b64encode(
                b"\0anna@our.test\0wrong").decode(), "LOGIN " +
                base64.b64encode(b"anna@our.test").decode()):
            code, _ = c.docmd("AUTH", text)
            if code == 334:
                code, _ = c.docmd(base64.b64encode(b"wrong").decode())
            assert code == 535, text


# --- sessions, as readers of Dovecot's log know them ---

SESSION = r"^.* dovecot\[\d+\]: {0}\(anna@our\.test\)<\d+><(\S+)>: " \
    r"Disconnected: Logged out {1}$"


def test_sessions_begin_and_end_with_dovecots_lines(watched):
    inst = watched
    p = inst.command("sendmail", "anna@our.test",
                     input="Subject: s\n\n" + "line\n" * 10)
    assert p.returncode == 0
    inst.wait_messages("anna", 1)
    c = inst.imap("anna")
    c.select()
    c.logout()
    m = inst.wait_log(SESSION.format("imap", r"in=(\d+) out=(\d+)"))
    assert int(m[2]) > 10 and int(m[3]) > 30
    inst.wait_log(r" dovecot\[\d+\]: imap-login: Login: user=<anna@our.test>, "
                  r"method=\S+, rip=127.0.0.1, lip=127.0.0.1, session=<"
                  + re.escape(m[1]) + ">$")
    c = inst.pop3("anna")
    size = c.list()[1][0].split()[1].decode()
    whole = c.retr(1)[2]
    head = c.top(1, 2)[2]
    c.dele(1)
    c.quit()
    assert whole == int(size) > head > 0
    m = inst.wait_log(SESSION.format(
        "pop3", rf"top=1/(\d+), retr=1/{size}, del=1/1, size={size}"))
    assert int(m[2]) == head
    inst.wait_log(r" dovecot\[\d+\]: pop3-login: Login: user=<anna@our.test>, "
                  r"method=\S+, rip=127.0.0.1, lip=127.0.0.1, session=<"
                  + re.escape(m[1]) + ">$")


def test_without_that_style_programs_have_their_own_names(new_instance):
    inst = new_instance(users=["anna"])
    inst.imap("anna").logout()
    inst.wait_log(r" postern/imap-login\[\d+\]: Login: user=<anna@our.test>")
    inst.wait_log(r" postern/imapd\[\d+\]: imap\(anna@our.test\)<\d+><\S+>: "
                  r"Disconnected: Logged out in=")
