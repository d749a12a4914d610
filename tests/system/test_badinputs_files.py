"""Bad inputs from files: config.tsv, queue.tsv, bounce.tsv, log.tsv and
sieve.tsv of tests/badinputs, each row against the real programs.

config: the state is the file to whose end the input goes, its name set
nowhere else in it; the replies are all lines that `postern check` writes,
+1 being the first line added. Steps make files first: {{FILE name mode
octets}}, {{MODE name mode}}, {{LINK name target}}, {{FIFO name}}; ETC is the
directory. What is an error does not start (but with starts=yes: what may
be mended while it runs), and a reload keeps what was.
"""
import os
import re
import shutil
import subprocess

import pytest

from conftest import BIN, make_instance
from hostile import table, words

# --- config ---

CONFIG = [r for r in table.rows("config") if r.status == "replay"]


@pytest.fixture(scope="module")
def running():
    inst = make_instance(users=("anna",))
    yield inst
    inst.end()
    shutil.rmtree(os.path.dirname(inst.dir), ignore_errors=True)


@pytest.fixture(scope="module")
def stopped():
    inst = make_instance(users=("anna",), start=False)
    yield inst
    inst.end()
    shutil.rmtree(os.path.dirname(inst.dir), ignore_errors=True)


def make_file(etc, what, arg):
    name, *rest = words(arg)
    path = os.path.join(etc, name)
    if what == "FILE":
        with open(path, "wb") as f:
            f.write(b"".join(rest[1:]))
        os.chmod(path, int(rest[0], 8))
    elif what == "MODE":
        os.chmod(path, int(rest[0], 8))
    elif what == "LINK":
        os.unlink(path)
        os.symlink(rest[0], path)
    elif what == "FIFO":
        os.unlink(path)
        os.mkfifo(path)
    else:
        assert False, what


def without(text, names):
    """main.cf without the lines that set these names."""
    return "".join(line for line in text.splitlines(keepends=True)
                   if line.split("=")[0].strip() not in names)


def spoil(etc, row):
    """Writes the row into a configuration directory; the number of lines in
    front of what it adds."""
    path = os.path.join(etc, row.state)
    with open(path, encoding="ascii") as f:
        base = f.read()
    added = b"".join(arg for what, arg in table.steps(row.input)
                     if what == "send").replace(b"ETC", etc.encode())
    if row.state == "main.cf":
        names = re.findall(rb"^([a-z_0-9]+) *=", added, re.M)
        base = without(base, [n.decode() for n in names])
    with open(path, "wb") as f:
        f.write(base.encode() + added)
    for what, arg in table.steps(row.input):
        if what != "send":
            make_file(etc, what, arg)
    return base.count("\n")


def problems(said, etc, row, before):
    """The lines of `postern check`, with line numbers from what was added."""
    def number(m):
        n = int(m[2]) - before
        return f"{m[1]}:+{n}:" if n > 0 else f"{m[1]}:"
    out = said.replace(etc + "/", "")
    return re.sub(rf"^({re.escape(row.state)}):(\d+):", number, out,
                  flags=re.M)


def run_postern(etc, verb):
    return subprocess.run([os.path.join(BIN, "postern"), "-c", etc, verb],
                          stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                          stderr=subprocess.PIPE, encoding="utf-8",
                          errors="replace", timeout=60, check=False)


@pytest.mark.parametrize("row", CONFIG, ids=[r.id for r in CONFIG])
def test_config(running, stopped, row, tmp_path):
    etc = str(tmp_path / "etc")
    shutil.copytree(stopped.etc, etc)
    before = spoil(etc, row)
    p = run_postern(etc, "check")
    said = problems(p.stderr, etc, row, before)
    want = "" if row.reply == "^$" else table.conversation(row.reply)
    assert re.fullmatch(want, said, re.M), said
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u202e]", said)
    errors = [x for x in said.splitlines() if ": error: " in x]
    assert p.returncode == (1 if errors else 0)
    if not errors:
        return
    p = run_postern(etc, "start")
    if p.returncode == 0:
        run_postern(etc, "stop")
    if table.effects(row).get("starts") == "yes":
        assert p.returncode == 0, p.stderr
        return
    assert p.returncode != 0, "it started"
    assert [x for x in problems(p.stderr, etc, row, before).splitlines()
            if ": error: " in x] == errors
    if any(what != "send" for what, _ in table.steps(row.input)):
        return
    kept = os.path.join(running.etc, row.state + ".kept")
    path = os.path.join(running.etc, row.state)
    os.rename(path, kept)
    try:
        shutil.copy(os.path.join(etc, row.state), path)
        assert run_postern(running.etc, "reload").returncode != 0
    finally:
        os.rename(kept, path)
    with running.smtp() as client:
        assert client.noop()[0] == 250
