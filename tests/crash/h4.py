#!/usr/bin/python3
"""h4.py - the power is cut under a real suite on a real file system

    h4.py [--fs ext4|xfs|btrfs] [--disks 1|2|both] [--states N] [--seed N]
          [--per-load N] [--resume N] [--messages N]

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
from disks import BIN, Disks, Rate, enter, run
from ledger import need_tools, oracle
from load import BOXED, Bed, Load, Proof, check_claims, deliver_all

CONTROLS = [("link", 1), ("rename", 1), ("deliver", 2), ("sound", 2)]
CONTROL_MESSAGES = 15
CONTROL_STATES = 60


class Replay:
    """One run of crash-replay. resume(mark, state) says what is wrong, or
    None."""

    def __init__(self, disks, images, log, ledger, states, seed, sink=None,
                 resume=None, every=0):
        cmd = [os.path.join(BIN, "crash-replay"), "--log", log, "--fs",
               disks.fs, "--ledger", ledger, "--oracle",
               os.path.join(BIN, "crash-oracle"), "--spool", disks.spool,
               "--mail", disks.mail, "--states", str(states), "--seed",
               str(seed), "--resume", str(every if resume else 0)]
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


class Recording(Bed):
    """A load on a suite whose disks were recorded, and its power cuts."""

    def __init__(self, root, fs, count, steps, seed):
        directory = os.path.join(root, f"load-{seed}")
        disks = Disks(directory, fs, count)
        self.proof = Proof(os.path.join(directory, "ledger"))
        self.proof.alias(BOXED, "boxed@our.test")
        super().__init__(directory, disks, self.proof)
        self.seed = seed
        self.log = os.path.join(directory, "log")
        self.record(steps)

    def record(self, steps):
        d, rate = self.disks, Rate()
        d.record(self.log)
        d.mount()
        self.proof.make_mark = lambda n: d.control(f"mark {n}")
        load = Load(self.inst, self.proof, steps, self.seed)
        errors = [load.drop(3)]
        self.inst.start()
        load.start()
        errors += load.join()
        self.inst.stop()
        self.writes, self.flushes, _ = d.counts()
        d.unmount()
        d.end_recording()
        self.proof.make_mark = None
        self.relayed = self.sink.count
        self.seconds = rate.seconds()
        errors += self.inst.verdict()
        if any(errors):
            raise RuntimeError(f"the load: {errors}\n"
                               f"{self.inst.log()[-3000:]}")

    def resume(self, mark, state):
        """Starts the suite on what a cut left; what is wrong, or None."""
        everything = os.path.join(self.dir, "sink.resumed")
        shutil.copytree(self.sink_dir + ".view", everything,
                        copy_function=os.link)
        self.sink.directory, self.sink.proof = everything, None
        self.sink.generous = True
        os.truncate(self.inst.log_path, 0)
        try:
            return self.resumed(mark, everything)
        finally:
            self.inst.stop()
            shutil.rmtree(everything)

    def resumed(self, mark, sink):
        inst = self.inst
        inst.start()
        wrong = deliver_all(inst) or check_claims(
            inst, [c for c in self.proof.claims if c[0] <= mark])
        inst.stop()
        problems = [wrong] if wrong else []
        problems += inst.verdict()
        v = oracle(self.proof.path, spool=self.disks.spool,
                   mail=self.disks.mail, sink=sink, acked_until=mark,
                   window=1, log=inst.log_path)
        if not v.ok:
            problems.append(v.text)
        return "; ".join(problems) or None

    def replay(self, states, every):
        return Replay(self.disks, self.images, self.log, self.proof.path,
                      states, self.seed, self.sink_dir, self.resume, every)

    def end(self):
        self.sink.end()
        self.proof.close()
        shutil.rmtree(self.dir)


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--fs", default="ext4", choices=disks_module.MKFS)
    ap.add_argument("--disks", default="both", choices=["1", "2", "both"])
    ap.add_argument("--states", type=int, default=500)
    ap.add_argument("--per-load", type=int, default=2500)
    ap.add_argument("--resume", type=int, default=100)
    ap.add_argument("--messages", type=int, default=120)
    ap.add_argument("--seed", type=int, default=1)
    args = ap.parse_args()
    need_tools("crash-recorder", "crash-replay", "crash-losing",
               "crash-oracle")
    root = enter([args.fs])
    if not controls(root, args.fs, args.seed):
        print("h4: the replay is blind")
        return 1
    counts = {"1": [1], "2": [2], "both": [1, 2]}[args.disks]
    loads = max(len(counts), -(-args.states // args.per_load))
    total = {"states": 0, "bad": 0, "torn": 0, "reordered": 0, "resumed": 0,
             "unmountable": 0, "seconds": 0.0}
    for k in range(loads):
        states = args.states * (k + 1) // loads - args.states * k // loads
        r = Recording(root, args.fs, counts[k % len(counts)], args.messages,
                      args.seed + k)
        replay = r.replay(states, args.resume)
        print(f"h4: {args.fs}, {r.disks.count} disks, seed {r.seed}: "
              f"{r.proof.counts['acked']} messages acknowledged, "
              f"{r.proof.counts.get('copied', 0)} copies, "
              f"{r.proof.counts.get('taken', 0)} removals, {r.relayed} "
              f"relayed; {r.writes} writes, {r.flushes} flushes in "
              f"{r.seconds:.1f} s; {replay.states} states in "
              f"{replay.seconds:.1f} s, {replay.resumed} resumed, "
              f"{replay.bad} bad", flush=True)
        if replay.bad:
            print(replay.text)
        for name in total:
            total[name] += getattr(replay, name)
        r.end()
    print(f"h4: {args.fs}: {total['states']} states "
          f"({total['reordered']} reordered, {total['torn']} torn, "
          f"{total['resumed']} resumed) in {total['seconds']:.0f} s: "
          f"{total['states'] / max(total['seconds'], 0.1):.0f}/s; "
          f"{total['unmountable']} not mountable after a torn write, "
          f"{total['bad']} bad")
    return 1 if total["bad"] or total["states"] == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
