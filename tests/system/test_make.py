"""What make run shows holds, and make check and its harnesses name what they
lack."""
import os
import re
import signal
import subprocess
import sys

from conftest import BIN, BUILD, ROOT, claim_base


def run(*cmd, **env):
    return subprocess.run(cmd, cwd=ROOT, text=True, capture_output=True,
                          timeout=120, check=False, stdin=subprocess.DEVNULL,
                          env=dict(os.environ, **env))


def start_demo(directory):
    """It and what it printed, with a base whose ports are free."""
    while True:
        p = subprocess.Popen(
            [sys.executable, "tests/demo"], cwd=ROOT, text=True,
            stdout=subprocess.PIPE, stdin=subprocess.DEVNULL,
            env=dict(os.environ, B=BUILD, POSTERN_RUN=directory,
                     PORT_BASE=str(claim_base())))
        text = ""
        for line in p.stdout:
            text += line
            if line.startswith("It runs until"):
                return p, text
        # `init` refuses ports in use before it makes anything
        assert p.wait(60) != 0 and not os.path.exists(directory), text


def test_the_examples_show_the_first_message_and_it_stops_for_good(tmp_path):
    directory = str(tmp_path / "run")
    p, text = start_demo(directory)

    def is_stopped():
        return run(os.path.join(BIN, "postern"), "-c", directory + "/etc",
                   "status").returncode == 1

    try:
        assert not is_stopped()
        curl = re.search(r"^  curl .*\\\n.*$", text, re.M)[0]
        shown = run("sh", "-c", curl)
        assert "Subject: First message" in shown.stdout, shown
    finally:
        # Some come while the first is acted on.
        while p.poll() is None:
            p.send_signal(signal.SIGTERM)
            p.send_signal(signal.SIGHUP)
        p.stdout.close()
        p.wait(60)
        stopped = is_stopped()
        if not stopped:
            run(os.path.join(BIN, "postern"), "-c", directory + "/etc", "stop")
    assert stopped and p.returncode == 0


def test_what_there_is_not_to_run_is_named():
    def tests(kind, **env):
        return run(sys.executable, "tests/run-tests.py", BUILD, kind, **env)

    p = tests("crash", POSTERN_HARNESS="h9")
    assert p.returncode == 1
    assert re.search(r"^FAILED there is no harness h9: .*\bh1, ", p.stdout,
                     re.M), p
    assert p.stdout.endswith("\n0 passed, 1 failed\n"), p
    p = tests("untidy")
    assert p.returncode == 1 and p.stdout == ""
    assert p.stderr.startswith("there is no kind untidy: lint, unit"), p
    p = run("make", "-s", f"B={BUILD}", "fuzz-build", "TARGET=path nosuch")
    assert p.returncode == 2
    assert "there is no fuzz target nosuch: address " in p.stderr, p


def test_a_harness_says_which_tool_it_lacks(tmp_path):
    for name, tool in (("oracle_test", "crash-oracle"), ("h7", "crash-swap")):
        p = run(sys.executable, f"tests/crash/{name}.py",
                POSTERN_BUILD=str(tmp_path))
        assert p.returncode == 1
        assert p.stderr == f"{name}.py: no postern, {tool} in " \
            f"{tmp_path}/bin: make tools builds it\n"
