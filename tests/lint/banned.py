#!/usr/bin/env python3
"""banned.py ROOT: calls and words that have no place in the tree.

Calls that cannot be used safely, and durable operations in lib/queue,
lib/store and qmgr that go round the shim lib/base/sys.h.
"""
import os
import re
import sys

CALLS = {
    "strcpy": "str_to_c() or snprintf()",
    "strcat": "struct buf",
    "strncat": "struct buf",
    "sprintf": "snprintf() or buf_printf()",
    "vsprintf": "vsnprintf()",
    "strtok": "str_split() or str_word()",
    "alloca": "an arena",
    "gets": "the stream",
    "system": "nothing: no shell",
    "popen": "nothing: no shell",
    "signal_handler_t": "signalfd",
    "mktemp": "O_EXCL",
    "tmpnam": "O_EXCL",
    "rand": "getrandom()",
    "localtime": "localtime_r()",
    "gmtime": "gmtime_r()",
}
SHIM = re.compile(r"(?<![\w.>])(open|openat|fsync|fdatasync|rename|renameat|"
                  r"link|linkat|unlink|unlinkat|mkdir|mkdirat|ftruncate|"
                  r"truncate|fchmod|chmod|pwrite|creat)\s*\(")
SHIMMED = ("lib/queue/", "lib/store/", "qmgr/")
# Opening to read changes nothing.
READS = re.compile(r"O_RDONLY|O_PATH|openat\(.*O_DIRECTORY")
COMMENT = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\])*"', re.S)


def blank(m):
    """A comment or string, with its lines kept."""
    return re.sub(r"[^\n]", " ", m[0])


def main():
    root = sys.argv[1] if len(sys.argv) > 1 else "."
    bad = count = 0
    banned = re.compile(r"(?<![\w.>])(%s)\s*\(" % "|".join(CALLS))
    for base, dirs, files in os.walk(root):
        dirs[:] = [d for d in dirs if not d.startswith((".", "build"))
                   and d not in ("corpus", "run", "__pycache__")]
        for name in files:
            if not name.endswith((".c", ".h")):
                continue
            path = os.path.relpath(os.path.join(base, name), root)
            with open(os.path.join(base, name), encoding="utf-8") as f:
                raw = f.read()
            count += 1
            text = COMMENT.sub(blank, raw)
            for number, line in enumerate(text.split("\n"), 1):
                m = banned.search(line)
                if m:
                    print(f"{path}:{number}: {m[1]}(): use "
                          f"{CALLS[m[1]]}")
                    bad += 1
                if path.startswith(SHIMMED) and SHIM.search(line) and \
                        not READS.search(line):
                    call = SHIM.search(line)[1]
                    print(f"{path}:{number}: {call}() goes round the shim "
                          "lib/base/sys.h")
                    bad += 1
            for number, line in enumerate(raw.split("\n"), 1):
                if line.rstrip() != line:
                    print(f"{path}:{number}: white space at the end")
                    bad += 1
    print(f"banned: {count} files, {bad} offences")
    return bad > 0


if __name__ == "__main__":
    sys.exit(main())
