"""Points: what h2.py and h5.py do alike, one fault and one message at a time.

    class Kills(Points): ...        points in one suite
    run("h2", Kills, tasks, options)   spreads the tasks over suites
"""
import multiprocessing
import os
import random
import sys
import time

import traced

SETTLED = 12    # ms without a call: what a message caused is over
# In the order in which they start.
STARTED = ("log", "smtpd", "pickup", "cleanup", "qmgr", "smtp", "local",
           "bounce", "lookup", "dns", "auth", "keys", "limits", "launch",
           "master")


class Points:
    def __init__(self, suite, options):
        self.suite = suite
        self.options = options
        self.tracer = suite.tracer
        self.fired = self.points = self.refused = self.broken = 0
        self.notes = []         # worth a look, no failure
        self.open = []          # (way, token) acknowledged, not yet there

    def chance(self, *names):
        """Random numbers that only the seed and the names decide."""
        return random.Random(" ".join((str(self.options.seed),) + names))

    def watch(self, program):
        self.tracer.command(f"watch {program}")
        self.tracer.command("quiet 20")

    def send(self, way, token):
        """As the way does; counted, and remembered when acknowledged."""
        start = time.monotonic()
        result = self.suite.ways[way].send(token)
        took = time.monotonic() - start
        if took > 4:
            self.notes.append(f"{token}: {result} after {took:.0f} s")
        self.points += 1
        if result == "acked":
            self.open.append((way, token))
        elif result == "broken":
            self.broken += 1
        else:
            self.refused += 1
        return result

    def wait_moment(self, way, token, result):
        """Until the rule has done its deed: that event; or the message is
        through: None."""
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

    def begin_again(self, after):
        self.suite.end()
        if self.suite.start() != 0:
            self.suite.problem(f"STUCK it does not start after {after}")

    def wait_open(self, patience=30):
        """What was acknowledged arrives."""
        for way, token in self.open:
            if not self.suite.wait_there(way, token, patience):
                self.suite.problem(f"NOT THERE {token} after {patience} s")
        self.open = []

    def goes_through(self, way="smtp", after="", patience=20):
        """A message without a fault."""
        suite = self.suite
        deadline = time.monotonic() + patience
        result = None
        while time.monotonic() < deadline:
            token = suite.new_token(f"{way}-clean")
            result = suite.ways[way].send(token)
            if result == "acked":
                if not suite.wait_there(way, token, patience):
                    suite.problem(f"STUCK {token} does not arrive {after}")
                return
            time.sleep(0.05)    # the pace of asking, not a wait to pass
        suite.problem(f"STUCK no message is taken {after}: {result}")

    def record(self, way, program):
        """The calls of that program for one message when all is warm: lists
        of call, result, what it is about."""
        path = os.path.join(self.suite.parent, "record")
        for _ in range(3):
            self.wait_open()
            self.tracer.command("quiet 20")
            self.tracer.command(f"record {path}")
            token = self.suite.new_token("count")
            if self.suite.ways[way].send(token) == "acked":
                self.suite.wait_there(way, token)
            self.tracer.command(f"quiet {SETTLED}")
            self.tracer.command("record -")
        return self.recorded(path, program)

    def record_start(self, program):
        path = os.path.join(self.suite.parent, "record")
        self.suite.end()
        self.tracer.command(f"record {path}")
        self.suite.start()
        self.tracer.command("quiet 20")
        self.tracer.command("record -")
        return self.recorded(path, program)

    def recorded(self, path, program):
        with open(path, encoding="ascii", errors="replace") as f:
            calls = [line.rstrip("\n").split(" ", 4) for line in f]
        return [c[2:] for c in calls if c[0] == program and len(c) == 5]


def work(name, kind, tasks, results, options):
    suite = traced.started_suite(name, verbose=options.verbose)
    points = kind(suite, options)
    said = ""
    try:
        for task in iter(tasks.get, None):
            before, start = points.points, time.monotonic()
            points.do(*task)
            took = time.monotonic() - start
            n = points.points - before
            print(f"{' '.join(map(str, task))}: {n} points, "
                  f"{n / took:.1f} a second")
            sys.stdout.flush()
        said = suite.verdict()
    except Exception as e:      # whatever it is: the run is void
        suite.problem(f"harness: {e!r}")
        if options.verbose:
            raise
    finally:
        results.put((points.points, points.fired, points.refused,
                     points.broken, suite.problems, points.notes, said))
        suite.close(options.keep)


def run(name, kind, todo, options):
    """Exit status."""
    tasks, results = multiprocessing.Queue(), multiprocessing.Queue()
    for t in todo + [None] * options.jobs:
        tasks.put(t)
    start = time.monotonic()
    workers = [multiprocessing.Process(target=work, args=(
        name, kind, tasks, results, options)) for _ in range(options.jobs)]
    for w in workers:
        w.start()
    points = fired = refused = broken = 0
    problems = []
    for _ in workers:
        p, f, r, b, bad, notes, said = results.get()
        points, fired = points + p, fired + f
        refused, broken = refused + r, broken + b
        problems += bad
        for line in notes:
            print("note:", line)
        print(said)
    for w in workers:
        w.join()
    took = time.monotonic() - start
    print(f"{name}: {points} points, {fired} faults, "
          f"{points / took:.1f} a second; {refused} refused, "
          f"{broken} broken off; {len(problems)} problems")
    return 1 if problems else 0


def add_options(parser):
    parser.add_argument("--ways", help="only these, comma between")
    parser.add_argument("--programs", help="only these, comma between")
    parser.add_argument("--sample", type=int, default=0)
    parser.add_argument("--whole", default="",
                        help="way:program,...: these not sampled")
    parser.add_argument("--starts", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("-v", dest="verbose", action="store_true")


def pairs(options):
    """(way, program) as the options want them."""
    return [(way, program)
            for way, w in traced.WAYS.items() for program in w.programs
            if (not options.ways or way in options.ways.split(",")) and
            (not options.programs or
             program in options.programs.split(","))]


def sample_of(options, way, program):
    return 0 if f"{way}:{program}" in options.whole.split(",") \
        else options.sample


def control(rule, program, lost="LOST"):
    """Whether the oracle misses a message that this rule makes vanish."""
    suite = traced.started_suite("control", quiet=True)
    try:
        suite.tracer.command(f"watch {program}")
        suite.tracer.command("quiet 20")
        suite.tracer.command(rule)
        token = suite.new_token("control")
        result = suite.ways["smtp"].send(token)
        suite.tracer.command("quiet 200")
        suite.tracer.command("off")
        suite.end()
        suite.verdict()
        return result == "acked" and \
            any(lost in p for p in suite.problems)
    finally:
        suite.close()
