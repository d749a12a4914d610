"""IMAP sessions as RFC 3501 and its extensions describe them."""
import os
import re
import time

import pytest

from conftest import free_port
from imaptalk import BareServer, Gone, Talk

PORT = free_port()

SIMPLE = ("From: Ann <ann@a.test>\r\nTo: bob@b.test\r\n"
          "Subject: simple %d\r\nDate: Mon, 7 Feb 1994 21:52:25 -0800\r\n"
          "Message-ID: <%d@a.test>\r\n\r\nHello %d\r\n")
MULTI = ("From: Ann <ann@a.test>\r\nTo: bob@b.test\r\nSubject: multi\r\n"
         "Date: Tue, 8 Feb 1994 21:52:25 -0800\r\nMIME-Version: 1.0\r\n"
         "Content-Type: multipart/mixed; boundary=b\r\n\r\npre\r\n"
         "--b\r\nContent-Type: text/plain; charset=utf-8\r\n\r\npart one\r\n"
         "--b\r\nContent-Type: message/rfc822\r\n\r\n"
         "From: inner@c.test\r\nSubject: inside\r\n\r\ninner body\r\n"
         "--b--\r\nepilogue\r\n")


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    server = BareServer(PORT, str(tmp_path_factory.mktemp("imap") / "mail"))
    yield server
    server.stop()


@pytest.fixture
def server(shared):
    """The one server with nothing in it but an empty INBOX."""
    with shared.talk() as t:
        for m in t.ok('LIST "" *').of(r'^LIST \(.*?\) "." "(.*)"$'):
            if m.group(1) != "INBOX":
                t.cmd(f'DELETE "{m.group(1)}"')
        for m in t.ok('LSUB "" *').of(r'^LSUB \(.*?\) "." "(.*)"$'):
            t.ok(f'UNSUBSCRIBE "{m.group(1)}"')
        t.ok("SELECT INBOX")
        if t.ok("SEARCH ALL").untagged[0] != "SEARCH":
            t.ok("STORE 1:* FLAGS.SILENT (\\Deleted)")
            t.ok("EXPUNGE")
    return shared


@pytest.fixture
def t(server):
    with server.talk() as talk:
        yield talk


def fill(t, n, mailbox="INBOX"):
    for i in range(1, n + 1):
        assert t.append(SIMPLE % (i, i, i), mailbox).status == "OK"


def numbers(answer):
    return [int(x) for x in answer.one(r"^SEARCH(.*)").group(1).split()]


def body(answer, label):
    m = answer.one("(?i)" + re.escape(label) + r" \{(\d+)\}\r\n")
    return m.string[m.end():m.end() + int(m.group(1))]


# --- any state ---

def test_login_is_answered_with_the_capabilities(t):
    assert t.login.status == "OK"
    told = re.match(r"\[CAPABILITY (.*?)\]", t.login.text).group(1).split()
    asked = t.ok("CAPABILITY").one("^CAPABILITY (.*)").group(1).split()
    assert told == asked
    assert {"IMAP4rev1", "IDLE", "UIDPLUS", "LITERAL+", "NAMESPACE",
            "UNSELECT", "ID"} <= set(told)
    assert not {"STARTTLS", "LOGINDISABLED"} & set(told)


def test_noop_and_logout(t):
    assert t.ok("NOOP").untagged == []
    a = t.ok("LOGOUT")
    assert a.of("^BYE ")
    with pytest.raises(Gone):
        t.response()


def test_id_is_exchanged(t):
    assert t.ok("ID NIL").of(r'^ID \("name" ')
    assert t.ok('ID ("name" "x" "version" NIL)').of("^ID ")
    assert t.cmd("ID (%s)" % " ".join(['"k" "v"'] * 31)).status == "BAD"
    assert t.cmd('ID ("k" "%s")' % ("v" * 1025)).status == "BAD"


def test_logging_in_again_is_refused(t):
    for c in ("LOGIN a b", "AUTHENTICATE PLAIN", "STARTTLS"):
        assert t.cmd(c).status == "BAD"


def test_namespace_and_enable(t):
    assert t.ok("NAMESPACE").untagged == [
        'NAMESPACE (("" ".")) NIL NIL']
    assert t.ok("ENABLE X-NOTHING").untagged == ["ENABLED"]
    assert t.cmd("ENABLE").status == "BAD"


def test_pipelined_commands_are_answered_in_order(t):
    t.send("x1 NOOP\r\nx2 STATUS INBOX (MESSAGES)\r\nx3 SELECT INBOX\r\n"
           "x4 FETCH 1 FLAGS\r\nx5 NOOP\r\n")
    tags = []
    while len(tags) < 5:
        r = t.response()
        if not r.startswith("*"):
            tags.append(r.split()[0])
    assert tags == ["x1", "x2", "x3", "x4", "x5"]


def test_twenty_bad_commands_end_the_session(t):
    for i in range(20):
        t.send(f"b{i} XYZZY\r\n")
    text = t.rest()
    assert text.count(" BAD ") == 20
    assert "* BYE " in text.splitlines()[-1]


def test_a_good_command_between_bad_ones_keeps_the_session(t):
    for _ in range(3):
        for _ in range(15):
            assert t.cmd("XYZZY").status == "BAD"
        t.ok("NOOP")


# --- mailboxes ---

def test_select_tells_the_state_of_the_mailbox(t):
    fill(t, 3)
    with Talk(PORT) as other:
        a = other.ok("SELECT INBOX")
        assert a.text.startswith("[READ-WRITE]")
        assert a.one(r"^(\d+) EXISTS").group(1) == "3"
        assert a.one(r"^(\d+) RECENT").group(1) == "3"
        assert a.one(r"UNSEEN (\d+)\]").group(1) == "1"
        assert a.of(r"^FLAGS \(\\Answered \\Flagged \\Deleted \\Seen "
                    r"\\Draft")
        assert a.of(r"^OK \[PERMANENTFLAGS \(.*\\\*\)\]")
        validity = int(a.one(r"UIDVALIDITY (\d+)\]").group(1))
        uidnext = int(a.one(r"UIDNEXT (\d+)\]").group(1))
        assert validity > 0 and uidnext > 3
        other.ok("STORE 1:2 +FLAGS.SILENT (\\Seen)")
        a = other.ok("EXAMINE INBOX")
        assert a.text.startswith("[READ-ONLY]")
        assert a.one(r"UNSEEN (\d+)\]").group(1) == "3"
        assert a.of(r"^OK \[PERMANENTFLAGS \(\)\]")
        assert a.one(r"UIDVALIDITY (\d+)\]").group(1) == str(validity)


