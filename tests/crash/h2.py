#!/usr/bin/python3
"""h2.py: SIGKILL at every system call of the programs on a message's way.

    h2.py [--ways smtp,...] [--programs cleanup,...] [--sample N] [--starts N]
          [--whole WAY:PROGRAM,...] [--suite N] [--apart] [--jobs N]
          [--seed S] [--keep] [-v]

A point is: a client sends a message; one program is killed at its n-th call
since then; master replaces it and the suite lives on. n goes up until the
message is through without the n-th call having come. At the end everything
that was acknowledged has to have arrived, and crash-oracle counts again.

--apart: a point begins when the messages before it have arrived: then the
calls that are counted are those for one message. --sample N: of the points of
each way and program only N, spread over all (0: each), but for those named by
--whole. --suite N: also kill the whole suite at N points of each, and start it
again. --starts N: also kill each program at N calls of its own start, and
master likewise.

Before that a losing order is tried: cleanup's writes into queue files are
not done but pretended, so that 250 is said of nothing. If that is not
reported as LOST the harness is blind and fails.
"""
import argparse
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import points  # noqa: E402
import traced  # noqa: E402

MISSES = 3      # points in a row that did not come: the way's end
# qmgr blames a message for the third agent that dies while it has it, and
# puts it aside: each of theirs is let through before the next kill.
AGENTS = ("local", "smtp", "bounce")


class Kills(points.Points):
    def point(self, way, program, n, action):
        """Whether call n came."""
        suite = self.suite
        if self.options.apart or program in AGENTS:
            self.wait_open()
        token = self.begin(way, f"{way}-{program}-{n}")
        self.tracer.forget()
        count = suite.count_alive(program)
        self.tracer.command(f"rule {program} * {n} {action}")
        result = self.send(way, token)
        fired = self.wait_moment(way, token, result)
        self.tracer.command("off")
        if fired is None:
            if result != "acked":
                suite.problem(f"STUCK {token}: {result} without a kill")
            self.tell(token, suite.ways[way].wrong(token, result))
            return False
        self.fired += 1
        if action.startswith("suite") or program == "master":
            self.begin_again(token)
        else:
            suite.wait_replaced(program, count)
        self.tell(token, suite.ways[way].wrong(token, result))
        return True

    def path(self, way, program, sample, part, action):
        """part: (k, m), each m-th point from the k-th on."""
        first, step = part
        self.watch(program)
        if sample:
            most = len(self.record(way, program)) + MISSES
            chance = self.chance(action, way, program)
            for n in sorted(chance.sample(range(1, most + 1),
                                          min(sample, most)))[first::step]:
                self.point(way, program, n, action)
        else:
            n, missed = 1 + first, 0
            while missed < MISSES:
                missed = 0 if self.point(way, program, n, action) \
                    else missed + 1
                n += step
        self.tracer.command("watch -")
        self.wait_open()
        self.goes_through(way)
        self.goes_through()

    def starts(self, program, sample, part):
        """The suite starts while call n of that program's start kills it."""
        suite = self.suite
        first, step = part
        self.tracer.command(f"watch {program}")
        most = len(self.record_start(program))
        chance = self.chance("start", program)
        for n in sorted(chance.sample(range(1, most + 1),
                                      min(sample, most)))[first::step]:
            suite.end()
            self.tracer.forget()
            self.tracer.command(f"rule {program} * {n} kill-before")
            status = suite.start()
            self.points += 1
            self.fired += self.tracer.wait(0, "fired") is not None
            self.tracer.command("off")
            if program == "master":
                if not suite.instance.is_running():
                    self.begin_again(f"a kill of master at call {n}")
            elif status != 0:
                suite.problem(f"STUCK no start after a kill of {program} "
                              f"at call {n}")
        self.tracer.command("watch -")
        self.goes_through()

    def do(self, kind, way, program, sample, part):
        if kind == "start":
            self.starts(program, sample, part)
        else:
            self.path(way, program, sample, part, kind)


def main():
    a = argparse.ArgumentParser()
    points.add_options(a)
    a.add_argument("--suite", type=int, default=0)
    a.add_argument("--apart", action="store_true")
    options = a.parse_args()
    traced.need_machine()
    if not any("LOST" in text for text in points.control(
            "write,pwrite64,writev,pwritev@/spool/ 1+ pretend", "cleanup")):
        print("h2: a message that was never written was not missed")
        return 1
    todo = points.controls(options)
    for way, program in points.pairs(options):
        sample = points.sample_of(options, way, program)
        todo += points.parts("kill-before", way, program, sample)
        if options.suite and program != "master":
            todo += points.parts("suite-before", way, program, options.suite)
    if options.starts:
        for program in points.STARTED:
            todo += points.parts("start", "-", program, options.starts)
    return points.run("h2", Kills, todo, options)


if __name__ == "__main__":
    sys.exit(main())
