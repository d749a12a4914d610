"""Bad input to us as a server: every row of tests/badinputs is answered as
it says, and does what it says.

Each row is replayed whole and one octet a packet, in plain and under TLS,
all against one instance and many at a time. Each replay has an address of
its own (127.64.0.0/10): the log and Received: tell by it whose a message is.
IMAP and POP3 users are a replay's own too.
"""
import os
import re

import pytest
from conftest import PASSWORD, is_sanitized, make_instance, wait_until

import badtalk
import relaynet
from badtalk import table

PROTOCOLS = ("smtp", "submission", "lmtp", "imap", "pop3")
VARIANTS = ("whole", "octets", "tls-whole", "tls-octets")
# One octet a packet is for inputs up to this size, and for these rows.
OCTETS_MAX = 4096
LARGE_IN_OCTETS = {"SMTP-144", "SMTP-178", "IMAP-053"}
# What the end of the test run says of that (conftest.py).
VARIANTS_NOTE = f"one octet a packet: inputs under {OCTETS_MAX} octets and " + \
    " ".join(sorted(LARGE_IN_OCTETS))
# In each mailbox of IMAP and POP3 from the beginning.
MAIL = [b"From: a@peer.test\r\nSubject: one\r\n\r\n.\r\n..\r\n.x\r\nend\r\n",
        b"From: a@peer.test\nSubject: two\n\n.\nbare\n.\n",
        b"Subject: three\r\n\r\n" + b"line\r\n" * 10]


def size(row):
    return sum(len(data) for verb, data in table.steps(row.input)
               if verb == "send")


def variants(row):
    """Those that the row's protocol and state allow."""
    script = [verb for verb, _ in table.steps(row.input)]
    plain_only = row.state.startswith("P:") or "TLS" in script or \
        "NOWAIT" in script
    octets = "NEST" not in script and "WHOLE" not in script and (
        size(row) < OCTETS_MAX or row.id in LARGE_IN_OCTETS)
    for variant in VARIANTS:
        if variant.startswith("tls"):
            if plain_only:
                continue
        elif row.state == "T":
            continue
        if variant.endswith("octets") and not octets:
            continue
        yield variant


JOBS = {(row.id, variant): row for protocol in PROTOCOLS
        for row in table.rows(protocol) if row.status.startswith("replay")
        for variant in variants(row)}
NUMBERS = {job: i for i, job in enumerate(JOBS)}


def source(job):
    """The address that a replay comes from; those of P: rows may not log in
    without TLS."""
    number = NUMBERS[job] + 1
    net = 32 if JOBS[job].state.startswith("P:") else 64
    return f"127.{net + number // 62500}.{number // 250 % 250}." \
           f"{number % 250 + 1}"


def own_user(job):
    return f"r{NUMBERS[job]}@local.test"


def has_own_user(row):
    return row.protocol in ("imap", "pop3") and row.state in ("A", "S")


def add_users(inst):
    """A line in the users file and a mailbox with MAIL for each."""
    with open(os.path.join(inst.etc, "users"), encoding="utf-8") as f:
        uid, gid = f.read().splitlines()[-1].split(":")[2:4]
    with open(os.path.join(inst.etc, "users"), "a", encoding="utf-8") as f:
        for job, row in JOBS.items():
            if not has_own_user(row):
                continue
            name = own_user(job).split("@", maxsplit=1)[0]
            f.write(f"{name}@local.test:{{PLAIN}}{PASSWORD}:{uid}:{gid}::"
                    f"local.test/{name}:\n")
            box = inst.maildir(name)
            made = [os.path.dirname(box), box]
            for sub in ("tmp", "new", "cur"):
                made.append(os.path.join(box, sub))
            for path in made:
                os.makedirs(path, 0o700, exist_ok=True)
                os.chown(path, int(uid), int(gid))
            for i, text in enumerate(MAIL):
                path = os.path.join(box, "new", f"{1000 + i}.M{i}.probe")
                with open(path, "wb") as g:
                    g.write(text)
                os.chown(path, int(uid), int(gid))