def test_recent_belongs_to_the_first_session_that_selects(t):
    fill(t, 2)
    with Talk(PORT) as a, Talk(PORT) as b:
        assert b.ok("EXAMINE INBOX").one(r"^(\d+) RECENT")[1] == "2"
        assert a.ok("SELECT INBOX").one(r"^(\d+) RECENT")[1] == "2"
        assert a.ok("FETCH 1 FLAGS").of(r"\\Recent")
        assert b.ok("SELECT INBOX").one(r"^(\d+) RECENT")[1] == "0"


def test_a_failed_select_deselects(t):
    t.ok("SELECT INBOX")
    a = t.cmd("SELECT missing")
    assert a.status == "NO" and a.text.startswith("[NONEXISTENT]")
    assert t.cmd("FETCH 1 FLAGS").status == "BAD"


def test_an_examined_mailbox_cannot_be_changed(t):
    fill(t, 1)
    t.ok("EXAMINE INBOX")
    for c in ("STORE 1 +FLAGS (\\Seen)", "EXPUNGE", "MOVE 1 INBOX"):
        assert t.cmd(c).status == "NO", c
    t.ok("FETCH 1 BODY[]")
    assert not t.ok("FETCH 1 FLAGS").of(r"\\Seen")
    t.ok("CLOSE")


def test_create_delete_rename(t):
    t.ok("CREATE a.b.c")
    a = t.cmd("CREATE a.b.c")
    assert a.text == "[ALREADYEXISTS] The mailbox exists"
    t.ok("CREATE trailing.")
    listed = {m.group(2): m.group(1) for m in t.ok('LIST "" *').of(
        r'^LIST \((.*?)\) "." "(.*)"$')}
    assert set(listed) == {"INBOX", "a", "a.b", "a.b.c", "trailing"}
    assert "\\HasChildren" in listed["a.b"]
    assert "\\HasNoChildren" in listed["a.b.c"]
    t.ok("RENAME a.b x.y")
    assert {m[1] for m in t.ok('LIST "" x.*').of(r'"([^"]*)"$')} == {
        "x.y", "x.y.c"}
    t.ok("DELETE x.y.c")
    a = t.cmd("DELETE x.y.c")
    assert a.status == "NO" and a.text.startswith("[NONEXISTENT]")
    assert t.cmd("DELETE inbox").status == "NO"
    assert t.cmd("CREATE inbox").status == "NO"
    assert t.cmd("RENAME nothing else").text.startswith("[NONEXISTENT]")
    t.ok("CREATE there")
    assert t.cmd("RENAME x.y there").text.startswith("[ALREADYEXISTS]")
    assert t.cmd("RENAME there there.below").status == "NO"


def test_renaming_inbox_moves_its_messages(t):
    fill(t, 2)
    t.ok("RENAME INBOX old")
    assert t.ok("STATUS old (MESSAGES)").of(r"MESSAGES 2\)")
    assert t.ok("STATUS INBOX (MESSAGES)").of(r"MESSAGES 0\)")


def test_uidvalidity_grows_when_a_mailbox_is_made_again(t):
    seen = []
    for _ in range(3):
        t.ok("CREATE again")
        fill(t, 1, "again")
        m = t.ok("STATUS again (UIDVALIDITY UIDNEXT)").one(
            r"UIDNEXT (\d+) UIDVALIDITY (\d+)")
        seen.append(int(m.group(2)))
        t.ok("DELETE again")
    assert seen == sorted(set(seen))


def test_list_patterns(t):
    for name in ("a", "a.b", "a.b.c", "z"):
        t.ok(f"CREATE {name}")

    def names(reference, pattern):
        return [m[1] for m in t.ok(f'LIST "{reference}" {pattern}').of(
            r'"([^"]*)"$')]
    assert t.ok('LIST "" ""').untagged == ['LIST (\\Noselect) "." ""']
    assert names("", "*") == ["INBOX", "a", "a.b", "a.b.c", "z"]
    assert names("", "%") == ["INBOX", "a", "z"]
    assert names("", "a.%") == ["a.b"]
    assert names("a.", "*") == ["a.b", "a.b.c"]
    assert names("a.", "%") == ["a.b"]
    assert names("", "inbox") == ["INBOX"]
    assert names("", '"*.%"') == ["a.b", "a.b.c"]
    assert names("", "nothing") == []
    assert names("", "{1+}\r\nz") == ["z"]


def test_a_missing_parent_is_listed_but_cannot_be_selected(t):
    t.ok("CREATE p.q")
    t.cmd("DELETE p")
    a = t.ok('LIST "" %').one(r'^LIST \((.*)\) "." "p"$')
    assert "\\Noselect" in a[1] and "\\HasChildren" in a[1]
    assert t.cmd("SELECT p").status == "NO"


def test_subscriptions(t):
    t.ok("CREATE s.one")
    for name in ("INBOX", "s.one", "s.one", "gone.away"):
        t.ok(f"SUBSCRIBE {name}")
    lsub = {m[2]: m[1] for m in t.ok('LSUB "" *').of(
        r'^LSUB \((.*?)\) "." "(.*)"$')}
    assert set(lsub) == {"INBOX", "s.one", "gone.away"}
    # RFC 3501 6.3.9: the level above, with \Noselect.
    lsub = {m[2]: m[1] for m in t.ok('LSUB "" %').of(
        r'^LSUB \((.*?)\) "." "(.*)"$')}
    assert lsub == {"INBOX": "", "s": "\\Noselect", "gone": "\\Noselect"}
    for pattern in ("s", "*s", "gon*e"):    # only "%" asks for it
        assert not t.ok(f'LSUB "" "{pattern}"').untagged
    t.ok("UNSUBSCRIBE s.one")
    t.ok("UNSUBSCRIBE s.one")
    assert not t.ok('LSUB "" s.*').untagged


