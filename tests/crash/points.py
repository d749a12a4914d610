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

PART = 20       # points of a task
SETTLED = 12    # ms without a call: what a message caused is over
# In the order in which they start.
STARTED = ("log", "smtpd", "pickup", "cleanup", "qmgr", "smtp", "local",
           "bounce", "lookup", "dns", "auth", "keys", "limits", "launch",
           "master")


# What loses, a way: program, rule, what has to be said of it; `lose`: the
# harness itself takes the message away when all is done.
CONTROLS = [
    ("copy", "imapd", "renameat2@/.Proof/tmp 1+ pretend", ("LOST", "WRONG")),
    ("move", "imapd", "renameat2@/.Proof/tmp 1+ pretend", ("LOST", "WRONG")),
    ("hold", "qmgr", "renameat 1+ pretend", ("WRONG",)),
    ("hold", "qmgr", "lose", ("LOST", "WRONG")),
    ("release", "qmgr", "renameat 1+ pretend", ("WRONG",)),
    ("reload", "cleanup", "write,pwrite64,writev,pwritev@/spool/ 1+ pretend",
     ("LOST",)),
    ("reload", "master", "openat@/bin/ 1+ fail EMFILE", ("WRONG",)),
]


class Points:
    def __init__(self, suite, options):
        self.suite = suite
        self.options = options
        self.tracer = suite.tracer
        self.fired = self.points = self.refused = self.broken = 0
        self.notes = []         # worth a look, no failure
        self.open = []          # (way, token, result) that are not over

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
        if result == "acked" or self.suite.ways[way].apart:
            self.open.append((way, token, result))
        if result == "acked":
            return result
        if result == "broken":
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
        """What was acknowledged arrives, and all is in order again."""
        for way, token, result in self.open:
            if result == "acked" and \
                    not self.suite.wait_there(way, token, patience):
                self.suite.problem(f"NOT THERE {token} after {patience} s "
                                   f"{self.suite.odd() or ''}")
            self.tell(token, self.suite.ways[way].settle(token, result))
        self.open = []

    def tell(self, name, why):
        if why is not None:
            self.suite.problem(f"WRONG {name}: {why}")

    def begin(self, way, prefix):
        """A token for which all is prepared on that way; no fault yet."""
        token = self.suite.new_token(prefix)
        w = self.suite.ways[way]
        if w.apart:
            self.wait_open()
        why = w.prepare(token)
        self.tell(token, why and f"not prepared: {why}")
        if w.apart:     # what that caused is no part of the point
            self.tracer.command(f"quiet {SETTLED}")
        return token

    def goes_through(self, way="smtp", after="", patience=20):
        """A message without a fault."""
        suite = self.suite
        deadline = time.monotonic() + patience
        result = None
        while time.monotonic() < deadline:
            w = suite.ways[way]
            token = self.begin(way, f"{way}-clean")
            result = w.send(token)
            if result == "acked" and not suite.wait_there(way, token,
                                                          patience):
                suite.problem(f"STUCK {token} does not arrive {after}")
            if result == "acked" or w.apart:
                self.tell(f"{token} {after}", w.wrong(token, result) or
                          w.settle(token, result))
            if result == "acked":
                return
            time.sleep(0.05)    # the pace of asking, not a wait to pass
        suite.problem(f"STUCK no message is taken {after}: {result}")

    def record(self, way, program):
        """The calls of that program for one message when all is warm: lists
        of call, result, what it is about."""
        path = os.path.join(self.suite.parent, "record")
        acked = 0
        for _ in range(10):     # fewer on a machine that keeps its pace
            self.wait_open()
            self.tracer.command("quiet 20")
            token = self.begin(way, "count")
            self.tracer.command(f"record {path}")
            result = self.suite.ways[way].send(token)
            if result == "acked":
                self.suite.wait_there(way, token)
            self.tracer.command(f"quiet {SETTLED}")
            self.tracer.command("record -")
            if self.suite.ways[way].apart:
                self.open.append((way, token, result))
            acked += result == "acked"
            if acked >= 3 and result == "acked":
                return self.recorded(path, program)
        self.suite.problem(f"STUCK {way}: {result} without a fault")
        return self.recorded(path, program)

    def record_start(self, program):
        path = os.path.join(self.suite.parent, "record")
        self.suite.end()
        self.tracer.command(f"record {path}")
        self.suite.start()
        self.tracer.command("quiet 20")
        self.tracer.command("record -")
        return self.recorded(path, program)

    def control(self, way, program, rule, expected):
        """Whether what that rule makes wrong is told."""
        told = control(rule, program, way) or control(rule, program, way)
        if not all(any(word in text for text in told) for word in expected):
            self.suite.problem(f"BLIND {way} {program} {rule}: {told}")

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
            if task[0] == "control":
                points.control(*task[1:])
                continue
            points.do(*task)
            took = time.monotonic() - start
            n = points.points - before
            part, of = task[-1]
            print(f"{' '.join(map(str, task[:-1]))} {part + 1}/{of}: "
                  f"{n} points, "
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


def is_quick(task):
    """Where nothing is waited for: an agent's or qmgr's successor waits for
    what the others still run (QMGR_AGENT_GRACE)."""
    return task[0] != "start" and task[1] not in ("defer", "reload") and \
        task[2] not in ("qmgr", "smtp", "local", "bounce")


def run(name, kind, todo, options):
    """Exit status."""
    tasks, results = multiprocessing.Queue(), multiprocessing.Queue()
    # Those last that end soon: nobody then works alone.
    todo = sorted(todo, key=lambda t: t[0] != "control" and is_quick(t))
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
    if f"{way}:{program}" in options.whole.split(","):
        return 0
    return options.sample or traced.WAYS[way].most


def parts(kind, way, program, sample):
    """The tasks of that program on that way: several, so that suites that run
    beside each other end at the same time."""
    w = traced.WAYS.get(way)
    m = 1 if 0 < sample <= 10 else 1 + sample // PART if sample else \
        w.parts
    return [(kind, way, program, sample, (k, m)) for k in range(m)]


def controls(options):
    """Tasks: of the ways that are walked."""
    return [("control",) + c for c in CONTROLS
            if c[0] in {way for way, _ in pairs(options)}]


def control(rule, program, way="smtp"):
    """What is told when this rule is in force and the message was promised
    all the same; nothing when it was not."""
    suite = traced.started_suite("control", quiet=True)
    w = suite.ways[way]
    w.patience = 2
    try:
        token = suite.new_token("before")
        w.prepare(token)
        if w.send(token) != "acked" or not suite.wait_there(way, token) or \
                w.settle(token, "acked"):
            return []
        suite.tracer.command(f"watch {program}")
        suite.tracer.command("quiet 20")
        token = suite.new_token("control")
        told = [w.prepare(token)]
        if rule != "lose":
            suite.tracer.command(f"rule {program} {rule}")
        result = w.send(token)
        suite.tracer.command("quiet 200")
        if rule == "lose":
            w.lose(token)
        told += [w.wrong(token, result)]
        if told == [None, None]:
            told += [w.settle(token, result)]
        suite.tracer.command("off")
        suite.end()
        suite.verdict()
        return suite.problems + [f"WRONG {text}" for text in told if text] \
            if result == "acked" else []
    finally:
        suite.close()
