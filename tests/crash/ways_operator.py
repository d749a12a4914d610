"""ways_operator.py - what an operator does while mail is under way

    hold        a message of the queue is put on hold and stays there
    release     one on hold goes on
    reload      a changed main.cf is taken up during an SMTP session
"""
import os
import re
import time

from ways import SmtpWay, make_message

HELD_DOMAIN = "held.test"


class _Steering(SmtpWay):
    """A message waits in deferred/ (its transport is one that waits for an
    operator); then `postern queue` is told of it."""
    parts = 8
    programs = ("postern", "pickup", "qmgr")
    promises = ("qmgr",)
    apart = True
    patience = 20       # seconds
    verb = None

    def __init__(self, suite):
        super().__init__(suite)
        self.ids = {}           # token -> queue id
        self.log_at = 0

    def log_since(self):
        """What the suite has logged since the order."""
        with open(self.suite.instance.log_path, "rb") as f:
            f.seek(self.log_at)
            return f.read().decode("utf-8", "replace")

    def rcpt(self, token):
        return f"h-{token}@{HELD_DOMAIN}".lower()

    def is_through(self, token):
        return token in self.suite.sink.seen

    def places(self, token):
        """The directories of the queue that have its file."""
        return self.suite.queue_places(self.ids[token])

    def wait_for(self, *checks):
        """Until one of them holds."""
        deadline = time.monotonic() + self.patience
        while not any(check() for check in checks):
            if time.monotonic() > deadline:
                return False
            self.suite.tracer.poll(0.002)
        return True

    def order(self, verb, token):
        """Without a fault, by a command that nobody traces."""
        return self.suite.instance.command("postern", "queue", verb,
                                           self.ids[token]).returncode

    def prepare(self, token):
        message = make_message(token, self.octets)
        self.suite.say_sent(token, message, self.rcpt(token))
        try:
            result = self.submit(token, message, self.rcpt(token))
        except OSError:
            result = "broken"
        if result != "acked":
            return f"not taken: {result}"
        self.suite.ledger(f"acked {token}")
        if not self.wait_for(lambda: "deferred" in self.places(token)):
            return f"not deferred: {self.places(token)}"
        return None

    def said(self, token, line):
        m = re.search(rb"queued as (\w+)", line)
        self.ids[token] = m[1].decode() if m else "none"

    def send(self, token):
        self.log_at = os.path.getsize(self.suite.instance.log_path)
        status = self.suite.run_command(
            "/dev/null", "postern", "-c", self.suite.etc, "queue", self.verb,
            self.ids[token])
        if status == 0:
            return "acked"
        return "broken" if status is None else f"refused {status}"

    def answered_before(self, fired):
        # (of a message in work it is a wish: done when its agents answered)
        events = self.suite.tracer.events
        at = events.index(fired)
        return any(e[:2] == ["ended", "postern"] for e in events[:at])

    def is_honest(self, code):
        return code != "0"

    def lose(self, token):
        """As a program could that loses mail."""
        for path in self.suite.queue_files(self.ids[token]):
            os.unlink(path)

    def wrong(self, token, result):
        if not self.wait_for(lambda: self.places(token),
                             lambda: self.is_through(token)):
            return f"{result}, and it is nowhere"
        return None

    def settle(self, token, result):
        """It goes on, whatever was ordered."""
        deadline = time.monotonic() + self.patience
        while not self.is_through(token):
            if time.monotonic() > deadline:
                return f"{result}, then stuck in {self.places(token)}"
            status = self.order("release" if "hold" in self.places(token)
                                else "flush", token)
            if status == 0:
                self.suite.wait_for(lambda: self.is_through(token), 1)
        # its last trace, or the next point has calls that are not its own
        self.wait_for(lambda: not self.places(token))
        del self.ids[token]
        return None


