"""Several sessions change one mailbox; each keeps its own account of what it
was told and never finds it wrong (RFC 3501 2.3, 5.2, 7.3, 7.4)."""
import random
import re
import threading

import pytest

from conftest import free_port
from imaptalk import BareServer

SESSIONS, STEPS = 5, 150
FLAGS = ["\\Seen", "\\Flagged", "\\Answered", "\\Draft", "$Label", "Work"]


class Model:
    """A client that believes what it is told."""

    def __init__(self, server, seed):
        self.t = server.talk()
        self.random = random.Random(seed)
        self.uids, self.flags = [], []
        self.uidnext = 0

    def take(self, answer, may_expunge):
        for r in answer.untagged:
            if (m := re.match(r"(\d+) EXISTS$", r)):
                n = int(m[1])
                assert n >= len(self.uids), (r, len(self.uids))
                while len(self.uids) < n:
                    self.uids.append(None)
                    self.flags.append(None)
            elif (m := re.match(r"(\d+) EXPUNGE$", r)):
                assert may_expunge, answer
                k = int(m[1])
                assert 1 <= k <= len(self.uids), (r, len(self.uids))
                del self.uids[k - 1], self.flags[k - 1]
            elif (m := re.match(r"(\d+) FETCH \((.*)\)$", r, re.S)):
                self.take_fetch(int(m[1]), m[2])
        return answer

    def take_fetch(self, k, items):
        assert 1 <= k <= len(self.uids)
        if (m := re.search(r"UID (\d+)", items)):
            uid = int(m[1])
            assert self.uids[k - 1] in (None, uid), (k, items)
            assert not any(u is not None and u >= uid
                           for u in self.uids[:k - 1])
            self.uids[k - 1] = uid
        if (m := re.search(r"FLAGS \((.*?)\)", items)):
            self.flags[k - 1] = frozenset(m[1].split()) - {"\\Recent"}

    def cmd(self, text, may_expunge=True):
        return self.take(self.t.cmd(text), may_expunge)

    def step(self):
        pick, n = self.random, len(self.uids)
        what = pick.randrange(12)
        if what <= 1 or n == 0:
            size = pick.randrange(1, 3000)
            self.take(self.t.append(
                f"Subject: {size}\r\n\r\n" + "x" * size, "INBOX",
                pick.choice(["", "(\\Seen) ", "($Label \\Draft) "])), True)
            return
        k, j = pick.randrange(1, n + 1), pick.randrange(1, n + 1)
        how = pick.choice(["", "+", "-"]) + "FLAGS" + pick.choice(
            ["", "", ".SILENT"])
        flags = " ".join(pick.sample(FLAGS, pick.randrange(1, 4)))
        if what <= 4:
            a = self.cmd(f"STORE {k}:{j} {how} ({flags})", False)
            assert a.status == "OK" or "EXPUNGEISSUED" in a.text
            if "SILENT" in how:
                for i in range(min(k, j) - 1, max(k, j)):
                    self.flags[i] = None
        elif what == 5:
            self.cmd(f"STORE {k} +FLAGS (\\Deleted)", False)
        elif what == 6 and pick.random() < 0.5:
            self.cmd("EXPUNGE")
        elif what == 7:
            a = self.cmd(f"FETCH {k}:{j} (UID FLAGS BODY[])", False)
            assert a.status == "OK" or "EXPUNGEISSUED" in a.text
        elif what == 8:
            a = self.cmd("SEARCH NOT DELETED", False)
            found = a.of(r"^SEARCH(.*)$")
            assert all(1 <= int(x) <= n for x in found[0][1].split())
        elif what == 9:
            self.cmd(f"COPY {k}:{min(n, k + 2)} INBOX")
        elif what == 10:
            self.cmd("NOOP")
        else:
            self.cmd("UID FETCH 1:* (UID FLAGS)")


@pytest.fixture
def server(tmp_path):
    server = BareServer(free_port(), str(tmp_path / "mail"))
    yield server
    server.stop()


@pytest.mark.parametrize("seed", [1, 2])
def test_every_session_keeps_a_true_picture(server, seed):
    models = [Model(server, seed * 100 + i) for i in range(SESSIONS)]
    failures = []

    def run(model):
        try:
            model.cmd("SELECT INBOX")
            for _ in range(STEPS):
                model.step()
        except BaseException as e:  # told by the main thread
            failures.append(e)

    threads = [threading.Thread(target=run, args=(m,)) for m in models]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for e in failures:
        raise e
    for _ in range(2):
        for m in models:
            assert m.cmd("NOOP").status == "OK"
    for m in models:
        told = list(zip(m.uids, m.flags))
        m.cmd("UID FETCH 1:* (UID FLAGS)")
        for (uid, flags), now in zip(told, zip(m.uids, m.flags)):
            assert uid in (None, now[0]) and flags in (None, now[1])
    first = list(zip(models[0].uids, models[0].flags))
    for m in models[1:]:
        assert [(a, b) for a, b in zip(first, zip(m.uids, m.flags))
                if a != b] == []
        assert m.uids == models[0].uids
    uids = models[0].uids
    assert list(uids) == sorted(set(uids))
    status = models[0].t.ok("STATUS INBOX (MESSAGES UIDNEXT)").one(
        r"MESSAGES (\d+) UIDNEXT (\d+)")
    assert int(status[1]) == len(uids) and int(status[2]) > max(uids)
    # A session that comes now sees the same.
    last = Model(server, 0)
    last.cmd("SELECT INBOX")
    last.cmd("FETCH 1:* (UID FLAGS)", False)
    assert (last.uids, last.flags) == (models[0].uids, models[0].flags)
    for m in models + [last]:
        m.t.close()
