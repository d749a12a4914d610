#!/usr/bin/python3
"""h6.py - the disk dies, fills, or becomes read-only while mail arrives

    h6.py [--positions N] [--seed N] [--jobs N] [--only K]
          [--save DIR] [-v]

At each position a suite on ext4 (spool and mailboxes on one disk or on two)
is under the load of load.py when one of these befalls one of the disks:

    write      its nth write and all after fail (recorder.c)
    full       all but a few blocks are taken
    inodes     all but a few inodes are
    read-only  the file system is read-only from one moment to the next

Then the suite is stopped, the file system checked and mounted anew on a disk
that is well (or freed), and the oracle asked: what was acknowledged is there,
before and after, all else was told 4xx or nothing; no program died of a
signal. The suite starts again, has to deliver everything, and takes a message
more.

First an order that is known to lose mail runs on a dying disk. If the oracle
does not miss it, nothing is proved.
"""
import argparse
import concurrent.futures
import os
import random
import re
import shutil
import subprocess
import sys
import time

from disks import BIN, Disks, Rate, enter, run, wait_until
from ledger import Ledger, message, need_tools, oracle
from load import BOXED, Bed, Load, Proof, deliver_all

KINDS = ["write", "write", "write", "full", "inodes", "read-only"]
MESSAGES = 60
# What a qmgr that starts on a sick disk repeats, over and above the one.
WINDOW = 2


def fsck(disks):
    """As at the next start of the machine."""
    for image in disks.images:
        p = subprocess.run(["e2fsck", "-fy", image], stdin=subprocess.DEVNULL,
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                           text=True, check=False)
        if p.returncode & ~3:	# 1, 2: something was mended
            raise RuntimeError(f"e2fsck: {p.returncode}: {p.stdout}")


class SickBed(Bed):
    """Its disks can be as they were at first, again and again."""

    def __init__(self, root, number):
        directory = os.path.join(root, f"bed-{number}")
        # few inodes, so that they can all be taken
        super().__init__(directory, Disks(directory, "ext4",
                                          1 + number % 2, ["-N", "1200"]))

    def fresh(self, name):
        """Disks, sink and log as at first; the ledger of a position."""
        for base, image in zip(self.images, self.disks.images):
            run("cp", "--sparse=always", base, image)
        shutil.rmtree(self.sink_dir)
        os.mkdir(self.sink_dir)
        os.truncate(self.inst.log_path, 0)
        self.sink.generous, self.sink.seen = False, set()
        proof = Proof(os.path.join(self.dir, f"ledger-{name}"))
        proof.alias(BOXED, "boxed@our.test")
        return proof

    def ask(self, proof, log):
        return oracle(proof.path, spool=self.disks.spool,
                      mail=self.disks.mail, sink=self.sink_dir,
                      window=WINDOW, log=log)


# --- what befalls a disk ---------------------------------------------------

def fill(path, leave):
    """Takes all blocks but about `leave` octets."""
    st = os.statvfs(path)
    take = st.f_bavail * st.f_frsize - leave
    with open(os.path.join(path, "filler"), "wb") as f:
        while take > 0:
            n = min(take, 1 << 20)
            try:
                os.posix_fallocate(f.fileno(), os.fstat(f.fileno()).st_size,
                                   n)
            except OSError:
                break
            take -= n


def take_inodes(path, leave):
    os.makedirs(os.path.join(path, "fillers"), exist_ok=True)
    n = 0
    while os.statvfs(path).f_favail > leave:
        try:
            with open(os.path.join(path, "fillers", str(n)), "wb"):
                n += 1
        except OSError:
            break


def free(path):
    shutil.rmtree(os.path.join(path, "fillers"), ignore_errors=True)
    if os.path.exists(os.path.join(path, "filler")):
        os.unlink(os.path.join(path, "filler"))


