#!/usr/bin/env python3
"""The catalogue of bad inputs: loads it, checks it, counts it.

    table.py lint       every rule of README.md; exit status 1 when one fails
    table.py summary    rows a protocol, and each row that nothing replays yet

As a module:

    rows("imap")        the rows of imap.tsv, as Row
    steps(row.input)    what to do: ("send", octets), ("W", ""), ("TLS", "") ...
    conversation(reply) the whole conversation as one regular expression
    effects(row)        the effect column as a dictionary
    summary()           lines for the end of a test run
"""
import collections
import os
import re
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
SYSTEM = os.path.join(os.path.dirname(HERE), "system")
COLUMNS = ("id", "state", "class_", "input", "reply", "effect", "ref",
           "status", "note")

Row = collections.namedtuple("Row", ("protocol",) + COLUMNS)

ESCAPES = {"n": 10, "r": 13, "t": 9, "v": 11, "f": 12, "a": 7, "b": 8,
           "0": 0, "\\": 92, '"': 34, "'": 39}
REPEAT = re.compile(r'\{\{REP (\d+) "((?:[^"\\]|\\.)*)"\}\}')
# A step's name is upper case; its arguments are the test's business. What
# looks otherwise ("${{{{") is text.
STEP = re.compile(r"\{\{([A-Z][A-Z0-9.-]*)((?: [^{}]*)?)\}\}")
STATUS = re.compile(r"replay(; missing: \S.*)?|test [\w./]+::\w+|missing: \S.*")


def protocols():
    """The names of the files, which are the protocols."""
    return sorted(f[:-4] for f in os.listdir(HERE) if f.endswith(".tsv"))


def rows(protocol):
    out = []
    with open(os.path.join(HERE, protocol + ".tsv"), encoding="utf-8",
              newline="\n") as f:
        for number, text in enumerate(f, 1):
            if text.startswith("#") or not text.strip():
                continue
            parts = text.rstrip("\n").split("\t")
            if len(parts) != len(COLUMNS):
                raise ValueError(f"{protocol}.tsv:{number}: {len(parts)} "
                                 f"columns, not {len(COLUMNS)}")
            out.append(Row(protocol, *parts))
    return out


def catalogue():
    """The ids that must exist, and the file of each: from the file ids,
    whose lines are PROTOCOL PREFIX COUNT for PREFIX-001 to PREFIX-COUNT."""
    out = {}
    with open(os.path.join(HERE, "ids"), encoding="ascii") as f:
        for text in f:
            if text.startswith("#") or not text.strip():
                continue
            protocol, prefix, count = text.split()
            for i in range(1, int(count) + 1):
                out[f"{prefix}-{i:03d}"] = protocol
    return out


# --- the input column ---

def unescape(text):
    """C escapes to octets; any other character as UTF-8. A backslash before
    what is no escape stays."""
    def one(m):
        if m.group(1):
            return bytes([int(m.group(1), 16)])
        code = ESCAPES.get(m.group(2).decode("latin-1"))
        return m.group() if code is None else bytes([code])
    return re.sub(rb"\\(?:x([0-9a-fA-F]{2})|(.))", one, text.encode())


def _repeat(m):
    n, piece = int(m.group(1)), m.group(2)
    if "{{i}}" in piece:
        return b"".join(unescape(piece.replace("{{i}}", str(k)))
                        for k in range(n))
    return unescape(piece) * n


def expand(text):
    """Octets of a piece without steps; {{REP n "s"}} repeats s, whose {{i}}
    is the number of the repetition. One REP may stand in another, its
    quotes escaped once more."""
    m = re.search(r'\{\{REP (\d+) "((?:[^"\\{]|\\.|\{(?!\{))*)\{\{REP (\d+) '
                  r'\\"((?:[^"\\]|\\.)*?)\\"\}\}((?:[^"\\]|\\.)*)"\}\}', text)
    if m:
        inner = unescape(m.group(2)) + \
            unescape(m.group(4)) * int(m.group(3)) + unescape(m.group(5))
        return expand(text[:m.start()]) + inner * int(m.group(1)) + \
            expand(text[m.end():])
    out, at = b"", 0
    for m in REPEAT.finditer(text):
        out += unescape(text[at:m.start()]) + _repeat(m)
        at = m.end()
    return out + unescape(text[at:])


