"""Disks for h4.py and h6.py: file systems on recorder.c under a real suite.

enter() puts the calling script into namespaces of its own (mounts, processes,
network), with a tmpfs of its own: whatever way the script ends, the kernel
ends its processes and takes the mounts, the loop devices and the files with
them. One that was killed leaves nothing to be cleaned by the next.
"""
import contextlib
import ctypes
import fcntl
import glob
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "system"))
from conftest import BIN, Instance, wait_until  # noqa: E402

INSIDE = "POSTERN_CRASH_INSIDE"
MKFS = {
    # a small journal is written round and round, and replayed fast
    "ext4": ["mkfs.ext4", "-q", "-F", "-b", "4096", "-J", "size=4",
             "-E", "lazy_itable_init=0,lazy_journal_init=0", "-m", "0"],
    "xfs": ["mkfs.xfs", "-q", "-f", "-K", "-l", "size=8m", "-d", "agcount=2"],
    "btrfs": ["mkfs.btrfs", "-q", "-f", "-K", "-m", "single", "-d", "single"],
}
# Megabytes; sparse.
SIZE = {"ext4": 40, "xfs": 60, "btrfs": 120}
# mkfs.xfs makes no log below 64 MB, which takes long to look through at each
# mount, but in its authors' own tests.
MKFS_ENV = {"TEST_DIR": "x", "TEST_DEV": "x", "QA_CHECK_FS": "1"}
MOUNT = {"ext4": "errors=remount-ro", "xfs": "nouuid", "btrfs": "nodiscard"}


def lack(what):
    """The machine cannot do it: exit status 77 says so."""
    print(f"{os.path.basename(sys.argv[0])}: skipped: {what}")
    sys.exit(77)


def check_machine(filesystems):
    if os.geteuid() != 0:
        lack("mounting disks needs root")
    for tool in ["unshare", "mount"] + [
            MKFS[fs][0] for fs in filesystems]:
        if shutil.which(tool, path=os.environ.get("PATH", "") +
                        ":/usr/sbin:/sbin") is None:
            lack(f"there is no {tool}")
    for path in ("/dev/fuse", "/dev/loop-control"):
        try:
            os.close(os.open(path, os.O_RDWR))
        except OSError as e:
            lack(f"{path}: {e.strerror}")
    with open("/proc/filesystems", encoding="ascii") as f:
        known = f.read().split()
    for fs in filesystems:
        if fs not in known and subprocess.run(
                ["modprobe", fs], stderr=subprocess.DEVNULL,
                check=False).returncode != 0:
            lack(f"the kernel has no {fs}")