def test_list_extended(t):
    for name in ("Sent", "f", "f.g", "f.h"):
        t.ok(f"CREATE {name}")
    t.ok("SUBSCRIBE f.g")
    t.ok("SUBSCRIBE not.there")

    def rows(command):
        return {m[2]: m[1] + m[3] for m in t.ok(command).of(
            r'^LIST \((.*?)\) "." "([^"]*)"(.*)$')}
    r = rows('LIST (SUBSCRIBED) "" *')
    assert set(r) == {"f.g", "not.there"}
    assert "\\Subscribed" in r["f.g"] and "\\NonExistent" in r["not.there"]
    r = rows('LIST (SUBSCRIBED RECURSIVEMATCH) "" %')
    assert set(r) == {"f", "not"}
    assert '("CHILDINFO" ("SUBSCRIBED"))' in r["f"]
    assert set(rows('LIST "" ("f.%" "Se*")')) == {"Sent", "f.g", "f.h"}
    assert set(rows('LIST (SPECIAL-USE) "" *')) == {"Sent"}
    assert "\\Sent" in rows('LIST "" Sent')["Sent"]
    r = rows('LIST "" f.% RETURN (SUBSCRIBED CHILDREN)')
    assert "\\Subscribed" in r["f.g"]
    assert "\\Subscribed" not in r["f.h"]
    assert rows('LIST () "" ""') == {}
    for bad in ('LIST (RECURSIVEMATCH) "" *', 'LIST (NONSENSE) "" *',
                'LIST "" * RETURN (NONSENSE)', 'LIST "" * RETURN'):
        assert t.cmd(bad).status == "BAD", bad


def test_list_with_status(t):
    t.ok("CREATE st")
    fill(t, 2, "st")
    a = t.ok('LIST "" (INBOX st) RETURN (STATUS (MESSAGES UNSEEN))')
    assert a.of(r'^STATUS "st" \(MESSAGES 2 UNSEEN 2\)')
    assert a.of(r'^STATUS "INBOX" \(MESSAGES 0 UNSEEN 0\)')


def test_status(t):
    fill(t, 2)
    a = t.ok("STATUS INBOX (MESSAGES RECENT UIDNEXT UIDVALIDITY UNSEEN)")
    assert a.of(r'^STATUS "INBOX" \(MESSAGES 2 RECENT 2 UIDNEXT \d+ '
                r'UIDVALIDITY \d+ UNSEEN 2\)$')
    assert t.cmd("STATUS none (MESSAGES)").text.startswith("[NONEXISTENT]")
    for bad in ("STATUS INBOX ()", "STATUS INBOX", "STATUS INBOX (X)",
                "STATUS INBOX MESSAGES"):
        assert t.cmd(bad).status == "BAD", bad


def test_mailbox_names_are_checked(t):
    for name in ("../../etc/x", "/etc/x", '"a/../../b"', '"~root/x"',
                 '"&AGE-"', '"&////"', '"&Jjo"', "x" * 5000,
                 "x." * 1000, "a..b", ".a", '""', '"a\tb"',
                 "{3+}\r\na\nb"):
        a = t.cmd(f"CREATE {name}")
        assert a.status in ("NO", "BAD"), name
    t.ok('CREATE "&Jjo-"')
    assert t.ok('LIST "" *').of(r'"&Jjo-"$')
    for name in ("cur", "new", "tmp"):
        t.ok(f"CREATE {name}")
        t.ok(f"SELECT {name}")
    assert t.ok("STATUS INBOX (MESSAGES)").of("MESSAGES 0")


def test_a_deleted_mailbox_does_not_break_who_has_it_open(t):
    t.ok("CREATE doomed")
    fill(t, 1, "doomed")
    t.ok("SELECT doomed")
    with Talk(PORT) as other:
        other.ok("DELETE doomed")
    t.cmd("NOOP")
    assert t.cmd("FETCH 1 BODY[]").status in ("OK", "NO")
    t.ok("SELECT INBOX")


# --- APPEND ---

def test_append_gives_the_uid(t):
    a = t.append(SIMPLE % (1, 1, 1), "INBOX",
                 '(\\Seen $Label) "17-Jul-1996 02:44:25 -0700" ')
    assert a.status == "OK"
    validity, uid = map(int, re.match(
        r"\[APPENDUID (\d+) (\d+)\]", a.text).groups())
    s = t.ok("SELECT INBOX")
    assert s.of(rf"UIDVALIDITY {validity}\]")
    f = t.ok(f"UID FETCH {uid} (FLAGS INTERNALDATE RFC822.SIZE)")
    m = f.one(r'FETCH \(UID (\d+) FLAGS \((.*?)\) INTERNALDATE "(.*?)" '
              r"RFC822.SIZE (\d+)\)$")
    assert int(m[1]) == uid and int(m[4]) == len(SIMPLE % (1, 1, 1))
    assert {"\\Seen", "$Label"} <= set(m[2].split())
    when = time.strptime(m[3].strip(), "%d-%b-%Y %H:%M:%S %z")
    assert (time.mktime(when[:8] + (0,)) - time.timezone
            - when.tm_gmtoff) == 837596665


def test_what_was_appended_comes_back_octet_for_octet(t):
    message = ("Subject: x\r\n\r\n" + "".join(
        f".line {i} \xe4\t\r\n" for i in range(5000)) + "no end")
    assert t.append(message).status == "OK"
    t.ok("SELECT INBOX")
    assert body(t.ok("FETCH 1 BODY.PEEK[]"), "BODY[]") == message
    assert t.ok("FETCH 1 RFC822.SIZE").of(f"RFC822.SIZE {len(message)}")


def test_append_to_nowhere_says_trycreate(t):
    a = t.append("x: y\r\n\r\n", "nowhere")
    assert a.status == "NO" and a.text.startswith("[TRYCREATE]")
    a = t.cmd("APPEND nowhere {8+}\r\nx: y\r\n\r\n")
    assert a.status == "NO" and a.text.startswith("[TRYCREATE]")
    t.ok("NOOP")


def test_append_is_refused_cleanly(t):
    for c in ('APPEND INBOX "99-Foo-9999 99:99:99 +9999" {1}',
              "APPEND INBOX (\\Recent) {1}", "APPEND INBOX {x}",
              "APPEND INBOX", "APPEND INBOX (\\Seen", "APPEND INBOX ~{1}",
              "APPEND INBOX {1}x"):
        assert t.cmd(c).status == "BAD", c
    for c in ("APPEND INBOX {18446744073709551615}",
              "APPEND INBOX {52428801}"):
        a = t.cmd(c)
        assert a.status == "NO" and a.text.startswith("[TOOBIG]")
    assert t.cmd(["APPEND INBOX {1}", "a b"]).status == "BAD"
    assert t.cmd("APPEND INBOX {0+}\r\n").status == "NO"
    a = t.cmd("APPEND INBOX {4+}\r\na:\0b")
    assert a.status in ("NO", "BAD")
    assert t.ok("STATUS INBOX (MESSAGES)").of("MESSAGES 0")


