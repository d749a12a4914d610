#!/usr/bin/env python3
"""run-tests.py BUILD [KIND...]: runs lint, unit, fuzz, crash and system tests.

`crash` runs the harnesses of tests/crash/harnesses with what `make check`
asks of them, `crash-full` with what `make crash` asks.

Ends with "N passed, N failed" over everything that ran; the exit status is
not 0 when something failed or nothing ran.
"""
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import xml.etree.ElementTree as ET

KINDS = ("lint", "unit", "fuzz", "crash", "system")


class Tally:
    def __init__(self):
        self.passed = self.skipped = 0
        self.failed = []        # what, and the first line of why
        self.lint = None

    def count(self, ok, name, text="", printed=False):
        if ok:
            self.passed += 1
        else:
            print(f"FAILED {name}")
            if text and not printed:
                print("    " + text.strip().replace("\n", "\n    "))
            self.fail(name, " / ".join(text.strip().split("\n")[-3:]))
        sys.stdout.flush()

    def fail(self, name, why=""):
        self.failed.append(f"{name}: {why[:500]}" if why else name)

    def end(self):
        """Says it all once more: the output before it is long."""
        if self.skipped:
            print(f"{self.skipped} were skipped; their lines say why")
        for line in self.failed:
            print(f"FAILED {line}")
        print(f"{self.passed} passed, {len(self.failed)} failed")
        sys.exit(bool(self.failed) or self.passed == 0)


# Seconds after which something will never end. Nothing takes a tenth of it on
# a machine that does nothing else.
NEVER = 3600