class Position:
    def __init__(self, bed, number, seed, writes, save=None):
        self.bed, self.number, self.save = bed, number, save
        self.random = random.Random(f"{seed}/{number}")
        self.kind = KINDS[number % len(KINDS)] if number >= 0 else "none"
        disks = bed.disks
        self.disk = self.random.randrange(disks.count)
        self.after = self.random.randrange(writes[disks.count]) \
            if self.kind == "write" else self.random.randrange(MESSAGES // 2)
        self.seed = seed
        self.problems = []
        self.proof = None
        self.writes = 0

    def __str__(self):
        unit = "writes" if self.kind == "write" else "acknowledgements"
        return (f"position {self.number} ({self.kind} on disk {self.disk} of "
                f"{self.bed.disks.count} after {self.after} {unit})")

    def befall(self):
        """Before or under the load."""
        disks = self.bed.disks
        point = disks.points[self.disk]
        if self.kind == "write":
            self.proof.fault("a disk will die")
            disks.control(f"fail {self.disk} {self.after}")
            return
        if self.kind == "none":
            return
        deadline = time.monotonic() + 20
        while self.proof.counts.get("acked", 0) < self.after and \
                time.monotonic() < deadline:
            time.sleep(0.002)
        self.proof.fault(self.kind)
        if self.kind == "full":
            fill(point, self.random.choice([0, 4096, 65536, 300000]))
        elif self.kind == "inodes":
            take_inodes(point, self.random.randrange(20))
        else:
            # What ext4 does by itself when it finds something wrong. Of the
            # syncs that are under way the kernel calls some done: a file's
            # data are written, its journal is gone, nothing is to commit.
            run("mount", "-o", "remount,abort", point)

    def suffer(self):
        """The load until its end, with what befalls; then a stop."""
        bed, inst = self.bed, self.bed.inst
        load = Load(inst, self.proof, MESSAGES, f"{self.seed}/{self.number}",
                    f"p{self.number}-" if self.number >= 0 else "w-",
                    faults=True)
        if self.kind == "write":
            self.befall()
        p = inst.command("postern", "start")
        if p.returncode == 0:
            load.start()
            if self.kind != "write":
                self.befall()
            self.problems += load.join(120)
        elif self.kind != "write":
            self.problems.append(f"start: {p.stderr}")
        # what happened until here may come twice, or be half done
        self.proof.powercut()
        inst.command("postern", "stop")
        wait_until(lambda: not inst.is_running(), 60, "the end of the suite")
        self.writes = bed.disks.counts()[0]
        self.note_killed()

    def note_killed(self):
        """At a stop master does not wait for one that waits for a lock whose
        owner could not take it away: the disk was dead."""
        for name, pid in re.findall(r"(\w+)\[(\d+)\] does not end; killed",
                                    self.bed.inst.log()):
            self.proof.killed(name, pid)

    def judge(self, when, log):
        v = self.bed.ask(self.proof, log)
        if not v.ok:
            self.problems.append(f"{when}: {v.text}")
        return v

    def recover(self):
        """On a disk that is well: all is there, all goes on."""
        bed, inst = self.bed, self.bed.inst
        fsck(bed.disks)
        bed.disks.mount()
        try:
            for point in bed.disks.points:
                free(point)
            self.judge("after the check", inst.log_path)
            bed.sink.generous = True
            inst.start()
            text = message("after", 900)
            self.proof.sent("after", text, ["anna@our.test"])
            inst.send("anna", text)
            self.proof.acked("after")
            wrong = deliver_all(inst)
            if wrong:
                self.problems.append(wrong)
            inst.stop()
            self.judge("after the next start", inst.log_path)
        finally:
            if inst.is_running():
                inst.stop()
            bed.disks.unmount()

    def run(self):
        bed = self.bed
        self.proof = bed.fresh(self.number)
        bed.sink.proof = None
        bed.disks.record()
        bed.disks.mount()
        try:
            self.suffer()
        finally:
            if bed.inst.is_running():
                bed.inst.stop()
            bed.disks.unmount()
            bed.disks.end_recording()
        self.recover()
        self.problems += bed.inst.verdict()
        self.proof.close()
        if self.problems and self.save:
            for name, path in (("ledger", self.proof.path),
                               ("log", bed.inst.log_path)):
                shutil.copy(path, os.path.join(
                    self.save, f"position{self.number}.{name}"))
        return self


# --- the control -----------------------------------------------------------

def control(root, order, after):
    """What the oracle says of an order of losing.c on a dying disk."""
    directory = os.path.join(root, f"control-{order}-{after}")
    disks = Disks(directory, "ext4", 1)
    disks.mount()
    for path in (disks.spool, disks.mail):
        os.makedirs(path)
    disks.unmount()
    disks.record()
    disks.mount()
    ledger = Ledger(os.path.join(directory, "ledger"))
    ledger.fault("a disk will die")
    disks.control(f"fail 0 {after}")
    p = subprocess.run([os.path.join(BIN, "crash-losing"), order, disks.spool,
                        disks.mail, ledger.path, disks.ctl_path, "200"],
                       stderr=subprocess.PIPE, check=False)
    disks.unmount()
    disks.end_recording()
    assert p.returncode != 0, "crash-losing did not see the disk die"
    fsck(disks)
    disks.mount()
    v = oracle(ledger.path, spool=disks.spool, mail=disks.mail)
    disks.unmount()
    shutil.rmtree(directory)
    return v


def controls(root):
    """The write that shows it is one of some ten in a row."""
    lost = {}
    for order in ("link", "sound"):
        verdicts = [control(root, order, n) for n in range(80, 92)]
        lost[order] = sum(v.lost for v in verdicts)
        print(f"h6: control: {order}: {sum(v.acked for v in verdicts)} "
              f"acknowledged, {lost[order]} lost")
    return lost["link"] > 0 and lost["sound"] == 0


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--positions", type=int, default=20)
    ap.add_argument("--seed", type=int, default=1)
    ap.add_argument("--jobs", type=int, default=4)
    ap.add_argument("--only", type=int)
    ap.add_argument("--save", help="directory for ledger and log of bad ones")
    ap.add_argument("-v", action="store_true")
    args = ap.parse_args()
    need_tools("crash-recorder", "crash-losing", "crash-oracle")
    root = enter(["ext4"])
    rate = Rate()
    if not controls(root):
        print("h6: the oracle is blind")
        return 1
    jobs = max(2, args.jobs // 2 * 2)
    beds = [SickBed(root, i) for i in range(jobs)]
    # nothing befalls these: how many writes there are to choose from
    writes = {}
    bad = total = acked = refused = 0
    for bed in beds[:2]:
        p = Position(bed, -1, args.seed, {1: 1, 2: 1}).run()
        writes[bed.disks.count] = p.writes
        if p.problems:
            print(f"h6: nothing befell it, and yet: {p.problems}")
            return 1
    numbers = [args.only] if args.only is not None else \
        range(args.positions)

    def work(number, bed):
        try:
            p = Position(bed, number, args.seed, writes, args.save).run()
            if p.problems or args.v:
                print(f"h6: {p}:", *p.problems, sep="\n    ", flush=True)
            return p
        except Exception as e:  # pylint: disable=broad-except
            print(f"h6: position {number}: {type(e).__name__}: {e}")
            raise

    def series(bed, its_numbers):
        return [work(n, bed) for n in its_numbers]

    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        futures = [pool.submit(series, bed, [n for n in numbers
                                             if n % jobs == i])
                   for i, bed in enumerate(beds)]
        for future in concurrent.futures.as_completed(futures):
            for p in future.result():
                total += 1
                acked += p.proof.counts.get("acked", 0)
                refused += p.proof.counts.get("refused", 0)
                bad += bool(p.problems)
    print(f"h6: {total} positions, {acked} messages acknowledged, {refused} "
          f"refused, in {rate.seconds():.0f} s; {bad} bad")
    return 1 if bad or total == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