def test_an_unasked_literal_beyond_the_limit_ends_the_session(t):
    t.send("a APPEND INBOX {104857600+}\r\nabc")
    assert re.search(r"^\* BYE |^a NO \[TOOBIG\]", t.rest(), re.M)


def test_an_append_that_is_cut_off_leaves_nothing(t):
    t.send("a APPEND INBOX {1000+}\r\nabc")
    t.close()
    with Talk(PORT) as other:
        assert other.ok("STATUS INBOX (MESSAGES)").of("MESSAGES 0")


# --- FETCH ---

def test_fetch_items_and_macros(t):
    fill(t, 1)
    t.ok("SELECT INBOX")
    f = t.ok("FETCH 1 FAST").untagged[0]
    assert re.match(r'1 FETCH \(FLAGS \(.*\) INTERNALDATE ".{26}" '
                    r"RFC822.SIZE \d+\)$", f)
    assert "ENVELOPE (" in t.ok("FETCH 1 ALL").untagged[0]
    f = t.ok("FETCH 1 FULL").untagged[0]
    assert " BODY (" in f
    envelope = t.ok("FETCH 1 ENVELOPE").one(r"ENVELOPE (\(.*\))\)$")[1]
    assert envelope == (
        '("Mon, 7 Feb 1994 21:52:25 -0800" "simple 1" '
        '(("Ann" NIL "ann" "a.test")) (("Ann" NIL "ann" "a.test")) '
        '(("Ann" NIL "ann" "a.test")) ((NIL NIL "bob" "b.test")) '
        'NIL NIL NIL "<1@a.test>")')
    assert t.ok("FETCH 1 (UID)").of(r"^1 FETCH \(UID \d+\)$")
    assert t.ok("FETCH 1 (RFC822.HEADER)").of(r"RFC822.HEADER \{\d+\}\r\n")
    assert not t.ok("FETCH 1 FLAGS").of(r"\\Seen")
    assert body(t.ok("FETCH 1 RFC822.TEXT"), "RFC822.TEXT") == "Hello 1\r\n"
    assert t.ok("FETCH 1 FLAGS").of(r"\\Seen")
    assert body(t.ok("FETCH 1 RFC822"), "RFC822") == SIMPLE % (1, 1, 1)


def test_sections_of_a_multipart(t):
    t.append(MULTI)
    t.ok("SELECT INBOX")

    def section(name):
        return body(t.ok(f"FETCH 1 BODY.PEEK[{name}]"),
                    f"BODY[{name.upper()}]")
    head, text = MULTI.split("\r\n\r\n", 1)
    assert section("") == MULTI
    assert section("HEADER") == head + "\r\n\r\n"
    assert section("text") == text
    assert section("1") == "part one"
    assert section("1.MIME") == (
        "Content-Type: text/plain; charset=utf-8\r\n\r\n")
    assert section("2") == ("From: inner@c.test\r\nSubject: inside\r\n\r\n"
                            "inner body")
    assert section("2.HEADER") == (
        "From: inner@c.test\r\nSubject: inside\r\n\r\n")
    assert section("2.TEXT") == "inner body"
    assert section("2.1") == "inner body"
    assert section("2.HEADER.FIELDS (Subject)") == "Subject: inside\r\n\r\n"
    assert section("HEADER.FIELDS (SUBJECT)") == "Subject: multi\r\n\r\n"
    assert section("HEADER.FIELDS (X-NOT)") == "\r\n"
    fields = section(
        "HEADER.FIELDS.NOT (SUBJECT DATE MIME-VERSION CONTENT-TYPE)")
    assert fields == "From: Ann <ann@a.test>\r\nTo: bob@b.test\r\n\r\n"
    assert t.ok("FETCH 1 BODY.PEEK[9]").of(r"BODY\[9\] NIL")
    a = t.ok("FETCH 1 BODYSTRUCTURE")
    assert a.of(r'"MIXED" \("BOUNDARY" "b"\)|"mixed" \("boundary" "b"\)')
    assert a.of(r'(?i)"message" "rfc822"')


def test_partials(t):
    t.append(SIMPLE % (1, 1, 1))
    t.ok("SELECT INBOX")
    whole = SIMPLE % (1, 1, 1)
    for offset, limit in ((0, 5), (3, 10), (0, 4294967295), (10, 1),
                          (len(whole) - 1, 9), (len(whole), 5),
                          (4294967295, 4294967295)):
        a = t.ok(f"FETCH 1 BODY.PEEK[]<{offset}.{limit}>")
        assert body(a, f"BODY[]<{offset}>") == whole[offset:offset + limit]
    a = t.ok("FETCH 1 BODY.PEEK[TEXT]<2.3>")
    assert body(a, "BODY[TEXT]<2>") == "llo"
    for bad in ("<0.0>", "<1>", "<.1>", "<1.>", "<1.1", "<-1.1>",
                "<4294967296.1>"):
        assert t.cmd(f"FETCH 1 BODY[]{bad}").status == "BAD", bad
        t.ok("NOOP")


def test_fetching_a_body_sets_seen(t):
    fill(t, 2)
    t.ok("SELECT INBOX")
    t.ok("FETCH 1 BODY.PEEK[]")
    assert not t.ok("FETCH 1 FLAGS").of(r"\\Seen")
    a = t.ok("FETCH 1 BODY[]")
    assert a.of(r"FLAGS \(.*\\Seen.*\)")
    assert not t.ok("FETCH 2 FLAGS").of(r"\\Seen")


