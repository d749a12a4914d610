#!/usr/bin/python3
"""h4.py - the power is cut under a real suite on a real file system

    h4.py [--fs ext4|xfs|btrfs] [--disks 1|2|both] [--states N] [--seed N]
          [--per-load N] [--resume N] [--messages N] [--save DIR]

The suite takes, delivers, relays, defers, bounces and holds mail, and IMAP
and POP3 clients move and remove it (load.py), on file systems whose disks
remember each write and flush (recorder.c). From that log replay.c makes
states in which a power cut might have left the disks, mounts them and asks
the oracle for all that was acknowledged before. On every --resume'th state
the suite is started: it has to deliver everything; uids that IMAP clients
were told must still name the same messages.

First orders are recorded that are known to lose mail (losing.c). If a state
of each does not show it, the replay is blind, and nothing is proved.

--per-load: states made of one recording; then the load runs anew.
"""
import argparse
import os
import re
import shutil
import subprocess
import sys

import disks as disks_module
from disks import BIN, Disks, Rate, enter, run, wait_until

CONTROLS = [("link", 1), ("rename", 1), ("deliver", 2), ("sound", 2)]
CONTROL_MESSAGES = 15
CONTROL_STATES = 60


class Replay:
    """One run of crash-replay. resume(mark, state) says what is wrong, or
    None."""

    def __init__(self, disks, images, log, ledger, states, seed, sink=None,
                 resume=None, every=0, extra=()):
        cmd = [os.path.join(BIN, "crash-replay"), "--log", log, "--fs",
               disks.fs, "--ledger", ledger, "--oracle",
               os.path.join(BIN, "crash-oracle"), "--spool", disks.spool,
               "--mail", disks.mail, "--states", str(states), "--seed",
               str(seed), "--resume", str(every if resume else 0), *extra]
        for image, point in zip(images, disks.points):
            cmd += ["--disk", f"{image}={point}"]
        if sink:
            view = sink + ".view"
            shutil.rmtree(view, ignore_errors=True)
            os.mkdir(view)
            cmd += ["--sink", sink, "--view", view]
        p = subprocess.Popen(cmd, stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE, text=True)
        self.text = ""
        for line in p.stdout:
            m = re.match(r"resume (\d+) (\d+)$", line)
            if m:
                wrong = resume(int(m[1]), int(m[2]))
                p.stdin.write("ok\n" if wrong is None else
                              wrong.replace("\n", "; ") + "\n")
                p.stdin.flush()
            else:
                self.text += line
        self.code = p.wait()
        m = re.search(r"^replay: (\d+) states \((\d+) reordered, (\d+) torn, "
                      r"(\d+) resumed\) in ([\d.]+) s, (\d+) unmountable .*, "
                      r"(\d+) lost, (\d+) bad$", self.text, re.M)
        if m is None:
            raise RuntimeError(f"crash-replay ended with {self.code}: "
                               f"{self.text}")
        (self.states, self.reordered, self.torn, self.resumed, _,
         self.unmountable, self.lost, self.bad) = [
             int(float(x)) for x in m.groups()]
        self.seconds = float(m[5])


def control(root, fs, order, count, seed):
    """Records an order of losing.c and replays it."""
    directory = os.path.join(root, f"control-{order}")
    disks = Disks(directory, fs, count)
    log = os.path.join(directory, "log")
    ledger = os.path.join(directory, "ledger")
    disks.mount()
    for path in (disks.spool, disks.mail):
        os.makedirs(path)
    disks.unmount()
    images = disks.copies(".base")
    disks.record(log)
    disks.mount()
    run(os.path.join(BIN, "crash-losing"), order, disks.spool, disks.mail,
        ledger, disks.ctl_path, str(CONTROL_MESSAGES))
    disks.unmount()
    disks.end_recording()
    replay = Replay(disks, images, log, ledger, CONTROL_STATES, seed)
    shutil.rmtree(directory)
    return replay


def controls(root, fs, seed):
    """True: the replay sees what it should see."""
    said, well = [], True
    for order, count in CONTROLS:
        r = control(root, fs, order, count, seed)
        said.append(f"{order} {r.lost}")
        wanted = r.lost == 0 and r.bad == 0 if order == "sound" else \
            r.lost > 0
        if not wanted:
            well = False
            print(f"h4: the order '{order}': {r.text}")
    print(f"h4: {fs}: controls: states of {CONTROL_STATES} with mail lost: "
          + ", ".join(said))
    return well


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--fs", default="ext4", choices=disks_module.MKFS)
    ap.add_argument("--states", type=int, default=500)
    ap.add_argument("--seed", type=int, default=1)
    args = ap.parse_args()
    root = enter([args.fs])
    if not controls(root, args.fs, args.seed):
        print("h4: the replay is blind")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
