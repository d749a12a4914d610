#!/usr/bin/env python3
"""h2.py: SIGKILL at every system call of the programs on a message's way.

    h2.py [--ways smtp,...] [--programs cleanup,...] [--sample N] [--starts N]
          [--suite N] [--jobs N] [--seed S] [--keep] [-v]

A point is: a client sends a message; one program is killed at its n-th call
since then; master replaces it and the suite lives on. n goes up until the
message is through without the n-th call having come. At the end everything
that was acknowledged has to have arrived, and crash-oracle counts again.

--sample N: of the points of each way and program only N, spread over all
(0: each). --suite N: also kill the whole suite at N points of each, and start
it again. --starts N: also kill each program at N calls of its own start, and
master likewise.

Before that a losing order is tried: cleanup's writes into queue files are
not done but pretended, so that 250 is said of nothing. If that is not
reported as LOST the harness is blind and fails.
"""
import argparse
import multiprocessing
import os
import random
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import traced  # noqa: E402

MISSES = 3      # points in a row that did not come: the way's end
SETTLED = 12    # ms without a call: what a message caused is over
STARTED = ("log", "smtpd", "pickup", "cleanup", "qmgr", "smtp", "local",
           "bounce", "lookup", "dns", "auth", "keys", "limits", "launch")


class Kills:
    """Points in one suite."""

    def __init__(self, suite):
        self.suite = suite
        self.tracer = suite.tracer
        self.fired = self.points = self.refused = self.broken = 0
        self.slow = []
        self.open = []          # (way, token) acknowledged, not yet there

    def wait_moment(self, way, token, result):
        """Until the rule has done its deed, or the message is through."""
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            for event in self.tracer.events:
                if event[0] == "fired":
                    return event
            if result != "acked" or self.suite.ways[way].is_there(token):
                self.tracer.command(f"quiet {SETTLED}")
                return self.tracer.wait(0, "fired")
            self.tracer.poll(0.001)
        return None

    def point(self, way, program, n, action="kill-before"):
        """Whether call n came."""
        suite = self.suite
        self.tracer.forget()
        self.tracer.command(f"rule {program} * {n} {action}")
        token = suite.new_token(f"{way}-{program}-{n}")
        start = time.monotonic()
        result = suite.ways[way].send(token)
        if time.monotonic() - start > 4:
            self.slow.append(f"{token} {time.monotonic() - start:.0f} s")
        fired = self.wait_moment(way, token, result)
        self.tracer.command("off")
        self.points += 1
        if result == "acked":
            self.open.append((way, token))
        elif result == "broken":
            self.broken += 1
        else:
            self.refused += 1
        if fired is None:
            if result != "acked":
                suite.problem(f"STUCK {token}: {result} without a kill")
            return False
        self.fired += 1
        if action.startswith("suite"):
            suite.end()
            self.begin_again(token)
        elif suite.wait_replaced(program):
            self.tracer.command("quiet 3")
        return True

    def begin_again(self, token):
        if self.suite.start() != 0:
            self.suite.problem(f"STUCK it does not start after {token}")

    def clean(self, patience=20):
        """What was acknowledged arrives, and a message goes through."""
        suite = self.suite
        for way, token in self.open:
            if not suite.wait_there(way, token, patience):
                suite.problem(f"NOT THERE {token} after {patience} s")
        self.open = []
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            token = suite.new_token("clean")
            if suite.ways["smtp"].send(token) == "acked":
                if not suite.wait_there("smtp", token, patience):
                    suite.problem(f"STUCK {token} does not arrive")
                return
        suite.problem("STUCK no message is taken any more")

    # --- tasks ---

    def count(self, way, program):
        """Calls of that program for one message, when all is warm."""
        path = os.path.join(self.suite.parent, "record")
        for _ in range(2):
            self.tracer.command("quiet 20")
            self.tracer.command(f"record {path}")
            token = self.suite.new_token("count")
            if self.suite.ways[way].send(token) == "acked":
                self.open.append((way, token))
                self.suite.wait_there(way, token)
            self.tracer.command(f"quiet {SETTLED}")
            self.tracer.command("record -")
        with open(path, encoding="ascii", errors="replace") as f:
            return sum(line.startswith(program + " ") for line in f)

    def path(self, way, program, sample, action, chance):
        self.tracer.command(f"watch {program}")
        self.tracer.command("quiet 20")
        if sample:
            most = self.count(way, program) + MISSES
            for n in sorted(chance.sample(range(1, most + 1),
                                          min(sample, most))):
                self.point(way, program, n, action)
        else:
            n, missed = 1, 0
            while missed < MISSES:
                missed = 0 if self.point(way, program, n, action) \
                    else missed + 1
                n += 1
        self.tracer.command("watch -")
        self.clean()

    def start_points(self, program, sample, chance):
        """The suite starts while call n of that program's start kills it."""
        suite = self.suite
        suite.end()
        path = os.path.join(suite.parent, "record")
        self.tracer.command(f"watch {program}")
        self.tracer.command(f"record {path}")
        suite.start()
        self.tracer.command("quiet 20")
        self.tracer.command("record -")
        with open(path, encoding="ascii", errors="replace") as f:
            most = sum(line.startswith(program + " ") for line in f)
        points = range(1, most + 1)
        if sample:
            points = sorted(chance.sample(points, min(sample, most)))
        for n in points:
            suite.end()
            self.tracer.forget()
            self.tracer.command(f"rule {program} * {n} kill-before")
            status = suite.start()
            self.points += 1
            self.fired += self.tracer.wait(0, "fired") is not None
            self.tracer.command("off")
            if program == "master" and not suite.instance.is_running():
                self.begin_again(f"a kill of master at call {n}")
            elif status != 0 and program != "master":
                suite.problem(f"STUCK no start after a kill of {program} "
                              f"at call {n}")
        self.tracer.command("watch -")
        self.clean()


