#!/usr/bin/env python3
"""static.py BUILD: what gcc -fanalyzer, clang-tidy and cppcheck find.

Reads lines "FILE FLAGS" from standard input (make prints them). A finding is
a failure unless a line of static-exceptions names it and says why it is
none; a line there that names nothing any more is a failure too. The results
of a file are kept in BUILD/lint/ until it, a header of it, a flag or a
tool's settings change.
"""
import concurrent.futures
import hashlib
import os
import re
import shlex
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
EXCEPTIONS = os.path.join(HERE, "static-exceptions")

# What the tools are asked for. A check that is off is off for a reason:
GCC = ["-O1", "-fanalyzer",
       # gcc 12 calls what a function of another file fills through a pointer
       # uninitialised; clang's analyzer looks for the same thing and knows.
       "-Wno-analyzer-use-of-uninitialized-value"]
TIDY = ",".join((
    "-*", "clang-analyzer-*", "bugprone-*", "cert-*",
    # two strings or two numbers side by side are no mistake
    "-bugprone-easily-swappable-parameters",
    # _GNU_SOURCE and the like
    "-bugprone-reserved-identifier", "-cert-dcl37-c", "-cert-dcl51-cpp",
    # each int that becomes a char; gcc's -Wconversion is off as well
    "-bugprone-narrowing-conversions", "-cert-str34-c",
    "-bugprone-signed-char-misuse",
    # 64 * 1024 as a size_t; the products of data use __builtin_mul_overflow
    "-bugprone-implicit-widening-of-multiplication-result",
    # rows of cases with the same answer read better apart
    "-bugprone-branch-clone",
    # if ((p = f()) == NULL)
    "-bugprone-assignment-in-if-condition",
    # sizeof(*list) of a list of pointers
    "-bugprone-sizeof-expression",
    # every printf() and close() of a clean-up
    "-cert-err33-c",
    # it wants memcpy_s() and the like, which no C library here has
    "-clang-analyzer-security.insecureAPI."
    "DeprecatedOrUnsafeBufferHandling",
    # the order of members is for the reader
    "-clang-analyzer-optin.performance.Padding",
    # clang 14 loses va_start() in functions that it analyses inline
    "-clang-analyzer-valist.Uninitialized",
))
CPPCHECK = ["--quiet", "--std=c11", "--inline-suppr",
            "--enable=warning,performance,portability",
            "--include=/usr/include/x86_64-linux-gnu/sys/queue.h"
            if os.path.exists("/usr/include/x86_64-linux-gnu/sys/queue.h")
            else "--include=/usr/include/sys/queue.h",
            # a declaration without names has no order to differ from
            "--suppress=funcArgOrderDifferent",
            "--suppress=*:*/sys/queue.h",
            "--template={file}:{line}:{column}: warning: {message} [{id}]"]

FOUND = re.compile(r"^(.+?):(\d+):\d+: (?:warning|error): (.*) "
                   r"\[([^][]+)\]$")


def run(cmd):
    p = subprocess.run(cmd, stdin=subprocess.DEVNULL, check=False, text=True,
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return p.returncode, p.stdout


def plain(flags):
    """What clang understands of gcc's flags."""
    return [f for f in flags if f.startswith(("-D", "-I", "-std="))]


def check(path, flags):
    """[(file, line, check, message)] of all three tools."""
    quiet = [f for f in flags if f not in ("-Werror", "-MMD", "-MP") and
             not f.startswith("-fsanitize")]
    found, failures = [], []
    for name, cmd in (
            ("gcc", ["gcc", *quiet, *GCC, "-S", "-o", "/dev/null", path]),
            ("clang-tidy", ["clang-tidy", "--quiet", f"--checks={TIDY}",
                            path, "--", *plain(flags)]),
            ("cppcheck", ["cppcheck", *CPPCHECK,
                          *[f for f in plain(flags) if f[:2] == "-I"],
                          path])):
        code, out = run(cmd)
        rows = [m for m in map(FOUND.match, out.splitlines()) if m]
        if code != 0 and not rows:
            failures.append(f"{path}: {name} ended with {code}:\n{out}")
        for m in rows:
            file = os.path.relpath(m[1])
            found.append((file, int(m[2]), m[4].split(",")[0], m[3]))
    return found, failures


def state_of(path, flags):
    """A digest of all that the result depends on."""
    digest = hashlib.sha256(repr((flags, GCC, TIDY, CPPCHECK)).encode())
    _, out = run(["gcc", *plain(flags), "-MM", path])
    for name in sorted(set(out.replace("\\\n", " ").split()[1:])):
        with open(name, "rb") as f:
            digest.update(name.encode() + b"\0" + f.read())
    return digest.hexdigest()


def kept(build, path, flags):
    store = os.path.join(build, "lint", path.replace("/", "__"))
    state = state_of(path, flags)
    try:
        with open(store, encoding="utf-8") as f:
            head, *rows = f.read().splitlines()
        if head == state:
            return [tuple(r.split("\t")) for r in rows], []
    except (FileNotFoundError, ValueError):
        pass
    found, failures = check(path, flags)
    rows = sorted({(f, str(n), c, m) for f, n, c, m in found})
    if not failures:
        with open(store, "w", encoding="utf-8") as f:
            f.write("\n".join([state, *("\t".join(r) for r in rows)]))
    return rows, failures


def read_exceptions():
    """[(file, check, part of the line)] in the file's order."""
    rows = []
    with open(EXCEPTIONS, encoding="utf-8") as f:
        for n, line in enumerate(f, 1):
            if not line.strip() or line.startswith("#"):
                continue
            parts = [p.strip() for p in line.rstrip("\n").split(" | ")]
            if len(parts) != 4 or not all(parts):
                sys.exit(f"{EXCEPTIONS}:{n}: FILE | CHECK | PART OF THE "
                         "LINE | WHY")
            rows.append(tuple(parts[:3]))
    return rows


def source_line(path, number):
    with open(path, encoding="utf-8") as f:
        return f.read().splitlines()[number - 1]


def main():
    build = sys.argv[1]
    os.makedirs(os.path.join(build, "lint"), exist_ok=True)
    jobs = [(line.split(" ", 1)[0], shlex.split(line)[1:])
            for line in sys.stdin if line.strip()]
    exceptions = read_exceptions()
    used, seen, bad = set(), set(), 0
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        results = pool.map(lambda j: kept(build, *j), jobs)
        for rows, failures in results:
            for text in failures:
                print(text)
                bad += 1
            for file, number, name, message in rows:
                if (file, number, name) in seen:
                    continue
                seen.add((file, number, name))
                text = source_line(file, int(number))
                hits = [e for e in exceptions if e[0] == file and
                        e[1] == name and e[2] in text]
                used.update(hits)
                if not hits:
                    print(f"{file}:{number}: {message} [{name}]\n"
                          f"    {text.strip()}")
                    bad += 1
    for e in exceptions:
        if e not in used:
            print(f"static-exceptions: {' | '.join(e)}: no such finding")
            bad += 1
    if not jobs:
        sys.exit("no files")
    print(f"static analysis: {len(jobs)} files, {len(seen)} findings, "
          f"{len(exceptions)} explained, {bad} not")
    sys.exit(bad > 0)


if __name__ == "__main__":
    main()