def test_sequence_sets(t):
    fill(t, 5)
    t.ok("SELECT INBOX")
    uids = [int(m[1]) for m in t.ok("FETCH 1:* UID").of(r"UID (\d+)")]

    def seqs(s):
        return [int(m[1]) for m in t.ok(f"FETCH {s} UID").of(r"^(\d+) ")]
    assert seqs("1:*") == [1, 2, 3, 4, 5]
    assert seqs("*") == [5] and seqs("*:*") == [5] and seqs("*:4") == [4, 5]
    assert seqs("5:3,1,1,4") == [1, 3, 4, 5]
    assert seqs("2:4294967295") == [2, 3, 4, 5]
    for bad in ("0", "6", "6:9", "4294967296", "1,", ":", "a", "1:", ",1",
                "", "1 :2", "$"):
        assert t.cmd(f"FETCH {bad} FLAGS").status == "BAD", bad
        t.ok("NOOP")

    def by_uid(s):
        return [int(m[1]) for m in t.ok(f"UID FETCH {s} FLAGS").of(
            r"UID (\d+)")]
    # RFC 3501 6.4.8: "*" is the last message, whatever n is.
    assert by_uid(f"{uids[-1] + 100}:*") == [uids[-1]]
    assert by_uid("*") == [uids[-1]]
    assert by_uid(f"{uids[1]}:{uids[3]}") == uids[1:4]
    assert by_uid(f"{uids[-1] + 5}") == []
    assert by_uid("1:4294967295") == uids
    assert t.cmd("UID FETCH 0 FLAGS").status == "BAD"


def test_an_empty_mailbox_has_no_star(t):
    t.ok("SELECT INBOX")
    for c in ("FETCH 1:* FLAGS", "FETCH * FLAGS", "STORE 1 FLAGS ()",
              "COPY 1:* INBOX"):
        assert t.cmd(c).status == "BAD", c
    for c in ("UID FETCH 1:* FLAGS", "UID FETCH * FLAGS", "SEARCH 1:*",
              "UID STORE 1:* FLAGS ()", "UID COPY 1:* INBOX"):
        t.ok(c)


def test_bad_fetches(t):
    fill(t, 1)
    t.ok("SELECT INBOX")
    for bad in ("1", "1 ", "1 ()", "1 (FLAGS", "1 FLAGS)", "1 NONSENSE",
                "1 BODY[", "1 BODY[]x", "1 BODY[MIME]", "1 BODY[0]",
                "1 BODY[1.]", "1 BODY[.1]", "1 BODY[HEADER.FIELDS]",
                "1 BODY[HEADER.FIELDS ()]", "1 (FLAGS  UID)", "1 (ALL)",
                "1 BODY.PEEK", "1 BODY[X]", "1 BODY[HEADERX]",
                "1 BODY[" + "1." * 1000 + "TEXT]"):
        assert t.cmd(f"FETCH {bad}").status == "BAD", bad
        t.ok("NOOP")
    t.ok("NOOP")
    a = t.cmd("FETCH 1 BODY.PEEK[HEADER.FIELDS (%s)]" %
              " ".join(["x"] * 10000))
    assert a.status in ("OK", "BAD")
    name = "{7+}\r\nSubject"
    a = t.ok(f"FETCH 1 BODY.PEEK[HEADER.FIELDS ({name})]")
    assert a.of("Subject: simple 1\r\n\r\n")


# --- STORE, EXPUNGE, COPY, MOVE ---

def test_store_sets_adds_and_removes(t):
    fill(t, 3)
    t.ok("SELECT INBOX")

    def flags(answer, seq):
        m = answer.one(rf"^{seq} FETCH \(.*?FLAGS \((.*?)\)")
        return set(m[1].split()) - {"\\Recent"}
    a = t.ok("STORE 1 FLAGS (\\Seen \\Flagged)")
    assert flags(a, 1) == {"\\Seen", "\\Flagged"}
    assert flags(t.ok("STORE 1 -FLAGS \\Seen"), 1) == {"\\Flagged"}
    assert flags(t.ok("STORE 1 +FLAGS (\\answered $Work)"), 1) == {
        "\\Flagged", "\\Answered", "$Work"}
    assert t.ok("STORE 1:3 +FLAGS.SILENT (\\Draft )").of("FETCH") == []
    assert flags(t.ok("FETCH 3 FLAGS"), 3) == {"\\Draft"}
    assert flags(t.ok("STORE 2 FLAGS ()"), 2) == set()
    uid = t.ok("FETCH 2 UID").one(r"UID (\d+)")[1]
    assert t.ok(f"UID STORE {uid} +FLAGS (\\Seen)").of(
        rf"^2 FETCH \(UID {uid} FLAGS ")
    for bad in ("1 FLAGS (\\Recent)", "1 FLAGS (\\*)", "1 FLAGS (\\Bogus)",
                "1 FLAGS", "1 NONSENSE ()", "1 FLAGS (", "0 FLAGS ()",
                "1 +FLAGS.LOUD ()", "1"):
        assert t.cmd(f"STORE {bad}").status == "BAD", bad
        t.ok("NOOP")


def test_flags_stay_and_keywords_are_told(t):
    fill(t, 1)
    with Talk(PORT) as other:
        other.ok("SELECT INBOX")
        other.ok("FETCH 1 FLAGS")
        t.ok("SELECT INBOX")
        a = t.ok("STORE 1 +FLAGS (\\Seen NewWord)")
        assert a.of(r"^FLAGS \(.*NewWord.*\)")
        a = other.ok("NOOP")
        assert a.of(r"^FLAGS \(.*NewWord.*\)")
        assert a.one(r"^1 FETCH \(UID \d+ FLAGS \((.*?)\)\)")[1].split()[
            -1] == "NewWord"
    with Talk(PORT) as again:
        again.ok("SELECT INBOX")
        assert again.ok("FETCH 1 FLAGS").of(r"\\Seen NewWord\)")


def test_too_many_keywords_are_refused(t):
    fill(t, 1)
    t.ok("SELECT INBOX")
    a = t.cmd("STORE 1 FLAGS (%s)" % " ".join(
        f"$kw{i}" for i in range(5000)))
    assert a.status == "NO" and a.text.startswith("[LIMIT]")
    t.ok("NOOP")


def test_unused_keywords_make_room_for_new_ones(t):
    fill(t, 1)
    t.ok("SELECT INBOX")
    for name in "ab":
        words = " ".join(f"${name}{i}" for i in range(26))
        t.ok("STORE 1 FLAGS ()")
        a = t.ok(f"STORE 1 FLAGS ({words})")
        assert a.of(r"PERMANENTFLAGS \([^*]*\)\]"), a
        assert set(a.one(r"^1 FETCH \(FLAGS \((.*?)\)")[1].split()) == {
            "\\Recent", *words.split()}
    assert t.cmd("STORE 1 +FLAGS ($more)").text.startswith("[LIMIT]")
    t.ok("STORE 1 FLAGS ($b1)")
    t.ok("STORE 1 +FLAGS ($more $again)")
    assert t.ok("FETCH 1 FLAGS").of(r"\$b1[ )]")


