"""Lines of the log that other programs read: fail2ban, pflogsumm, exporters.

The expressions are ours, made after what the documentation and the filters of
those programs say they look for.
"""
import re

from conftest import wait_until

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
