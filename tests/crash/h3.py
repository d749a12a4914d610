#!/usr/bin/python3
"""h3.py - kill programs of a running instance at random, under load

    h3.py [--seconds N] [--seed S] [--rate KILLS_A_SECOND] [--round SECONDS]
          [--dir DIR] [-v]

A real instance gets mail by SMTP (PIPELINING, DATA and BDAT), submission
under TLS, LMTP, IMAP APPEND and the sendmail command (which leaves it in
maildrop/ while nobody listens), delivers it to Maildirs, an mbox and an alias,
relays it to a next hop that sometimes says 4yz and 5yz, returns what is
refused; IMAP clients copy, move, store and expunge, a POP3 client removes.
Meanwhile processes are killed (SIGKILL): one at random, all of one program,
master alone, everything; master is then started again, at once or after a
while. After each round the load ends, the queue runs dry, the suite stops and
crash-oracle (oracle.c) judges all that clients were told. Beside that: a uid
of a mailbox never stands for two messages, UIDVALIDITY stays, a flag that was
stored stays, and what POP3 and IMAP clients read has the octets that were
sent.

First the same is done with a `deliver` that answers before it commits
(early_deliver.c). When that is not caught the harness is blind and fails.
"""
import argparse
import collections
import contextlib
import glob
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "../system")]
# pylint: disable=wrong-import-position
import conftest
import relaynet
from conftest import make_instance, wait_until
from h3_clients import (ALIAS, DOMAIN, FORWARD_USER, REFUSED_AWAY, USERS,
                        Command, Imap, Lmtp, Load, Pop, Smtp, Submission)
from ledger import Ledger, need_tools, oracle

SINK_HOST = "127.0.0.74"
WINDOW = 4              # copies more of one message, however many kills
START_SECONDS = 60
DRAIN_SECONDS = 120
CONTROL_SECONDS = 25    # at most, to catch the losing program

# The end of one of these comes between no delivery and its record. (launch
# takes the processes that it started with it; cleanup, bounce and pickup are
# asked again by those who wait for their answer.)
HARMLESS = {"auth", "dns", "imapd", "keys", "limits", "log", "login",
            "lookup", "pop3d", "smtpd"}


class Recorder(list):
    """What the next hop took, a file a transaction (oracle.c: --sink)."""

    def __init__(self, directory):
        super().__init__()
        self.directory = directory
        self.number = 0

    def __len__(self):
        return self.number

    def append(self, t):
        rcpts = [re.search("<(.*)>", r)[1] for r in t.rcpts]
        self.number += 1
        name = f"{self.number}"
        path = os.path.join(self.directory, "." + name)
        with open(path, "wb") as f:
            f.write(",".join(rcpts).encode() + b"\r\n" + t.data)
        os.rename(path, os.path.join(self.directory, name))


class Sink(relaynet.Sink):
    """Says 250 mostly; what it does not record it has refused before."""

    def __init__(self, host, port, directory, rng):
        os.mkdir(directory)
        super().__init__(host, port)
        self.got = Recorder(directory)
        self.lines = collections.deque(maxlen=10)
        self.rng = rng
        self.kind = False       # from now on nothing is put off

    def reply_for(self, line):
        verb = line.split(" ")[0].upper()
        if verb == "RCPT" and REFUSED_AWAY in line:
            return True, "550 5.1.1 No such user"
        chance = self.rng.random()
        if self.kind or verb not in ("GREETING", "RCPT", "END"):
            return False, None
        if chance < 0.02:
            return True, "451 4.3.0 Not now"
        if chance < 0.025:
            return True, None
        return False, None


# --- the suite and its processes -------------------------------------------

def processes():
    """pid -> (name, parent, start time)"""
    found = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            with open(f"/proc/{entry}/stat", encoding="utf-8",
                      errors="replace") as f:
                text = f.read()
        except OSError:
            continue
        rest = text[text.rindex(")") + 2:].split()
        if rest[0] != "Z":
            found[int(entry)] = (text[text.index("(") + 1:text.rindex(")")],
                                 int(rest[1]), int(rest[19]))
    return found


