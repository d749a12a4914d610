#!/usr/bin/env python3
"""fuzz.py run BUILD SECONDS TARGET...
fuzz.py merge BUILD TARGET...

run: each target for SECONDS, on the committed corpus, the regressions, and
what earlier runs collected in BUILD/corpus/TARGET. Findings go to
BUILD/crashes/TARGET-*; a table ends it, and the exit status is 1 when there
is a finding. merge: the smallest set of all these that covers the same goes
to tests/fuzz/corpus/TARGET, within FILES_MAX and OCTETS_MAX.
"""
import glob
import hashlib
import os
import re
import shutil
import subprocess
import sys

FILES_MAX = 200
OCTETS_MAX = 300_000
HERE = "tests/fuzz"


def folder(*parts):
    path = os.path.join(*parts)
    os.makedirs(path, exist_ok=True)
    return path


def command(build, target):
    cmd = [os.path.join(build, "bin", "fuzz-" + target)]
    dictionary = f"{HERE}/{target}.dict"
    if os.path.exists(dictionary):
        cmd.append("-dict=" + dictionary)
    try:
        with open(f"{HERE}/{target}.args", encoding="ascii") as f:
            cmd += f.read().split()
    except FileNotFoundError:
        pass
    return cmd


def inputs(target):
    return [d for d in (f"{HERE}/corpus/{target}",
                        f"{HERE}/regressions/{target}") if os.path.isdir(d)]


def last(pattern, text, otherwise="-"):
    found = re.findall(pattern, text, re.M)
    return found[-1] if found else otherwise


def run_one(build, target, seconds):
    collected = folder(build, "corpus", target)
    prefix = os.path.join(folder(build, "crashes"), target + "-")
    log = os.path.join(build, target + ".log")
    env = dict(os.environ,
               ASAN_OPTIONS="detect_leaks=1:abort_on_error=1:"
               "allocator_may_return_null=1",
               UBSAN_OPTIONS="print_stacktrace=1")
    before = set(glob.glob(prefix + "*"))
    with open(log, "wb") as out:
        p = subprocess.run(
            [*command(build, target), f"-max_total_time={seconds}",
             "-print_final_stats=1", "-timeout=20", "-rss_limit_mb=2048",
             "-use_value_profile=0", f"-artifact_prefix={prefix}",
             collected, *inputs(target)],
            stdout=out, stderr=subprocess.STDOUT, env=env,
            stdin=subprocess.DEVNULL, check=False)
    with open(log, encoding="utf-8", errors="replace") as f:
        text = f.read()
    findings = len(set(glob.glob(prefix + "*")) - before)
    if p.returncode != 0 and findings == 0:
        findings = 1        # it did not even start
    row = (target,
           last(r"^stat::number_of_executed_units:\s*(\d+)", text),
           last(r"^stat::average_exec_per_sec:\s*(\d+)", text),
           last(r"\bcov: (\d+)", text),
           last(r"\bcorp: (\d+)/", text), str(findings))
    if findings:
        what = last(r"^(FINDING .*)$", text,
                    last(r"^(.*runtime error: .*|SUMMARY: .*)$", text))
        print(f"{target}: {what}\n    {log}", flush=True)
    return row, findings


def show(rows):
    rows = [("target", "executions", "exec/s", "coverage", "corpus",
             "findings"), *rows]
    widths = [max(len(r[i]) for r in rows) for i in range(len(rows[0]))]
    for r in rows:
        print("  ".join([r[0].ljust(widths[0]),
                         *(c.rjust(w) for c, w in zip(r[1:], widths[1:]))]))


def run(build, seconds, targets):
    rows, found = [], 0
    for target in targets:
        row, findings = run_one(build, target, seconds)
        rows.append(row)
        found += findings
    show(rows)
    return found > 0


def features(control):
    """path -> (octets, features) out of libFuzzer's merge control file."""
    with open(control, encoding="utf-8", errors="surrogateescape") as f:
        count = int(f.readline())
        f.readline()        # how many of them are of the first folder
        paths = [f.readline().rstrip("\n") for _ in range(count)]
        found = {}
        for line in f:
            word, *numbers = line.split()
            if word == "FT":
                path = paths[int(numbers[0])]
                found[path] = (os.path.getsize(path),
                               frozenset(map(int, numbers[1:])))
    return found


def choose(found):
    """The files that show most, one after the other, within the limits: a
    greedy cover; of equals the shorter."""
    left = sorted(found.items(), key=lambda item: item[1][0])
    chosen, covered, octets = [], set(), 0
    while left and len(chosen) < FILES_MAX:
        # What shows nothing new now never will.
        gains = [(len(ft - covered), item) for item in left
                 for ft in [item[1][1]]]
        gains = [(n, item) for n, item in gains
                 if n and octets + item[1][0] <= OCTETS_MAX]
        if not gains:
            break
        _, best = max(gains, key=lambda g: g[0])
        chosen.append(best[0])
        covered |= best[1][1]
        octets += best[1][0]
        left = [item for _, item in gains if item is not best]
    return chosen


def merge_one(build, target):
    scratch = os.path.join(build, "merged", target)
    shutil.rmtree(scratch, ignore_errors=True)
    folder(scratch)
    control = os.path.join(build, "merged", target + ".control")
    if os.path.exists(control):
        os.unlink(control)
    sources = [d for d in (f"{HERE}/corpus/{target}",
                           os.path.join(build, "corpus", target))
               if os.path.isdir(d)]
    subprocess.run([*command(build, target), "-set_cover_merge=1",
                    f"-merge_control_file={control}", "-timeout=20",
                    scratch, *sources], stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL, check=True)
    chosen = {}
    for path in choose(features(control)):
        with open(path, "rb") as f:
            data = f.read()
        chosen[hashlib.sha1(data).hexdigest()] = data
    corpus = folder(HERE, "corpus", target)
    for name in os.listdir(corpus):
        if name not in chosen:
            os.unlink(os.path.join(corpus, name))
    for name, data in chosen.items():
        with open(os.path.join(corpus, name), "wb") as f:
            f.write(data)
    shutil.rmtree(scratch)
    os.unlink(control)
    print(f"{target}: {len(chosen)} files, "
          f"{sum(map(len, chosen.values()))} octets", flush=True)


def main():
    verb, build, *rest = sys.argv[1:]
    if verb == "run":
        sys.exit(run(build, int(rest[0]), rest[1:]))
    for target in rest:
        merge_one(build, target)


if __name__ == "__main__":
    main()