@pytest.fixture(scope="module")
def sink():
    """Where everything for others goes."""
    server = relaynet.Sink("127.0.0.1", relaynet.free_port())
    yield server
    server.end()


@pytest.fixture(scope="module")
def server(sink):
    inst = make_instance(
        ("user", "user2"), domain="local.test", start=False, sets=(
            "smtpd_error_sleep_time=0", "smtpd_peername_lookup=no",
            "smtpd_sender_restrictions=reject_sender_login_mismatch",
            f"relayhost=[127.0.0.1]:{sink.port}",
            "plaintext_login_networks=127.64.0.0/10",
            "auth_failure_delay=0", "smtpd_login_failure_limit=10"))
    add_users(inst)
    inst.start()
    yield inst
    inst.end()


def replay(inst, job):
    row = JOBS[job]
    tls, octets = job[1].startswith("tls"), job[1].endswith("octets")
    implicit = badtalk.IMPLICIT.get(row.protocol)
    port = inst.port(implicit if tls and implicit else row.protocol)
    user = own_user(job) if has_own_user(row) else "user@local.test"
    return badtalk.replay(row, port, source(job), user, tls, octets,
                          implicit is not None)


@pytest.fixture(scope="module")
def results(server, request):
    """Of all replays that were selected."""
    wanted = {item.callspec.params["job"] for item in request.session.items
              if hasattr(item, "callspec") and
              "job" in item.callspec.params}
    return badtalk.run_all([j for j in JOBS if j in wanted],
                           lambda job: replay(server, job))


ADDRESS = re.compile(rb"\[(127\.(?:32|64)\.\d+\.\d+)\]")


def first_address(text):
    """The client's address in the topmost Received: that has one."""
    m = ADDRESS.search(text)
    return m.group(1).decode() if m else None


class Deliveries:
    """What became of all replays: {address: [message]} in the mailboxes of
    user and user2, and at the sink."""

    def __init__(self, inst, sink):
        inst.settled_log()      # tells what was taken
        wait_until(lambda: self.is_over(inst), 300,
                   what="the end of all deliveries")
        self.mailed, self.relayed = {}, {}
        for user in ("user", "user2"):
            for text in inst.messages(user):
                self.mailed.setdefault(first_address(text), []).append(text)
        for t in sink.got:
            self.relayed.setdefault(first_address(t.data), []).append(t)

    @staticmethod
    def is_over(inst):
        log = inst.log()
        taken = set(re.findall(r"smtpd\[\d+\]: (\w+): client=", log)) | \
            set(re.findall(r"qmgr\[\d+\]: (\w+): from=", log))
        return taken <= set(re.findall(r"qmgr\[\d+\]: (\w+): removed", log))


@pytest.fixture(scope="module")
def deliveries(server, sink, results):
    return Deliveries(server, sink)


def count_is(said, count):
    """said: "3" or "0..1"."""
    low, _, high = said.partition("..")
    return int(low) <= count <= int(high or low)


def own_effects(inst, job):
    """Of a replay with a user of its own: what the files say."""
    box = inst.maildir(own_user(job))
    return {"messages": len(inst.messages(own_user(job))),
            "folders": sum(name.startswith(".") and
                           os.path.isdir(os.path.join(box, name))
                           for name in os.listdir(box))}


def found_effects(inst, deliveries, job):
    if has_own_user(JOBS[job]):
        return own_effects(inst, job)
    mailed = deliveries.mailed.get(source(job), [])
    relayed = deliveries.relayed.get(source(job), [])
    return {"messages": len(mailed), "relayed": len(relayed),
            "stored": [text.decode("latin-1") for text in mailed],
            "sent": [t.data.decode("latin-1") for t in relayed]}