def steps(text):
    """The script of an input: a list of (name, argument); "send" has octets,
    the others the text behind their name."""
    out, at = [], 0
    for m in STEP.finditer(text):
        if m.group(1) == "REP":
            continue
        if m.start() > at:
            out.append(("send", expand(text[at:m.start()])))
        out.append((m.group(1), m.group(2).strip()))
        at = m.end()
    if at < len(text):
        out.append(("send", expand(text[at:])))
    return out


# --- the reply and the effect column ---

def conversation(reply):
    """One regular expression over lines, a reply each. Between replies
    stands " ;; "; {{xN}} behind one repeats it, {{x+}} is once or more;
    "^$" is the end of the connection without a word."""
    if reply == "^$":
        return "^$"
    out = ""
    for one in reply.split(" ;; "):
        m = re.match(r"(.*?)(?:\{\{x(\d+|\+)\}\})?$", one)
        count = m.group(2)
        times = "" if count is None else \
            "+" if count == "+" else "{%s}" % count
        out += f"(?:(?:{m.group(1)})[^\n]*\n){times}"
    return f"^{out}$"


def effects(row):
    """{"messages": "1", "end": "open"} of "messages=1; end=open"."""
    if row.effect == "-":
        return {}
    return dict(item.split("=", 1) for item in row.effect.split("; "))


# --- lint ---

def named_test_exists(status):
    path, name = status[len("test "):].split("::")
    try:
        with open(os.path.join(SYSTEM, path), encoding="utf-8") as f:
            return re.search(rf"^def {name}\(", f.read(), re.M) is not None
    except FileNotFoundError:
        return False


def lint_row(row):
    where = f"{row.protocol}.tsv: {row.id}"
    for name in COLUMNS:
        value = getattr(row, name)
        if not value or value != value.strip():
            yield f"{where}: column {name} is empty or has blanks around it"
    if not STATUS.fullmatch(row.status):
        yield f"{where}: status {row.status!r}"
    elif row.status.startswith("test ") and not named_test_exists(row.status):
        yield f"{where}: there is no {row.status}"
    if row.effect != "-" and not all(re.match(r"[a-z_]+=\S", item)
                                     for item in row.effect.split("; ")):
        yield f"{where}: effect {row.effect!r} is not a=b; c=d"
    try:
        re.compile(conversation(row.reply))
        steps(row.input)
    except (re.error, ValueError) as error:
        yield f"{where}: {error}"


def lint():
    """What breaks a rule, a line each."""
    problems, seen = [], {}
    for protocol in protocols():
        try:
            found = rows(protocol)
        except ValueError as error:
            problems.append(str(error))
            continue
        for row in found:
            if row.id in seen:
                problems.append(f"{row.id}: in {seen[row.id]}.tsv and in "
                                f"{protocol}.tsv")
            seen[row.id] = protocol
            problems += lint_row(row)
    for name, protocol in catalogue().items():
        if seen.get(name) != protocol:
            problems.append(f"{name}: not in {protocol}.tsv")
    return problems


# --- summary ---

def summary():
    """Rows a protocol, and whatever is missing: a line each."""
    out, total, lacking, partly = [], 0, [], []
    for protocol in protocols():
        try:
            found = rows(protocol)
        except ValueError as error:
            out.append(f"{error}: not counted")
            continue
        none = [r for r in found if r.status.startswith("missing")]
        named = sum(r.status.startswith("test ") for r in found)
        total += len(found)
        lacking += none
        partly += [r for r in found if r.status.startswith("replay;")]
        out.append(f"{protocol}: {len(found)} rows, "
                   f"{len(found) - named - len(none)} replayed, {named} by "
                   f"tests of their own, {len(none)} not tried")
    out += [f"  {r.id} not tried, {r.status}" for r in lacking]
    out += [f"  {r.id} replayed, {r.status.split('; ', 1)[1]}"
            for r in partly]
    out.append(f"bad inputs: {total} rows, {total - len(lacking)} tried, "
               f"{len(lacking)} not; {len(partly)} of those tried wait for "
               "what is missing")
    return out


def main():
    if sys.argv[1:] == ["lint"]:
        problems = lint()
        print("\n".join(problems + [f"{len(problems)} problems"]))
        return 1 if problems else 0
    if sys.argv[1:] == ["summary"]:
        print("\n".join(summary()))
        return 0
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
