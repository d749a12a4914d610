#!/usr/bin/env python3
"""rfcs.py ROOT: doc/rfcs.md against the tree.

Every RFC that the code names has a row there, and every file that a row names
is there.
"""
import os
import re
import sys


def main():
    root = sys.argv[1] if len(sys.argv) > 1 else "."
    with open(os.path.join(root, "doc/rfcs.md"), encoding="utf-8") as f:
        rows = re.findall(r"^\| (\d+) \|.*\| ([^|]*)\|$", f.read(), re.M)
    listed = {int(n) for n, _ in rows}
    bad = [f"doc/rfcs.md: RFC {n} is listed twice" for n in listed
           if sum(int(m) == n for m, _ in rows) > 1]
    for n, where in rows:
        bad += [f"doc/rfcs.md: RFC {n}: there is no {path}"
                for path in re.findall(r"`([^`]*)`", where)
                if not os.path.exists(os.path.join(root, path))]
    for base, dirs, names in os.walk(root):
        dirs[:] = [d for d in dirs if d != "tests" and d[0] != "." and
                   not d.startswith("build")]
        for name in names:
            if not name.endswith((".c", ".h", ".def")):
                continue
            path = os.path.join(base, name)
            with open(path, encoding="utf-8") as f:
                cited = {int(n) for n in re.findall(r"RFC (\d{3,4})\b",
                                                    f.read())}
            bad += [f"{os.path.relpath(path, root)}: RFC {n} is not in "
                    "doc/rfcs.md" for n in sorted(cited - listed)]
    print("\n".join(sorted(bad) + [f"rfcs: {len(rows)} rows, "
                                   f"{len(bad)} offences"]))
    return 1 if bad else 0


sys.exit(main())
