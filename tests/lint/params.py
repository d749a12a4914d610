#!/usr/bin/env python3
"""params.py ROOT: rows of lib/config/*.def that nothing obeys.

A parameter that can be set and does nothing is a lie: each row of params.def
has to be read somewhere, each restriction of restrictions.def has to be in
smtpd, and no name may be in params.def and unsupported.def.
"""
import os
import re
import sys

# Read by the configuration itself, to make others' values or to be shown, or
# by the operator's command alone, which asks by name (newaliases).
INSIDE = {"mail_version", "postern_version", "mynetworks_style", "mydomain",
          "mail_name", "inet_protocols", "alias_database"}


def read(root, path):
    with open(os.path.join(root, path), encoding="utf-8") as f:
        return f.read()


def main():
    root = sys.argv[1] if len(sys.argv) > 1 else "."
    table = read(root, "lib/config/params.def")
    rows = re.findall(r"^PARAM\(\w+, (\w+),", table, re.M) + \
        re.findall(r"^PARAM_ENUM\((\w+),", table, re.M)
    known = set(re.findall(r'^(?:HARMLESS|POLICY|MOVED)\("([^"]+)"',
                           read(root, "lib/config/unsupported.def"), re.M))
    restrictions = re.findall(r"^RESTRICTION\((\w+),", read(
        root, "lib/config/restrictions.def"), re.M)
    code, smtpd = [], []
    for base, dirs, files in os.walk(root):
        dirs[:] = [d for d in dirs if not d.startswith((".", "build"))
                   and d not in ("tests", "run")]
        for name in files:
            path = os.path.relpath(os.path.join(base, name), root)
            if name.endswith((".c", ".h")) and \
                    not path.startswith(("lib/config/", "postern/")):
                code.append(read(root, path))
                if path.startswith("smtpd/"):
                    smtpd.append(code[-1])
    code, smtpd = "\n".join(code), "\n".join(smtpd)
    read_members = set(re.findall(r"(?:->|\.)(\w+)\b", code)) | \
        set(re.findall(r'"(\w+)"', code))
    # Members that a macro makes of its argument (CODE(reject_code)).
    read_members |= set(re.findall(r"\b[A-Z_]+\((\w+)\)", code))
    bad = 0
    for name in rows:
        # <transport>_destination_... and the like are composed.
        composed = re.match(r"(\w+?)(_destination_\w+_limit)$", name)
        if name in INSIDE or name in read_members or \
                (composed and composed[2] in read_members):
            continue
        print(f"lib/config/params.def: {name} is read by nobody")
        bad += 1
    for name in rows:
        if name in known:
            print(f"lib/config/unsupported.def: {name} is in params.def")
            bad += 1
    for name in restrictions:
        if f'"{name}"' not in smtpd:
            print(f"lib/config/restrictions.def: smtpd has no {name}")
            bad += 1
    print(f"params: {len(rows)} parameters, {bad} offences")
    return bad > 0


if __name__ == "__main__":
    sys.exit(main())