class HoldWay(_Steering):
    """A message on hold stays there."""
    verb = "hold"

    def is_there(self, token):
        # (of one that was in work when the order came, a wish: the log tells
        # when a fault forbids it)
        return self.places(token) == ["hold"] or \
            f"{self.ids[token]}: what an operator wished is forgotten" in \
            self.log_since()

    def answered_before(self, fired):
        # in work since the order came: the flush was that attempt's
        return super().answered_before(fired) or any(
            re.search(rf"{i}: from=.*queue active", self.log_since())
            for i in self.ids.values())

    def wrong(self, token, result):
        if result == "acked" and \
                not self.wait_for(lambda: self.is_there(token)):
            return f"held, and it is in {self.places(token)}"
        if self.is_through(token):
            return f"{result}, and it went through"
        return super().wrong(token, result)


class ReleaseWay(_Steering):
    """What was held goes on."""
    verb = "release"

    def prepare(self, token):
        why = super().prepare(token)
        if why is not None:
            return why
        status = self.order("hold", token)
        if status != 0 or \
                not self.wait_for(lambda: self.places(token) == ["hold"]):
            return f"not held, {status}: {self.places(token)}"
        return None

    def is_there(self, token):
        return self.is_through(token) or self.was_tried(token)

    def was_tried(self, token):
        """Its attempt failed by a fault, and it waits for the next order: so
        it is with that transport."""
        return re.search(rf"{self.ids[token]}: to=.*status=deferred "
                         r"\((?!deferred transport)", self.log_since())

    def wrong(self, token, result):
        if result == "acked" and \
                not self.wait_for(lambda: self.is_there(token)):
            return f"released, and it is in {self.places(token)}"
        return super().wrong(token, result)


class ReloadWay(SmtpWay):
    """Between RCPT and DATA the suite is reloaded with another parameter: all
    programs are replaced, no session is dropped, the new ones serve."""
    # (those that hold mail, keep mail going, or are not replaced)
    programs = ("postern", "master", "qmgr")
    # Nearly all are those of programs that start, which `--starts` walks.
    most = 100
    apart = True
    patience = 20       # seconds

    def __init__(self, suite):
        super().__init__(suite)
        self.value = 50         # of hopcount_limit
        self.old = {}           # program -> pids
        self.log_at = 0
        self.status = None

    def prepare(self, token):
        suite = self.suite
        if not suite.wait_normal(self.patience):
            return f"not in order: {suite.odd()}"
        self.old = {p: set(pids) for p, pids in suite.pids.items()
                    if p in suite.normal}
        path = os.path.join(suite.etc, "main.cf")
        with open(path, encoding="utf-8") as f:
            text = f.read()
        # another than any that was not taken up
        self.value = 50 + (self.value - 49) % 900
        with open(path + ".new", "w", encoding="utf-8") as f:
            f.write(re.sub(r"^hopcount_limit = .*$",
                           f"hopcount_limit = {self.value}", text,
                           flags=re.M))
        os.rename(path + ".new", path)
        self.log_at = os.path.getsize(suite.instance.log_path)
        return None

    def before_data(self):
        self.status = self.suite.run_command(
            "/dev/null", "postern", "-c", self.suite.etc, "reload")

    def send(self, token):
        self.status = 0
        result = super().send(token)
        if result == "acked" and self.status != 0:
            # the message itself is in the ledger
            return "broken" if self.status is None \
                else f"refused reload-{self.status}"
        return result

    def is_honest(self, code):
        return code.startswith("reload-") or super().is_honest(code)

    def is_replaced(self):
        """Or master said why not."""
        if not any(pids & self.suite.pids.get(program, set())
                   for program, pids in self.old.items()):
            return self.suite.is_normal()
        with open(self.suite.instance.log_path, "rb") as f:
            f.seek(self.log_at)
            return b"the old one stays in force" in f.read()

    def is_there(self, token):
        return super().is_there(token) and self.is_replaced()

    def settle(self, token, result):
        if not self.suite.wait_normal(self.patience):
            return f"{result}, not in order: {self.suite.odd()}"
        return None