class Suite:
    """One instance, with the kills that it got."""

    def __init__(self, top, sink_port, dns_port):
        self.inst = make_instance(users=USERS, start=False, sets=(
            "mynetworks=127.0.0.0/8", "inet_protocols=ipv4",
            f"dns_servers=127.0.0.1@{dns_port}", "dns_trust_anchor_file=",
            f"smtp_tcp_port={sink_port}", "minimal_backoff_time=1s",
            "maximal_backoff_time=3s", "queue_run_delay=1s",
            "service_throttle_time=1s", "smtp_helo_timeout=10s",
            "smtp_data_done_timeout=20s", "smtp_connect_timeout=5s",
            "smtpd_timeout=30s", "maildrop_count_limit=100000"))
        self.top = top
        self.box = os.path.join(self.inst.dir, "mail")
        self.kills = collections.Counter()
        self.starts = 0
        self.make_aliases()

    def make_aliases(self):
        pile = os.path.join(self.box, "mail.our.test")
        os.mkdir(pile)
        os.chmod(pile, 0o777)
        self.pile = os.path.join(pile, "pile")
        aliases = os.path.join(self.inst.etc, "aliases")
        with open(aliases, "a", encoding="ascii") as f:
            f.write(f"pile: {self.pile}\nalias: {FORWARD_USER}@{DOMAIN}\n")
        p = self.inst.command("newaliases")
        assert p.returncode == 0, p.stderr

    def master(self):
        with contextlib.suppress(OSError, ValueError):
            with open(os.path.join(self.inst.dir, "data/master.pid"),
                      encoding="ascii") as f:
                return int(f.read())
        return 0

    def living(self):
        """pid -> (name, parent, start) of master and all below it."""
        everyone, root = processes(), self.master()
        if everyone.get(root, ("",))[0] != "master":
            return {}
        ours = {root}
        for _ in range(4):
            ours |= {p for p, (_, parent, _) in everyone.items()
                     if parent in ours}
        return {p: everyone[p] for p in ours}

    def kill(self, pid, what, ledger):
        """False: that process is gone, and its pid perhaps another's."""
        try:
            fd = os.pidfd_open(pid)
        except OSError:
            return False
        try:
            if processes().get(pid) != what:
                return False
            if what[0] in HARMLESS:
                ledger.ended(what[0], pid)
            else:
                ledger.killed(what[0], pid)
            signal.pidfd_send_signal(fd, signal.SIGKILL)
        except OSError:
            return False
        finally:
            os.close(fd)
        self.kills[what[0]] += 1
        return True

    @staticmethod
    def wait_gone(before, timeout=30):
        deadline = time.monotonic() + timeout
        while True:
            now = processes()
            left = {p: w for p, w in before.items()
                    if now.get(p, ("", 0, 0))[2] == w[2]}
            if not left:
                return
            if time.monotonic() > deadline:
                raise AssertionError(
                    f"these live on without their master: {left}")
            time.sleep(0.02)

    def start(self):
        """Until it runs: the last one may still be going."""
        deadline = time.monotonic() + START_SECONDS
        while True:
            p = self.inst.command("postern", "start")
            if p.returncode == 0:
                self.starts += 1
                return
            if time.monotonic() > deadline:
                raise AssertionError("it does not start: " + p.stderr)
            time.sleep(0.05)


    def stop(self):
        """And nothing of it stays."""
        before = self.living()
        p = self.inst.stop()
        assert p.returncode == 0, "it does not stop: " + p.stderr
        self.wait_gone(before, 10)