def test_expunge_and_close(t):
    fill(t, 5)
    t.ok("SELECT INBOX")
    t.ok("STORE 2:4 +FLAGS.SILENT (\\Deleted)")
    assert t.ok("EXPUNGE").untagged[:3] == ["2 EXPUNGE"] * 3
    assert len(t.ok("FETCH 1:* UID").of("FETCH")) == 2
    t.ok("STORE 1 +FLAGS.SILENT (\\Deleted)")
    assert t.ok("CLOSE").untagged == []
    assert t.cmd("CHECK").status == "BAD"
    assert t.ok("SELECT INBOX").of(r"^1 EXISTS")
    t.ok("STORE 1 +FLAGS.SILENT (\\Deleted)")
    t.ok("CHECK")
    t.ok("UNSELECT")
    assert t.ok("SELECT INBOX").of(r"^1 EXISTS")


def test_uid_expunge_takes_only_what_it_names(t):
    fill(t, 3)
    t.ok("SELECT INBOX")
    uids = [m[1] for m in t.ok("FETCH 1:* UID").of(r"UID (\d+)")]
    t.ok("STORE 1:3 +FLAGS.SILENT (\\Deleted)")
    assert t.ok(f"UID EXPUNGE {uids[1]}").of("EXPUNGE")[0].string == (
        "2 EXPUNGE")
    assert numbers(t.ok("UID SEARCH ALL")) == [int(uids[0]), int(uids[2])]
    assert t.cmd("UID EXPUNGE").status == "BAD"


def test_copy_keeps_flags_and_dates(t):
    t.append(SIMPLE % (1, 1, 1), "INBOX",
             '(\\Flagged) "17-Jul-1996 02:44:25 -0700" ')
    fill(t, 2)
    t.ok("SELECT INBOX")
    a = t.cmd("COPY 1:2 target")
    assert a.status == "NO" and a.text.startswith("[TRYCREATE]")
    t.ok("CREATE target")
    date = t.ok("FETCH 1 INTERNALDATE").one(r'INTERNALDATE "(.*?)"')[1]
    a = t.ok("COPY 1:2 target")
    v, src, dst = re.match(r"\[COPYUID (\d+) (\S+) (\S+)\]", a.text).groups()
    t.ok("SELECT target")
    f = t.ok(f"UID FETCH {dst} (FLAGS INTERNALDATE)")
    assert len(f.of("FETCH")) == 2
    assert f.of(r"^1 .*\\Flagged") and f.of(re.escape(date))


def test_move_takes_the_messages_away(t):
    fill(t, 3)
    t.ok("CREATE target")
    t.ok("SELECT INBOX")
    a = t.ok("MOVE 1:2 target")
    assert a.untagged[0].startswith("OK [COPYUID ")
    assert [u for u in a.untagged if "EXPUNGE" in u] == ["1 EXPUNGE"] * 2
    assert t.ok("STATUS target (MESSAGES)").of("MESSAGES 2")
    a = t.cmd("MOVE 1 nowhere")
    assert a.text.startswith("[TRYCREATE]")
    assert numbers(t.ok("SEARCH ALL")) == [1]
    uid = t.ok("FETCH 1 UID").one(r"UID (\d+)")[1]
    assert t.ok(f"UID MOVE {uid} target").of("^1 EXPUNGE")


# --- other sessions ---

def test_new_messages_and_expunges_of_others_are_told_in_time(t):
    fill(t, 3)
    t.ok("SELECT INBOX")
    with Talk(PORT) as other:
        other.ok("SELECT INBOX")
        fill(other, 1)
        assert t.ok("NOOP").of(r"^4 EXISTS")
        other.ok("STORE 2 +FLAGS.SILENT (\\Deleted)")
        assert t.ok("NOOP").of(r"^2 FETCH \(UID \d+ FLAGS \(.*Deleted")
        other.ok("EXPUNGE")
        # RFC 3501 7.4.1: not while FETCH, STORE and SEARCH are answered.
        for c in ("FETCH 1:4 FLAGS", "SEARCH ALL", "STORE 1 +FLAGS ($x)"):
            a = t.cmd(c)
            assert not a.of("EXPUNGE"), c
        assert t.cmd("FETCH 2 BODY.PEEK[]").text.startswith(
            "[EXPUNGEISSUED]")
        # RFC 2180 4.2: the others are changed; nobody was told, so OK.
        a = t.ok("STORE 1:3 +FLAGS.SILENT (\\Flagged)")
        assert a.text.startswith("[EXPUNGEISSUED]") and not a.untagged
        a = t.cmd("STORE 1:3 +FLAGS (\\Draft)")
        assert a.status == "NO" and a.text.startswith("[EXPUNGEISSUED]")
        assert [m[1] for m in a.of(r"^(\d) FETCH .*Flagged.*Draft")] == [
            "1", "3"]
        a = t.ok("NOOP")
        assert a.of(r"^2 EXPUNGE$") and not a.of("EXISTS")
        assert len(t.ok("FETCH 1:* UID").of("FETCH")) == 3


def test_a_delivery_by_another_program_is_seen(t, server):
    t.ok("SELECT INBOX")
    path = os.path.join(server.maildir, "new", "1.a.host")
    with open(path, "w") as f:
        f.write("Subject: by hand\n\nx\n")
    a = t.ok("NOOP")
    assert a.of(r"^1 EXISTS") and a.of(r"^1 RECENT")
    assert body(t.ok("FETCH 1 BODY.PEEK[]"), "BODY[]") == (
        "Subject: by hand\r\n\r\nx\r\n")


# --- IDLE ---