def loses_when_it_should():
    """The control: 250 for what was never written."""
    suite = traced.Suite("h2-control")
    try:
        assert suite.start() == 0
        kills = Kills(suite)
        suite.tracer.command("watch cleanup")
        suite.tracer.command("quiet 20")
        suite.tracer.command(
            "rule cleanup write,pwrite64,writev,pwritev@/spool/ 1+ pretend")
        token = suite.new_token("control")
        result = suite.ways["smtp"].send(token)
        suite.tracer.command("quiet 100")
        suite.tracer.command("off")
        suite.end()
        suite.quiet = True
        suite.verdict()
        del kills
        return result == "acked" and \
            any("LOST" in p for p in suite.problems)
    finally:
        suite.close()


def work(tasks, results, options):
    suite = traced.Suite("h2", verbose=options.verbose)
    kills = Kills(suite)
    said = ""
    try:
        if suite.start() != 0:
            suite.problem("it does not start")
        for kind, way, program, sample in iter(tasks.get, None):
            chance = random.Random(f"{options.seed} {kind} {way} {program}")
            before, start = kills.points, time.monotonic()
            if kind == "start":
                kills.start_points(program, sample, chance)
            else:
                kills.path(way, program, sample, kind, chance)
            took = time.monotonic() - start
            n = kills.points - before
            print(f"{kind} {way} {program}: {n} points, "
                  f"{n / took:.1f} a second")
            sys.stdout.flush()
        _, said = suite.verdict()
    except Exception as e:      # whatever it is: the run is void
        suite.problem(f"harness: {e!r}")
        if options.verbose:
            raise
    finally:
        results.put((kills.points, kills.fired, kills.refused, kills.broken,
                     suite.problems, kills.slow, said))
        suite.close(options.keep)


def make_tasks(options):
    tasks = []
    for way, w in traced.WAYS.items():
        if options.ways and way not in options.ways.split(","):
            continue
        for program in w.programs:
            if options.programs and \
                    program not in options.programs.split(","):
                continue
            tasks.append(("kill-before", way, program, options.sample))
            if options.suite:
                tasks.append(("suite-before", way, program, options.suite))
    if options.starts:
        for program in STARTED + ("master",):
            tasks.append(("start", "-", program, options.starts))
    return tasks


def main():
    a = argparse.ArgumentParser()
    a.add_argument("--ways")
    a.add_argument("--programs")
    a.add_argument("--sample", type=int, default=0)
    a.add_argument("--suite", type=int, default=0)
    a.add_argument("--starts", type=int, default=0)
    a.add_argument("--jobs", type=int, default=2)
    a.add_argument("--seed", type=int, default=1)
    a.add_argument("--keep", action="store_true")
    a.add_argument("-v", dest="verbose", action="store_true")
    options = a.parse_args()
    traced.need_machine()
    if not loses_when_it_should():
        print("h2: a message that was never written was not missed")
        return 1
    tasks, results = multiprocessing.Queue(), multiprocessing.Queue()
    todo = make_tasks(options)
    for t in todo + [None] * options.jobs:
        tasks.put(t)
    start = time.monotonic()
    workers = [multiprocessing.Process(target=work,
                                       args=(tasks, results, options))
               for _ in range(options.jobs)]
    for w in workers:
        w.start()
    points = fired = refused = broken = problems = 0
    for _ in workers:
        p, f, r, b, bad, slow, said = results.get()
        points, fired = points + p, fired + f
        refused, broken = refused + r, broken + b
        problems += len(bad)
        for line in slow:
            print("slow:", line)
        print(said)
    for w in workers:
        w.join()
    took = time.monotonic() - start
    print(f"h2: {points} points, {fired} kills, {points / took:.1f} a second; "
          f"{refused} refused, {broken} broken off; {problems} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