class Killer(threading.Thread):
    def __init__(self, suite, ledger, rng, rate, only=None):
        super().__init__(daemon=True)
        self.suite, self.ledger, self.rng = suite, ledger, rng
        self.rate, self.only = rate, only   # only: names, or None
        self.over = threading.Event()
        self.failure = None

    def run(self):
        try:
            while not self.over.wait(self.rng.expovariate(self.rate)):
                self.strike()
        except Exception as e:  # pylint: disable=broad-except
            self.failure = e

    def strike(self):
        living = self.suite.living()
        by_name = collections.defaultdict(list)
        for pid, what in sorted(living.items()):
            by_name[what[0]].append(pid)
        if self.only:
            self.some(living, {n: p for n, p in by_name.items()
                               if n in self.only})
            return
        chance = self.rng.random()
        if chance < 0.02:
            self.everything(living)
        elif chance < 0.04:
            self.master(living)
        elif chance < 0.045:
            self.suite.inst.command("postern", "reload")
        else:
            by_name.pop("master", None)
            self.some(living, by_name)

    def some(self, living, by_name):
        """Mostly one process, else all of its program."""
        if not by_name:
            return
        pids = by_name[self.rng.choice(sorted(by_name))]
        if self.rng.random() < 0.9:
            pids = [self.rng.choice(pids)]
        for pid in pids:
            self.suite.kill(pid, living[pid], self.ledger)

    def again(self, before, wait):
        """Starts it, perhaps while the old processes still go."""
        if wait:
            self.suite.wait_gone(before)
        self.over.wait(self.rng.choice((0, 0, 0, 0.5)))
        self.suite.start()
        self.suite.wait_gone(before)
        # what died with its master died now
        self.ledger.fault("without master")

    def master(self, living):
        for pid, what in living.items():
            if what[0] == "master":
                self.suite.kill(pid, what, self.ledger)
        self.again(living, self.rng.random() < 0.5)

    def everything(self, living):
        for pid in self.rng.sample(sorted(living), len(living)):
            self.suite.kill(pid, living[pid], self.ledger)
        # what they made meanwhile
        self.again(living, True)


# --- rounds ------------------------------------------------------------------