def test_idle_tells_what_happens(t):
    t.ok("SELECT INBOX")
    t.send("i IDLE\r\n")
    assert t.response().startswith("+")
    with Talk(PORT) as other:
        began = time.monotonic()
        fill(other, 1)
        assert t.response() == "* 1 EXISTS"
        assert t.response() == "* 1 RECENT"
        # who woke it: not its own look around, which comes late
        assert time.monotonic() - began < 20
        other.ok("SELECT INBOX")
        other.ok("STORE 1 +FLAGS.SILENT (\\Deleted)")
        assert re.match(r"\* 1 FETCH .*\\Deleted", t.response())
        other.ok("EXPUNGE")
        while (r := t.response()) != "* 1 EXPUNGE":
            assert r.startswith("* "), r
    # DONE may come together with the next command.
    t.send("DONE\r\nj NOOP\r\n")
    assert t.answer("i").status == "OK"
    assert t.answer("j").status == "OK"


def test_idle_without_a_mailbox(t):
    t.send("i IDLE\r\n")
    assert t.response().startswith("+")
    t.send("done\r\n")
    assert t.answer("i").status == "OK"


def test_idle_ends_only_with_done(t):
    t.send("i IDLE\r\n")
    assert t.response().startswith("+")
    t.send("XXXX\r\n")
    a = t.answer("i")
    assert a.status == "BAD" and "DONE" in a.text
    t.ok("NOOP")


def test_a_flood_in_idle_ends_the_session(t):
    t.send("i IDLE\r\n")
    assert t.response().startswith("+")
    try:
        t.send("D" * 3000000 + "\r\n")
    except OSError:
        pass
    assert re.search(r"^\* BYE|^i BAD|^$", t.rest(), re.M)


# --- SEARCH ---

@pytest.fixture(scope="module")
def searched_server(tmp_path_factory):
    server = BareServer(free_port(), str(tmp_path_factory.mktemp("s") / "mail"))
    with server.talk() as t:
        t.append("From: Smith <smith@a.test>\r\nTo: jones@b.test\r\n"
                 "Cc: kim@c.test\r\nSubject: first of all\r\n"
                 "Date: Mon, 7 Feb 1994 23:52:25 -0800\r\nX-Tag: \r\n\r\n"
                 "apple pie\r\n",
                 "INBOX", '(\\Seen \\Answered) " 7-Feb-1994 21:52:25 +0000" ')
        t.append("From: Brown <brown@a.test>\r\nTo: smith@a.test\r\n"
                 "Subject: =?utf-8?q?zweite_M=C3=BCtze?=\r\n"
                 "Date: Tue, 8 Feb 1994 01:00:00 +0000\r\n\r\n"
                 "banana " + "x" * 3000 + "\r\n",
                 "INBOX", '(\\Flagged $Work) "10-Feb-1994 12:00:00 +0000" ')
        t.append("From: kim@c.test\r\nBcc: hidden@d.test\r\nSubject: third\r\n"
                 "\r\ncherry\r\n", "INBOX", "(\\Deleted \\Draft) ")
    yield server
    server.stop()


@pytest.fixture
def searched(searched_server):
    with searched_server.talk() as t:
        t.ok("EXAMINE INBOX")   # \Recent stays
        yield t


@pytest.mark.parametrize("keys, found", [
    ("ALL", [1, 2, 3]), ("ANSWERED", [1]), ("UNANSWERED", [2, 3]),
    ("SEEN", [1]), ("UNSEEN", [2, 3]), ("FLAGGED", [2]),
    ("UNFLAGGED", [1, 3]), ("DELETED", [3]), ("UNDELETED", [1, 2]),
    ("DRAFT", [3]), ("UNDRAFT", [1, 2]), ("RECENT", [1, 2, 3]),
    ("NEW", [2, 3]), ("OLD", []), ("KEYWORD $Work", [2]),
    ("KEYWORD $work", [2]), ("UNKEYWORD $Work", [1, 3]),
    ("KEYWORD nothing", []), ("UNKEYWORD nothing", [1, 2, 3]),
    ("FROM smith", [1]), ("FROM SMITH", [1]), ("TO smith@a.test", [2]),
    ("CC kim", [1]), ("BCC hidden", [3]), ("SUBJECT first", [1]),
    ("SUBJECT {6+}\r\nm\xc3\xbctze", [2]),
    ("CHARSET UTF-8 SUBJECT {6+}\r\nm\xc3\xbct z", []),
    ("CHARSET UTF-8 SUBJECT {5+}\r\nM\xc3\x9cTZ", [2]),
    ("CHARSET ISO-8859-1 SUBJECT {5+}\r\nm\xfctze", [2]),
    ("CHARSET US-ASCII SUBJECT third", [3]),
    ("HEADER Subject third", [3]), ("HEADER X-Tag \"\"", [1]),
    ("HEADER X-None \"\"", []), ("BODY apple", [1]), ("BODY Subject", []),
    ("TEXT third", [3]), ("TEXT cherry", [3]), ("TEXT nowhere", []),
    ("LARGER 1000", [2]), ("SMALLER 1000", [1, 3]),
    ("BEFORE 8-Feb-1994", [1]), ("ON 7-Feb-1994", [1]),
    ("SINCE 8-Feb-1994", [2, 3]), ("ON \"10-Feb-1994\"", [2]),
    ("SENTON 7-Feb-1994", [1]), ("SENTBEFORE 8-Feb-1994", [1]),
    ("SENTSINCE 8-Feb-1994", [2]),
    ("YOUNGER 86400", [3]), ("OLDER 86400", [1, 2]),
    ("NOT SEEN", [2, 3]), ("NOT NOT SEEN", [1]),
    ("OR SEEN FLAGGED", [1, 2]), ("OR (SEEN ANSWERED) DRAFT", [1, 3]),
    ("OR NOT SEEN OR FLAGGED DRAFT", [2, 3]),
    ("SEEN FLAGGED", []), ("(SEEN) (ANSWERED)", [1]), ("2:*", [2, 3]),
    ("1,3", [1, 3]), ("* DELETED", [3]), ("99", []), ("NOT 2", [1, 3]),
    ("UNSEEN 1:2", [2]), ("FROM {5+}\r\nsmith SEEN", [1]),
])
def test_search_keys(searched, keys, found):
    assert numbers(searched.ok("SEARCH " + keys)) == found


