#!/usr/bin/env python3
"""layers.py ROOT: every #include "x/y.h" against lib/LAYERS.

A directory of lib/ includes what its line there names; a program includes
lib/ and its own folder. Prints each offence with file and line; the exit
status tells whether there was one.
"""
import os
import re
import sys

INCLUDE = re.compile(r'\s*#\s*include\s*"([^"]+)"')
NOT_PROGRAMS = {"lib", "tests", "man", "doc", "conf", "build", "packaging"}


def read_layers(root):
    allowed, order = {}, []
    with open(os.path.join(root, "lib/LAYERS"), encoding="ascii") as f:
        for line in f:
            line = line.split("#")[0].strip()
            if not line:
                continue
            name, _, rest = line.partition(":")
            uses = rest.split()
            for use in uses:
                if use not in order:
                    sys.exit(f"lib/LAYERS: {name} names {use}, which does "
                             "not stand before it")
            order.append(name)
            allowed[name] = set(uses) | {name}
    return allowed


def sources(root, folder):
    for base, dirs, files in os.walk(os.path.join(root, folder)):
        dirs[:] = [d for d in dirs if d not in ("__pycache__",)]
        for name in sorted(files):
            if name.endswith((".c", ".h", ".def")):
                yield os.path.relpath(os.path.join(base, name), root)


def target(root, path, include):
    if os.path.exists(os.path.join(root, "lib", include)):
        return "lib/" + include.split("/")[0]
    if os.path.exists(os.path.join(root, include)):
        return include.split("/")[0]
    return None


def main():
    root = sys.argv[1] if len(sys.argv) > 1 else "."
    allowed = read_layers(root)
    programs = [d for d in sorted(os.listdir(root))
                if os.path.isfile(os.path.join(root, d, "module.mk"))
                and d not in NOT_PROGRAMS]
    for d in sorted(os.listdir(os.path.join(root, "lib"))):
        name = "lib/" + d
        if os.path.isdir(os.path.join(root, name)) and name not in allowed \
                and any(sources(root, name)):
            sys.exit(f"{name} is not in lib/LAYERS")
    for p in programs:
        allowed[p] = {k for k in allowed if k.startswith("lib/")} | {p}
    count = bad = 0
    for folder, may in allowed.items():
        for path in sources(root, folder):
            with open(os.path.join(root, path), encoding="utf-8") as f:
                for number, line in enumerate(f, 1):
                    m = INCLUDE.match(line)
                    if not m:
                        continue
                    count += 1
                    to = target(root, path, m[1])
                    if to is None:
                        print(f"{path}:{number}: {m[1]} is nowhere; write "
                              "the layer in front (\"base/buf.h\")")
                        bad += 1
                    elif to not in may:
                        print(f"{path}:{number}: {folder} may not include "
                              f"{m[1]} ({to}); see lib/LAYERS")
                        bad += 1
    print(f"layers: {count} includes, {bad} not allowed")
    return bad > 0


if __name__ == "__main__":
    sys.exit(main())