def die_with_parent():
    """PR_SET_PDEATHSIG: `unshare` ends with us, and all below it."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def raise_interrupt(*_):
    raise KeyboardInterrupt


def remove_left_over():
    """Of runs that were killed an empty directory is left."""
    for path in glob.glob(os.path.join(tempfile.gettempdir(),
                                       "postern-disks.*.*")):
        if not os.path.exists("/proc/" + path.split(".")[-2]):
            with contextlib.suppress(OSError):
                os.rmdir(path)


def enter(filesystems):
    """Returns in the namespaces with the path of an empty tmpfs; outside it
    does not return."""
    if INSIDE not in os.environ:
        check_machine(filesystems)
        remove_left_over()
        parent = tempfile.mkdtemp(prefix=f"postern-disks.{os.getpid()}.")
        env = dict(os.environ, **{INSIDE: parent})
        env["PATH"] = env.get("PATH", "/usr/bin:/bin") + ":/usr/sbin:/sbin"
        code = 1
        with contextlib.suppress(KeyboardInterrupt):
            child = subprocess.Popen(
                ["unshare", "--mount", "--net", "--pid", "--fork",
                 "--kill-child", "--mount-proc", sys.executable]
                + sys.argv, env=env, preexec_fn=die_with_parent)
            signal.signal(signal.SIGTERM, raise_interrupt)
            try:
                code = child.wait()
            except KeyboardInterrupt:
                child.kill()
                child.wait()
        os.rmdir(parent)
        sys.exit(code)
    root = os.environ[INSIDE]
    signal.signal(signal.SIGTERM, raise_interrupt)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", root],
                   check=True)
    raise_loopback()
    # files that others make go into the tmpfs as well
    os.environ["TMPDIR"] = tempfile.tempdir = root
    return root


def raise_loopback():
    """`ip link set lo up`, without needing ip."""
    SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        request = struct.pack("16sh14x", b"lo", 0)
        flags = struct.unpack("16sh14x", fcntl.ioctl(s, SIOCGIFFLAGS,
                                                     request))[1]
        fcntl.ioctl(s, SIOCSIFFLAGS,
                    struct.pack("16sh14x", b"lo", flags | IFF_UP))


def run(*cmd):
    p = subprocess.run(cmd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                       stdin=subprocess.DEVNULL, text=True, check=False,
                       env=dict(os.environ, **MKFS_ENV))
    if p.returncode != 0:
        raise RuntimeError(f"{' '.join(cmd)}: {p.stdout.strip()}")
    return p.stdout


class Disks:
    """One or two file systems, as files, mounted plainly or recorded.

    dir/disk0, disk1     the images; dir/m0, m1 where they are mounted
    spool, mail          directories: spool on the first, mail on the last
    """

    def __init__(self, directory, fs, count, mkfs=(), size=None):
        self.dir, self.fs, self.count = directory, fs, count
        self.images = [os.path.join(directory, f"disk{i}")
                       for i in range(count)]
        self.points = [os.path.join(directory, f"m{i}")
                       for i in range(count)]
        self.fuse = os.path.join(directory, "fuse")
        self.ctl_path = os.path.join(self.fuse, "ctl")
        self.recorder = None
        os.makedirs(self.fuse)
        for image, point in zip(self.images, self.points):
            os.makedirs(point)
            with open(image, "wb") as f:
                f.truncate((size or SIZE[fs]) << 20)
            run(*MKFS[fs], *mkfs, image)
        self.spool = os.path.join(self.points[0], "spool")
        self.mail = os.path.join(self.points[-1], "mail")

    def mount(self):
        """Plainly, or recorded when the recorder runs."""
        for i, point in enumerate(self.points):
            image = os.path.join(self.fuse, f"disk{i}") if self.recorder \
                else self.images[i]
            run("mount", "-t", self.fs, "-o", f"loop,{MOUNT[self.fs]}",
                image, point)

    def unmount(self):
        for point in self.points:
            wait_until(lambda p=point: subprocess.run(
                ["umount", p], stderr=subprocess.DEVNULL,
                check=False).returncode == 0 or not os.path.ismount(p), 30,
                f"the end of use of {point}")

    def record(self, log=None):
        """From now on the disks are the recorder's."""
        cmd = [os.path.join(BIN, "crash-recorder")]
        if log:
            cmd += ["--log", log]
        self.recorder = subprocess.Popen(cmd + [self.fuse] + self.images,
                                         stdin=subprocess.DEVNULL)
        wait_until(lambda: os.path.exists(self.ctl_path) or
                   self.recorder.poll() is not None, 30, "the recorder")
        assert self.recorder.poll() is None, "crash-recorder ended"

    def control(self, text):
        fd = os.open(self.ctl_path, os.O_WRONLY)
        try:
            os.write(fd, text.encode() + b"\n")
        finally:
            os.close(fd)

    def counts(self):
        """writes, flushes, failed"""
        with open(self.ctl_path, encoding="ascii") as f:
            return [int(n) for n in f.read().split()[1::2]]

    def end_recording(self):
        run("umount", self.fuse)
        code = self.recorder.wait(30)
        self.recorder = None
        assert code == 0, f"crash-recorder ended with {code}"

    def copies(self, suffix):
        """Copies of the images as they are (unmounted), sparse."""
        out = []
        for image in self.images:
            run("cp", "--sparse=always", image, image + suffix)
            out.append(image + suffix)
        return out


def make_instance(directory, disks, users, sets=()):
    """With its spool and mailboxes on the disks, which are mounted; not
    started."""
    os.makedirs(disks.mail, exist_ok=True)
    inst = Instance(directory, list(users),
                    [f"queue_directory={disks.spool}",
                     f"virtual_mailbox_base={disks.mail}", *sets],
                    "our.test", None)
    like(os.path.join(directory, "mail"), disks.mail)
    return inst


def like(one, other):
    """Gives the other directory the owner and the mode of the one."""
    st = os.stat(one)
    os.chown(other, st.st_uid, st.st_gid)
    os.chmod(other, st.st_mode & 0o7777)


class Rate:
    """Seconds since it was made."""

    def __init__(self):
        self.start = time.monotonic()

    def seconds(self):
        return time.monotonic() - self.start