def run(cmd, timeout=NEVER, env=None):
    """Its status and what it wrote. What it left running ends with it."""
    with tempfile.TemporaryFile() as out:
        p = subprocess.Popen(cmd, stdout=out, stderr=subprocess.STDOUT,
                             env=env, stdin=subprocess.DEVNULL,
                             start_new_session=True)
        late = ""
        try:
            p.wait(timeout)
        except subprocess.TimeoutExpired:
            late = f"\nno end after {timeout} s"
        try:
            os.killpg(p.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        p.wait()
        out.seek(0)
        text = out.read().decode("utf-8", "replace")
    return -1 if late else p.returncode, text + late


class Lint:
    """It takes minutes of two cores and nobody waits for it: it runs beside
    the other kinds, at the end of the queue, until those that want the
    machine for themselves."""

    def __init__(self, tally, build):
        self.tally = tally
        cmd = ["nice", "make", "--no-print-directory", f"B={build}", "lint"]
        self.thread = threading.Thread(target=lambda: setattr(
            self, "result", run(cmd)))
        self.thread.start()

    def end(self):
        if self.thread is None:
            return
        self.thread.join()
        self.thread = None
        print("== lint")
        print(self.result[1].strip())
        self.tally.count(self.result[0] == 0, "make lint", self.result[1],
                         printed=True)


def lint(tally, build):
    if tally.lint is None:
        tally.lint = Lint(tally, build)


def unit(tally, build):
    # Programs do not look for leaks (lib/service/sandbox.c): it is done here.
    env = dict(os.environ, CMOCKA_MESSAGE_OUTPUT="TAP",
               ASAN_OPTIONS="detect_leaks=1",
               UBSAN_OPTIONS="print_stacktrace=1")
    root = os.path.join(build, "tests/unit")
    for base, _, files in sorted(os.walk(root)):
        for name in sorted(files):
            if not name.endswith("_test"):
                continue
            path = os.path.join(base, name)
            short = os.path.relpath(path, root)
            code, out = run([path], env=env)
            oks = len(re.findall(r"^ok \d", out, re.M))
            bad = re.findall(r"^not ok \d+ - (.*)$", out, re.M)
            tally.passed += oks
            for test in bad:
                tally.count(False, f"{short}: {test}")
            if bad or (code == 0 and oks == 0):
                print("    " + out.strip().replace("\n", "\n    "))
            if code != 0 and not bad:
                tally.count(False, f"{short}: exit status {code}", out)
            elif code == 0 and oks == 0:
                tally.count(False, f"{short}: it ran no test")
            else:
                print(f"unit {short}: {oks} ok")
            sys.stdout.flush()


def fuzz(tally, build):
    """Replays the committed inputs of each target of tests/fuzz."""
    code, out = run(["make", "--no-print-directory", f"B={build}",
                     f"-j{os.cpu_count() or 1}", "fuzz-replay"])
    if code != 0:
        tally.count(False, "make fuzz-replay", out)
        return
    env = dict(os.environ, UBSAN_OPTIONS="print_stacktrace=1",
               ASAN_OPTIONS="detect_leaks=1:allocator_may_return_null=1")
    for source in sorted(os.listdir("tests/fuzz")):
        target = source[:-2]
        if not source.endswith(".c") or target in ("fuzz", "replay"):
            continue
        code, out = run([os.path.join(build, "fuzz-replay/bin/fuzz-" + target),
                         f"tests/fuzz/corpus/{target}",
                         f"tests/fuzz/regressions/{target}"], env=env)
        tally.count(code == 0, f"fuzz {target}", out[-8000:])
        if code == 0:
            print(f"fuzz {target}: {out.strip()}", flush=True)


def harnesses(tally, build, full):
    """Runs each line of tests/crash/harnesses, or those that POSTERN_HARNESS
    names (comma between them)."""
    wanted = os.environ.get("POSTERN_HARNESS")
    # (leaks are looked for in unit tests)
    env = dict(os.environ, POSTERN_BUILD=os.path.abspath(build),
               ASAN_OPTIONS="detect_leaks=0")
    with open(os.path.join(build, "flags"), encoding="utf-8") as f:
        sanitized = "-fsanitize=" in f.read()
    with open("tests/crash/harnesses", encoding="ascii") as f:
        rows = [line.strip().split("|") for line in f
                if line.strip() and not line.startswith("#")]
    names = [row[0].strip() for row in rows]
    for name in (wanted or "").split(","):
        if name and name not in names:
            tally.count(False, f"there is no harness {name}: "
                        + ", ".join(names))
    for row in rows:
        name, command, check_args, full_args, *slow = (c.strip() for c in row)
        if sanitized and slow:
            check_args = slow[0]
        if wanted and name not in wanted.split(","):
            continue
        args = (full_args if full else check_args).split()
        if not full and check_args == "-":
            if wanted:
                print(f"{name}: only in make crash")
            continue
        path = command.replace("BUILD", build)
        start = time.monotonic()
        cmd = [sys.executable] if path.endswith(".py") else []
        code, out = run(cmd + [path, *args], 6 * 3600 if full else NEVER, env)
        print(out.strip())
        print(f"{name}: {time.monotonic() - start:.0f} s")
        if code == 77:      # it said what the machine lacks
            tally.skipped += 1
        else:
            tally.count(code == 0, " ".join([name, *args]), out, printed=True)


def crash(tally, build):
    harnesses(tally, build, False)


def crash_full(tally, build):
    harnesses(tally, build, True)


# These measure the suite, or fill the machine: nothing runs beside them.
ALONE = ("tests/system/test_starvation.py",
         "tests/system/test_login_timing.py")


def pytest(tally, build, name, args):
    report = os.path.join(build, f"system-{name}.xml")
    env = dict(os.environ, POSTERN_BUILD=os.path.abspath(build))
    cmd = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider",
           "--tb=short", f"--junitxml={report}", *args]
    if os.path.exists(report):
        os.unlink(report)
    start = time.monotonic()
    p = subprocess.run(cmd, env=env, stdin=subprocess.DEVNULL, check=False)
    print(f"system {name}: {time.monotonic() - start:.0f} s")
    if not os.path.exists(report):
        tally.count(False, f"pytest: exit status {p.returncode}")
        return
    suite = ET.parse(report).getroot().find("testsuite")
    total, failures, errors, skipped = (
        int(suite.get(k, 0))
        for k in ("tests", "failures", "errors", "skipped"))
    tally.passed += total - failures - errors - skipped
    tally.skipped += skipped
    for case in suite.iter("testcase"):
        for bad in (*case.iter("failure"), *case.iter("error")):
            why = (bad.get("message") or "").split("\n")[0]
            tally.fail(f"{case.get('classname')}::{case.get('name')}",
                       why)
    if total == 0:
        tally.count(False, "pytest: it ran no test")


def system(tally, build):
    # Mostly they wait: three files at a time, each with instances of its own.
    pytest(tally, build, "together",
           ["-n", "3", "--dist", "loadfile", "tests/system",
            *(f"--ignore={path}" for path in ALONE)])
    if tally.lint is not None:
        tally.lint.end()
    pytest(tally, build, "alone", ALONE)


def main():
    build = sys.argv[1]
    kinds = sys.argv[2:] or KINDS
    for kind in kinds:
        if kind not in (*KINDS, "crash-full"):
            sys.exit(f"there is no kind {kind}: {', '.join(KINDS)}")
    tally = Tally()
    for kind in kinds:
        if kind != "lint":
            print(f"== {kind}")
            sys.stdout.flush()
        globals()[kind.replace("-", "_")](tally, build)
    if tally.lint is not None:
        tally.lint.end()
    tally.end()


if __name__ == "__main__":
    main()