@pytest.mark.parametrize("job", JOBS, ids="/".join)
def test_row(server, results, deliveries, job):
    row, result = JOBS[job], results[job]
    if isinstance(result, Exception):
        raise result
    got = badtalk.compared(row, result.replies)
    assert re.search(table.conversation(row.reply), got), \
        f"want {row.reply}\ngot\n{got[:3000]}"
    found = found_effects(server, deliveries, job)
    for name, said in table.effects(row).items():
        if name == "end":
            assert result.end == said, f"{result.end}, not {said}\n{got[:999]}"
        elif name in ("stored", "sent"):
            assert found[name] and all(re.search(said, text)
                                       for text in found[name]), found[name]
        else:
            assert count_is(said, found[name]), f"{name}={found[name]}"


def own_part(text):
    """A message without what differs with each delivery: what we put in
    front of it."""
    m = re.match(rb"(?:(?:Return-Path|Delivered-To|Received):[^\n]*\n"
                 rb"(?:[ \t][^\n]*\n)*)*", text)
    return text[m.end():]


def test_nothing_was_smuggled(results, deliveries):
    """No message that its client did not send; each is the same, however its
    octets were cut into packets."""
    ours = {source(job): job for job in results}
    stored = {}
    for address, texts in deliveries.mailed.items():
        assert address in ours, texts
        for text in texts:
            head = text.split(b"\n\n", maxsplit=1)[0]
            assert b"Subject: SMUGGLED" not in head
            assert not re.search(rb"\r", text)
            stored.setdefault(ours[address][0], set()).add(own_part(text))
    for address, made in deliveries.relayed.items():
        assert address in ours
        for t in made:
            assert not re.search(rb"(?<!\r)\n|\r(?!\n)", t.data)
    if len(results) == len(JOBS):
        assert stored
    assert {row: len(texts) for row, texts in stored.items()
            if len(texts) > 1} == {}


def test_what_we_say_is_lines(results):
    """SMTP, LMTP and POP3: CR LF at the end of each, and no other CR or LF
    whatever came in."""
    bad = [job for job, result in results.items()
           if JOBS[job].protocol != "imap" and
           not isinstance(result, Exception) and
           re.search(rb"(?<!\r)\n|\r(?!\n)", result.raw)]
    assert bad == []


def test_nothing_was_made_outside(server, results, deliveries):
    """Folders lie in the users' mailboxes, and users are those we made."""
    del results, deliveries
    mail = os.path.dirname(server.maildir("user"))
    users = {own_user(job).split("@", maxsplit=1)[0]
             for job, row in JOBS.items() if has_own_user(row)}
    assert set(os.listdir(os.path.dirname(mail))) == {"local.test"}
    assert set(os.listdir(mail)) <= users | {"user", "user2"}
    assert not os.path.exists("/etc/x") and not os.path.exists("/tmp/pwn")


def test_nothing_died(server, results, deliveries):
    """Nor gave up: nobody had to be started anew."""
    del results, deliveries
    assert not re.search(r"panic|fatal:|process \S+ (killed|exit)|died before",
                         server.settled_log())


def peak(pid):
    """kB, or 0: it ended."""
    try:
        with open(f"/proc/{pid}/status", encoding="ascii") as f:
            return int(re.search(r"^VmHWM:\s+(\d+)", f.read(), re.M)[1])
    except (OSError, TypeError):
        return 0


@pytest.mark.skipif(is_sanitized(), reason="a sanitizer's memory is not ours")
def test_what_was_said_cost_little_memory(server, results, deliveries):
    """Lines without an end, literals of 4 GB, nested lists: the most that a
    process ever had, all sessions together. (auth hashes passwords.)"""
    del results, deliveries
    for program, most in (("smtpd", 32), ("cleanup", 16), ("login", 32),
                          ("lookup", 16), ("auth", 128), ("imapd", 16),
                          ("pop3d", 16), ("qmgr", 16), ("deliver", 16)):
        for pid in server.pids(program):
            assert peak(pid) < most * 1024, f"{program}: {peak(pid)} kB"


def test_the_catalogue_keeps_its_rules():
    """Every id exists, in the file where it belongs, and each row can be
    read."""
    assert len(table.catalogue()) == 449
    assert table.lint() == []