def test_search_by_uid_and_with_return(searched):
    t = searched
    uids = [int(m[1]) for m in t.ok("FETCH 1:* UID").of(r"UID (\d+)")]
    assert numbers(t.ok("UID SEARCH ALL")) == uids
    assert numbers(t.ok(f"SEARCH UID {uids[1]}:*")) == [2, 3]
    assert numbers(t.ok(f"UID SEARCH UID {uids[2] + 9}:*")) == [uids[2]]
    tag = f"t{t.tags + 1}"
    assert t.ok("SEARCH RETURN (MIN MAX COUNT ALL) ALL").untagged[0] == (
        f'ESEARCH (TAG "{tag}") MIN 1 MAX 3 COUNT 3 ALL 1:3')
    assert t.ok("SEARCH RETURN () NOT 2").of(r" ALL 1,3$")
    assert t.ok("UID SEARCH RETURN (COUNT) NEW").of(
        r'\(TAG "t\d+"\) UID COUNT 2$')
    assert t.ok("SEARCH RETURN (MIN ALL COUNT) OLD").of(
        r'\(TAG "t\d+"\) COUNT 0$')


def test_searches_are_refused_cleanly(searched):
    t = searched
    a = t.cmd("SEARCH CHARSET X-EVIL ALL")
    assert a.status == "NO" and a.text.startswith("[BADCHARSET (")
    for bad in ("", " ", " NONSENSE", " SUBJECT", " OR SEEN", " NOT",
                " (SEEN", " SEEN)", " ()", " BEFORE 1-Foo-1994",
                " LARGER x", " LARGER 4294967296", " OLDER 0", " UID",
                " HEADER x",
                " RETURN (BOGUS) ALL", " CHARSET UTF-8", " ALL ",
                " " + "NOT " * 10000 + "ALL", " " + "(" * 10000):
        assert t.cmd("SEARCH" + bad).status == "BAD", bad[:60]
        t.ok("NOOP")


# --- limits ---

def test_bad_lines_are_answered(t):
    t.send("\r\n")
    assert t.response().startswith("* BAD")
    t.send("* NOOP\r\n")
    assert t.response().startswith("* BAD")
    t.send("tag\r\n")
    assert t.response().startswith("tag BAD")
    t.send("tag \x00NOOP\r\n")
    assert t.response().startswith("tag BAD")
    t.send("a" * 200 + " NOOP\r\n")
    assert t.response().startswith("* BAD")
    assert t.cmd("NOOP x").status == "BAD"
    assert t.cmd("NOOP ").status == "BAD"
    t.ok("noop")


def test_a_line_beyond_the_limit_ends_the_session(t):
    try:
        t.send("a NOOP " + "x" * 70000 + "\r\n")
    except OSError:
        pass
    assert "* BYE " in t.rest()


def test_literals_are_bounded(t):
    assert t.cmd("CREATE {4294967295}").status == "BAD"
    assert t.cmd("CREATE {65537}").status == "BAD"
    assert t.cmd("CREATE {100+}\r\n" + "x" * 100 + " {3+}\r\nabc"
                 ).status == "BAD"
    t.ok("NOOP")
    t.send("a CREATE {4294967295+}\r\n")
    assert re.search(r"^\* BYE", t.rest(), re.M)


def test_a_command_with_too_many_octets_ends(t):
    t.ok("SELECT INBOX")
    try:
        t.send("a SEARCH" + (" SUBJECT {60000+}\r\n" + "x" * 60000) * 60
               + "\r\n")
    except OSError:
        pass
    assert "* BYE " in t.rest()


def test_evil_patterns_cost_nothing(t):
    t.ok("CREATE " + "a" * 200)
    began = time.monotonic()
    t.ok('LIST "" ' + "*%" * 2000)
    t.ok('LIST "" ' + "*a%" * 300)
    assert time.monotonic() - began < 60


def test_long_sets_are_merged(t):
    fill(t, 1)
    t.ok("SELECT INBOX")
    uid = t.ok("FETCH 1 UID").one(r"UID (\d+)")[1]
    a = t.cmd(f"UID FETCH {(uid + ',') * 9000}{uid} FLAGS")
    assert a.status == "OK" and len(a.of("FETCH")) == 1


# --- the end ---

def test_silence_ends_the_session(tmp_path):
    server = BareServer(free_port(), str(tmp_path / "mail"), idle=4)
    try:
        with server.talk() as t:
            assert t.response().startswith("* BYE ")
        with server.talk() as t:
            t.ok("SELECT INBOX")
            t.send("i IDLE\r\n")
            assert t.response().startswith("+")
            assert t.response().startswith("* BYE ")
    finally:
        server.stop()


def test_a_drain_says_bye_to_everybody(tmp_path):
    server = BareServer(free_port(), str(tmp_path / "mail"))
    try:
        with (server.talk() as idle, server.talk() as waiting,
              server.talk() as busy):
            idle.ok("SELECT INBOX")
            idle.send("i IDLE\r\n")
            assert idle.response().startswith("+")
            busy.send("a APPEND INBOX {1000}\r\n")
            assert busy.response().startswith("+")
            busy.send("half")
            server.drain()
            assert busy.rest() == ""
            for t in (idle, waiting):
                assert t.response().startswith("* BYE ")
                with pytest.raises(Gone):
                    t.response()
    finally:
        server.stop()


def test_the_limit_of_append_is_the_configured_one(tmp_path):
    server = BareServer(free_port(), str(tmp_path / "mail"), append=1000)
    try:
        with server.talk() as t:
            assert "APPENDLIMIT=1000" in t.login.text
            assert t.append("a: b\r\n\r\n" + "x" * 992).status == "OK"
            a = t.cmd("APPEND INBOX {1001+}\r\n" + "x" * 1001)
            assert a.text.startswith("[TOOBIG]")
            # RFC 7889 3.1 and 3.2
            assert t.ok("STATUS INBOX (appendlimit MESSAGES)").untagged == [
                'STATUS "INBOX" (MESSAGES 1 APPENDLIMIT 1000)']
            assert t.ok('LIST "" % RETURN (STATUS (APPENDLIMIT))').of(
                r'^STATUS "INBOX" \(APPENDLIMIT 1000\)$')
    finally:
        server.stop()


def test_without_a_limit_of_append_there_is_none(tmp_path):
    server = BareServer(free_port(), str(tmp_path / "mail"), append=0)
    try:
        with server.talk() as t:
            assert "APPENDLIMIT" not in t.login.text
            t.ok("STATUS INBOX (APPENDLIMIT)").one(
                r"\(APPENDLIMIT NIL\)$")
    finally:
        server.stop()