class Harness:
    def __init__(self, args):
        self.seed, self.rate = args.seed, args.rate
        self.verbose = args.v
        self.top = tempfile.mkdtemp(prefix="postern-h3.", dir=args.dir)
        tempfile.tempdir = self.top
        self.rng = random.Random(args.seed)
        self.names = relaynet.NameServer({
            "away.test": f"@ IN MX 5 mx\nmx IN A {SINK_HOST}"})
        self.port = relaynet.free_port(host=SINK_HOST)
        self.sink = self.suite = None
        self.failures = 0

    def fail(self, text):
        self.failures += 1
        print(f"h3: FAILED: {text}", flush=True)

    def close(self):
        try:
            if self.suite is not None:
                self.end_suite()
        finally:
            if self.sink is not None:
                self.sink.end()
            self.names.end()
            shutil.rmtree(self.top, ignore_errors=True)

    def begin_suite(self):
        self.suite = Suite(self.top, self.port, self.names.port)
        os.chmod(self.top, 0o755)
        os.chmod(os.path.dirname(self.suite.inst.dir), 0o755)
        self.suite.start()

    def end_suite(self):
        suite, self.suite = self.suite, None
        try:
            if suite.living():
                suite.stop()
            for p in suite.inst.verdict():
                self.fail(p)
        finally:
            shutil.rmtree(os.path.dirname(suite.inst.dir),
                          ignore_errors=True)

    def make_load(self, ledger, number):
        load = Load(self.suite, ledger, self.seed, number)
        for i in range(3):
            load.add(Smtp, f"smtp{i}")
        load.add(Submission, "submission")
        load.add(Lmtp, "lmtp")
        load.add(Command, "command")
        load.add(Imap, "imap")
        load.add(Pop, "pop")
        return load

    def queue_text(self):
        return self.suite.inst.command("mailq").stdout

    def drain(self):
        """The queue is empty, and maildrop/; what it says otherwise."""
        inst = self.suite.inst
        self.sink.kind = True
        deadline = time.monotonic() + DRAIN_SECONDS
        while True:
            text = self.queue_text()
            dropped = os.listdir(os.path.join(inst.dir, "spool/maildrop"))
            if "queue is empty" in text and not dropped:
                return ""
            if time.monotonic() > deadline:
                return f"{text}\nmaildrop: {dropped}"
            inst.command("postqueue", "-f")
            time.sleep(0.2)

    def clean(self, sink):
        """For the next round: mailboxes and the sink's files go, and the
        messages that qmgr put aside since too many agents died with them
        (they are in the queue, for the operator)."""
        shutil.rmtree(sink, ignore_errors=True)
        for path in glob.glob(self.suite.inst.dir + "/spool/corrupt/*"):
            os.unlink(path)
        for user in USERS:
            shutil.rmtree(self.suite.inst.maildir(user), ignore_errors=True)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.suite.pile)
        open(self.suite.inst.log_path, "w", encoding="ascii").close()

    def judge(self, ledger, sink):
        inst = self.suite.inst
        return oracle(ledger.path, spool=os.path.join(inst.dir, "spool"),
                      mail=self.suite.box, sink=sink, log=inst.log_path,
                      window=WINDOW)

    def round(self, number, seconds, only=None):
        """One ledger: load and kills, then dry, stopped, judged."""
        begun = time.monotonic()
        sink = os.path.join(self.top, f"sink{number}")
        ledger = Ledger(os.path.join(self.top, f"ledger{number}"))
        ledger.alias(ALIAS, f"{FORWARD_USER}@{DOMAIN}")
        if self.sink is not None:
            self.sink.end()
        self.sink = Sink(SINK_HOST, self.port, sink, self.rng)
        before = sum(self.suite.kills.values())
        load = self.make_load(ledger, number)
        killer = Killer(self.suite, ledger, random.Random(
            f"{self.seed}/{number}/killer"), self.rate, only)
        load.start()
        killer.start()
        load.over.wait(seconds)
        killer.over.set()
        killer.join(2 * START_SECONDS)
        load.end()
        if killer.failure is not None:
            self.fail(f"{killer.failure}")
        for p in load.problems:
            self.fail(p)
        if not self.suite.living():
            self.suite.start()
        left = self.drain()
        if left:
            self.fail("not drained: " + left)
        self.suite.stop()
        verdict = self.judge(ledger, sink)
        kills = sum(self.suite.kills.values()) - before
        if not verdict.ok:
            self.fail(verdict.text)
            self.keep(number)
        aside = len(os.listdir(self.suite.inst.dir + "/spool/corrupt"))
        print(f"h3: round {number}: {time.monotonic() - begun:.0f} s, "
              f"{kills} kills{' that double nothing' if only else ''}, "
              f"{len(self.sink.got)} relayed, {aside} put aside; "
              f"{verdict.last()}, {verdict.extra} extra copies", flush=True)
        if self.verbose:
            print(f"h3: {dict(load.counts)} {ledger.counts}")
            self.print_fatal()
        ledger.close()
        if verdict.ok:
            os.unlink(ledger.path)
        return verdict

    def print_fatal(self):
        """Why programs ended themselves."""
        lines = collections.Counter(
            re.sub(r"\d+", "N", m) for m in re.findall(
                r"postern/(.*fatal: .*)", self.suite.inst.log()))
        for line, count in lines.most_common(20):
            print(f"h3: {count} times {line}")

    def keep(self, number):
        """The evidence of a failure, when a place for it was given."""
        place = os.environ.get("POSTERN_KEEP")
        if place:
            shutil.copytree(self.top, os.path.join(place, f"h3-{number}-"
                            f"{self.seed}"), symlinks=True,
                            ignore=lambda d, names: [
                                n for n in names if not os.path.isdir(
                                    os.path.join(d, n)) and not
                                os.path.isfile(os.path.join(d, n))])

    def control(self):
        """The losing `deliver` instead of the real one: it has to be caught,
        and without kills there must be nothing to catch."""
        real = conftest.BIN
        early = tempfile.mkdtemp(prefix="h3-early.", dir=conftest.BUILD)
        try:
            for name in os.listdir(real):
                os.link(os.path.join(real, name), os.path.join(early, name),
                        follow_symlinks=False)
            os.unlink(os.path.join(early, "deliver"))
            os.link(os.path.join(real, "crash-early-deliver"),
                    os.path.join(early, "deliver"))
            conftest.BIN = early
            self.begin_suite()
            still = self.control_run(0, False)
            killed = self.control_run(1, True)
            self.end_suite()
        finally:
            conftest.BIN = real
            shutil.rmtree(early)
        if still.lost or still.damaged or not still.acked:
            self.fail("the control has lost something by itself:\n" +
                      still.text)
        print("h3: delivery answered before it is committed: "
              f"{'caught' if killed.lost else 'NOT CAUGHT'} "
              f"({killed.lost} of {killed.acked} lost, "
              f"{self.control_kills} kills of deliver)", flush=True)
        if not killed.lost:
            self.fail("BLIND: a losing program passed")

    def control_run(self, number, kills):
        """Until 30 messages were delivered; or, with kills, until something
        that was acknowledged is nowhere, at most CONTROL_SECONDS."""
        sink = os.path.join(self.top, f"control{number}")
        ledger = Ledger(os.path.join(self.top, f"control-ledger{number}"))
        ledger.alias(ALIAS, f"{FORWARD_USER}@{DOMAIN}")
        if self.sink is not None:
            self.sink.end()
        self.sink = Sink(SINK_HOST, self.port, sink, self.rng)
        load = Load(self.suite, ledger, self.seed, f"c{number}")
        for i in range(3):
            load.add(Smtp, f"smtp{i}")
        killer = Killer(self.suite, ledger, random.Random(self.seed), 4,
                        {"deliver"})
        load.start()
        if kills:
            killer.start()
        deadline = time.monotonic() + CONTROL_SECONDS
        while time.monotonic() < deadline and not load.over.wait(0.1):
            if load.counts["acked"] >= (200 if kills else 30) and (
                    not kills or self.suite.kills["deliver"] >= 10):
                break
        killer.over.set()
        if kills:
            killer.join(START_SECONDS)
        load.end()
        self.control_kills = self.suite.kills["deliver"]
        left = self.drain()
        if left:
            self.fail("the control is not drained: " + left)
        if not kills: # it commits a little after it said so
            wait_until(lambda: not glob.glob(self.suite.box + "/*/*/tmp/*"))
        self.suite.stop()
        verdict = self.judge(ledger, sink)
        ledger.close()
        self.clean(sink)
        if not kills:
            self.suite.start()
        return verdict


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--rate", type=float, default=20)
    parser.add_argument("--round", type=float, default=240)
    parser.add_argument("--dir")
    parser.add_argument("--no-control", action="store_true")
    parser.add_argument("-v", action="store_true")
    args = parser.parse_args()
    if not os.path.exists("/usr/sbin/nsd"):
        print("h3: needs nsd")
        return 77
    need_tools("crash-oracle", "crash-early-deliver")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    h = Harness(args)
    totals, kills, starts = collections.Counter(), collections.Counter(), 0
    begun = time.monotonic()
    try:
        if not args.no_control:
            h.control()
        h.begin_suite()
        begun = time.monotonic()
        number = 0
        while time.monotonic() - begun < args.seconds and h.failures == 0:
            left = args.seconds - (time.monotonic() - begun)
            if number > 0:
                h.suite.start()
            # First, and then each tenth, a short one in which nothing may
            # come twice.
            verdict = h.round(number, min(left, args.round), None) \
                if number % 10 else h.round(number, min(
                    args.seconds / 6, args.round / 6), HARMLESS)
            for name in ("acked", "lost", "damaged", "duplicated", "residue",
                         "died", "extra"):
                totals[name] += getattr(verdict, name)
            if h.failures == 0:
                h.clean(os.path.join(h.top, f"sink{number}"))
            number += 1
        kills, starts = h.suite.kills, h.suite.starts
    finally:
        h.close()
    print("h3: kills: " + ", ".join(f"{n} {c}" for n, c in
                                     sorted(kills.items())))
    print(f"h3: {sum(kills.values())} kills, {starts} starts, "
          f"{totals['acked']} acknowledged, {totals['lost']} lost, "
          f"{totals['damaged']} damaged, {totals['duplicated']} duplicated, "
          f"{totals['extra']} copies more within the window, "
          f"{totals['residue']} residue, {totals['died']} died, "
          f"{time.monotonic() - begun:.0f} s, seed {args.seed}")
    return 1 if h.failures else 0


if __name__ == "__main__":
    sys.exit(main())
