#!/usr/bin/python3
"""h7.py - an attacker swaps what lies in his mailbox while mail is delivered

    h7.py [--seconds N] [--only SCENE] [-v]

The attacker (crash-swap) owns one mailbox and everything in it. In a tight
loop he puts symbolic links, hard links, FIFOs, directories and nothing in the
place of tmp, new, cur, of folders, of the mailbox itself, of the mbox file,
of lib/store's lists, of .forward and of messages, while real deliveries,
IMAP sessions (APPEND, COPY, FETCH, EXPUNGE, CREATE, RENAME) and POP3 sessions
of his run. Victims are another user's mail, a directory of the mail owner's
and files of root's. What must be true:

    nothing outside his tree changes, comes or goes (content, owner, mode,
    time, inode of each file and directory); no client of his ever reads, and
    nothing in his tree ever has, what is the victims'; other users' mail
    arrives, each message in its mailbox alone; no program dies; and when his
    tree is in order again his mail arrives as well.

Scenes: `shared`, virtual users who share one uid under root (openat2 and
Landlock are all there is between them); `user`, the same in an instance that
an ordinary user runs; `home`, system users with a uid each, Maildir; `mbox`,
the same with an mbox file, .forward, a file and a command.

First a program that opens by path and follows links is attacked in the same
way: if the harness does not see its damage, it is blind and says so.
"""
import argparse
import glob
import hashlib
import os
import poplib
import pwd
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests/system"))
from conftest import BIN, PASSWORD, make_instance, wait_until  # noqa: E402
from ledger import need_tools  # noqa: E402

SECRET = "what-only-the-victim-may-read"
LUCY, MARK, STRANGER = 20001, 20002, 20009
VERBOSE = False


def say(text):
    if VERBOSE:
        print(f"    {text}", flush=True)


# --- what must stay as it is ---

def snapshot(tops):
    """path -> all that can be told of it but link count and access time."""
    seen = {}

    def look(path):
        try:
            st = os.lstat(path)
        except FileNotFoundError:   # it was there when its name was read
            seen[path] = ["vanished"]
            return
        row = [stat.S_IFMT(st.st_mode), stat.S_IMODE(st.st_mode), st.st_uid,
               st.st_gid, st.st_ino, st.st_mtime_ns]
        if stat.S_ISREG(st.st_mode):
            try:
                with open(path, "rb") as f:
                    row.append(hashlib.sha256(f.read()).hexdigest())
            except FileNotFoundError:
                row.append("vanished")
        elif stat.S_ISLNK(st.st_mode):
            row.append(os.readlink(path))
        elif stat.S_ISDIR(st.st_mode):
            for name in os.listdir(path):
                look(os.path.join(path, name))
        seen[path] = row

    for top in tops:
        look(top)
    return seen


def compare(before, after):
    problems = []
    for path in sorted(set(before) | set(after)):
        if path not in after:
            problems.append(f"gone: {path}")
        elif path not in before:
            problems.append(f"made: {path}")
        elif before[path] != after[path]:
            problems.append(f"changed: {path}")
    return problems


def write(path, text, uid, mode=0o600):
    with open(path, "w", encoding="ascii") as f:
        f.write(text)
    os.chown(path, uid, uid)
    os.chmod(path, mode)


def make_dir(path, uid, mode=0o700):
    os.mkdir(path)
    os.chown(path, uid, uid)
    os.chmod(path, mode)


def make_outside(top, owner):
    """Directories beside the mail: the mail owner's, and root's."""
    os.mkdir(top, 0o755)
    os.chmod(top, 0o755)
    for name, uid in (("owners", owner), ("roots", os.geteuid())):
        d = os.path.join(top, name)
        make_dir(d, uid, 0o755)
        for sub in ("tmp", "new", "cur"):
            make_dir(os.path.join(d, sub), uid, 0o755)
        write(os.path.join(d, "file"), f"{SECRET}\n", uid)
        write(os.path.join(d, "cur/1,S=9:2,S"), f"{SECRET}\n", uid)
    return [os.path.join(top, n) for n in ("owners", "roots")]


def everything_below(tops, most=40):
    """Paths for links: the tops, their directories and their files."""
    out = []
    for top in tops:
        for base, dirs, files in os.walk(top):
            out += [base] + [os.path.join(base, f) for f in sorted(files)[:3]]
    return out[:most]


class Swapper:
    def __init__(self, directory, uid, targets, links, hards=(), hold=300):
        cmd = [os.path.join(BIN, "crash-swap"), "--dir", directory,
               "--uid", str(uid), "--hold", str(hold)]
        for flag, items in (("--target", targets), ("--link", links),
                            ("--hard", hards)):
            for item in items:
                cmd += [flag, item]
        self.process = subprocess.Popen(cmd, stdout=subprocess.PIPE,
                                        text=True)
        assert self.process.stdout.readline() == "ready\n"

    def stop(self):
        """How many swaps it made."""
        self.process.send_signal(signal.SIGTERM)
        out, _ = self.process.communicate(timeout=60)
        assert self.process.returncode == 0, out
        say(out.strip())
        return int(out.split()[0])


MAILDIR_TARGETS = [
    "tmp", "new", "cur", "postern-uidlist", "postern-store", "subscriptions",
    ".Sub", ".Sub/tmp", ".Sub/new", ".Sub/cur", ".Sub/postern-uidlist",
    "tmp/*", "new/*", "cur/*", ".Sub/cur/*", ".Sub/new/*", ".Sub/tmp/*",
]


# --- the control ---

def naive_writer(box):
    """What a delivery program must not do: names, and links followed. (But
    it does not wait at a FIFO: nobody would come.)"""
    def opener(path, flags):
        return os.open(path, flags | os.O_NONBLOCK, 0o600)

    i = 0
    while True:
        i += 1
        try:
            with open(f"{box}/tmp/{i}", "w", encoding="ascii",
                      opener=opener) as f:
                f.write("mail\n")
            os.rename(f"{box}/tmp/{i}", f"{box}/new/{i}")
            with open(f"{box}/postern-uidlist", "a", encoding="ascii",
                      opener=opener) as f:
                f.write(f"{i}\n")
            os.unlink(f"{box}/new/{i}")
        except OSError:
            pass


def control():
    top = tempfile.mkdtemp(prefix="postern-h7.")
    os.chmod(top, 0o755)
    uid = STRANGER if os.geteuid() == 0 else os.geteuid()
    child, swapper = 0, None
    try:
        box = os.path.join(top, "attacker")
        make_dir(box, uid)
        for sub in ("tmp", "new", "cur", ".Sub"):
            make_dir(os.path.join(box, sub), uid)
        victims = make_outside(os.path.join(top, "outside"), uid)
        before = snapshot(victims)
        child = os.fork()
        if child == 0:
            if os.geteuid() == 0:
                os.setgroups([])
                os.setgid(uid)
                os.setuid(uid)
            naive_writer(box)
        swapper = Swapper(box, uid, MAILDIR_TARGETS[:4],
                          everything_below(victims))
        deadline = time.monotonic() + 30
        while not compare(before, snapshot(victims)):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.01)
        return True
    finally:
        if swapper is not None:
            swapper.stop()
        if child:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        shutil.rmtree(top, ignore_errors=True)


# --- the load ---

class Load:
    """Clients that go on until told; what they saw."""

    def __init__(self):
        self.over = threading.Event()
        self.threads = []
        self.problems = []
        self.counts = {}
        self.last = None            # what IMAP was asked

    def count(self, what, n=1):
        self.counts[what] = self.counts.get(what, 0) + n

    def check(self, data, where):
        """What a client of the attacker's was given."""
        for bad in (SECRET.encode(), b"X-For: bob"):
            if bad in data:
                self.problems.append(f"{where} got what is not his: "
                                     f"{data[:300]!r}")

    def run(self, once):
        def loop():
            while not self.over.is_set():
                try:
                    once()
                except TimeoutError:
                    self.problems.append(f"{once.__name__}: no answer to "
                                         f"{self.last}")
                    return
                except (OSError, EOFError, poplib.error_proto):
                    self.count(f"{once.__name__}_broken")
                    time.sleep(0.01)
                except Exception as e:      # a harness's own mistake
                    self.problems.append(f"{once.__name__}: {e!r}")
                    return
        t = threading.Thread(target=loop)
        t.start()
        self.threads.append(t)

    def stop(self):
        self.over.set()
        for t in self.threads:
            t.join(120)
            if t.is_alive():
                self.problems.append("a session does not end")


class Imap:
    """Sends a command, gives all octets up to its tagged answer."""

    def __init__(self, port):
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=30)
        self.rest = b""
        self.n = 0
        self.until(rb"^\* (OK|PREAUTH|BYE)[^\r\n]*\r\n")

    def until(self, pattern):
        data = self.rest
        while not re.search(pattern, data, re.M):
            more = self.sock.recv(65536)
            if not more:
                raise EOFError
            data += more
        self.rest = b""
        return data

    def command(self, text, literal=None):
        self.n += 1
        tag = f"a{self.n}"
        line = f"{tag} {text}"
        if literal is not None:
            line += f" {{{len(literal)}+}}\r\n"
            self.sock.sendall(line.encode() + literal + b"\r\n")
        else:
            self.sock.sendall(line.encode() + b"\r\n")
        return self.until(rb"^%s (OK|NO|BAD)[^\r\n]*\r\n" % tag.encode())

    def close(self):
        self.sock.close()


class Scene:
    """An instance, its attacker and its victims."""

    def __init__(self, name):
        self.name = name
        self.load = Load()
        self.box = None             # the attacker's Maildir
        self.login = None           # and his name for IMAP and POP3
        self.victims = []           # trees that must not change
        self.swappers = []
        self.sent = 0
        self.bobs = []              # tokens of acknowledged messages to bob
        self.swaps = 0

    # what differs
    def attack(self):
        raise NotImplementedError

    def to_attacker(self):
        raise NotImplementedError

    # --- the clients ---

    def deliver(self):
        self.sent += 1
        token = f"{self.name}-{self.sent}"
        body = (f"X-For: {{}}\r\nX-Token: {token}\r\nSubject: t\r\n\r\n"
                + "text\r\n" * (10 if self.sent % 7 else 6000))
        if self.sent % 2:
            self.inst.send("bob@our.test", body.format("bob"))
            self.bobs.append(token)
        else:
            self.inst.send(self.to_attacker(), body.format("attacker"))
        self.load.count("messages")
        time.sleep(0.005)

    def imap(self):
        c = Imap(self.inst.port("imap"))
        try:
            self.load.last = "LOGIN"
            if b" OK" not in c.command(f'LOGIN {self.login} "{PASSWORD}"'):
                return
            for text in ("CREATE Sub", "SELECT INBOX",
                         "FETCH 1:* (UID FLAGS BODY.PEEK[])",
                         "COPY 1:* Sub", r"STORE 1:* +FLAGS (\Flagged kw)",
                         "STATUS Sub (MESSAGES UIDNEXT UNSEEN)",
                         "SUBSCRIBE Sub", 'LIST "" *', 'LSUB "" *',
                         "APPEND", "APPEND", "EXAMINE Sub",
                         "FETCH 1:* (RFC822.SIZE BODY.PEEK[TEXT])",
                         "SEARCH BODY victim", "SELECT INBOX",
                         "RENAME Sub Sub2", "DELETE Sub2", "CREATE Sub",
                         r"STORE 1:* +FLAGS (\Deleted)", "EXPUNGE"):
                literal = None
                if text == "APPEND":
                    text = "APPEND Sub (\\Seen)"
                    literal = b"Subject: appended\r\n\r\n" + \
                        b"own text\r\n" * 100
                self.load.last = text
                got = c.command(text, literal)
                self.load.check(got, f"IMAP {text}")
                self.load.count("commands")
                self.load.count("ok", int(re.search(
                    rb"^a\d+ OK", got, re.M) is not None))
        finally:
            c.close()

    def pop3(self):
        c = poplib.POP3("127.0.0.1", self.inst.port("pop3"), timeout=30)
        try:
            c.user(self.login)
            c.pass_(PASSWORD)
            for i in range(1, c.stat()[0] + 1):
                try:
                    got = b"\n".join(c.retr(i)[1])
                except poplib.error_proto:
                    continue
                self.load.check(got, "POP3 RETR")
                self.load.count("retr")
            c.quit()
        finally:
            c.close()

    # --- before and after ---

    def plant(self, maildir):
        """Makes the victim's mailbox as the suite itself makes it."""
        c = Imap(self.inst.port("imap"))
        assert b" OK" in c.command(f'LOGIN vic@our.test "{PASSWORD}"')
        c.command("CREATE Private")
        for box in ("INBOX", "INBOX", "Private"):
            got = c.command(f"APPEND {box} (\\Seen)",
                            f"Subject: s\r\n\r\n{SECRET}\r\n".encode())
            assert b" OK" in got, got
        c.command("SUBSCRIBE Private")
        c.command("SELECT INBOX")
        c.command("LOGOUT")
        c.close()
        wait_until(lambda: not self.inst.pids("imapd") or True)
        assert os.path.isdir(f"{maildir}/cur")

    def settle(self):
        """The victim's session has written its last."""
        old = snapshot(self.victims)

        def same():
            nonlocal old
            time.sleep(0.05)
            new = snapshot(self.victims)
            same, old = new == old, new
            return same
        wait_until(same, 30, "the victims' quiet")
        return old

    def programs(self):
        """Programs that nothing here may end, and their processes."""
        return {p: sorted(self.inst.pids(p)) for p in (
            "master", "cleanup", "qmgr", "local", "launch", "auth",
            "lookup")}

    def foreign(self, tree):
        """What is not the attacker's, in his tree."""
        for base, _, files in os.walk(tree):
            for name in files:
                path = os.path.join(base, name)
                st = os.lstat(path)
                # his own hard links are no copy
                if not stat.S_ISREG(st.st_mode) or st.st_nlink > 1:
                    continue
                with open(path, "rb") as f:
                    self.load.check(f.read(), path)

    def repair(self):
        for base, dirs, files in os.walk(self.box):
            for name in files + dirs:
                path = os.path.join(base, name)
                st = os.lstat(path)
                wants_dir = name in ("tmp", "new", "cur") or (
                    base == self.box and name[0] == ".")
                if not stat.S_ISREG(st.st_mode) and not (
                        stat.S_ISDIR(st.st_mode) and wants_dir):
                    if stat.S_ISDIR(st.st_mode):
                        shutil.rmtree(path)
                        dirs.remove(name)
                    else:
                        os.unlink(path)
                elif stat.S_ISREG(st.st_mode) and wants_dir:
                    os.unlink(path)

    def arrived(self):
        out = {}
        for m in self.inst.messages("bob"):
            found = re.search(rb"^X-Token: (\S+)", m, re.M)
            if found:
                key = found[1].decode()
                out[key] = out.get(key, 0) + 1
            if b"X-For: bob" not in m:
                self.load.problems.append(f"bob has {m[:200]!r}")
        return out

    def his_mail(self, token):
        """Is it there, by whatever way he reads?"""
        return any(token.encode() in m for m in self.all_of_his())

    def all_of_his(self):
        out = []
        for sub in ("new", "cur"):
            for path in glob.glob(f"{glob.escape(self.box)}/{sub}/*"):
                with open(path, "rb") as f:
                    out.append(f.read())
        return out

    def run(self, seconds):
        before = self.settle()
        programs = self.programs()
        self.attack()
        for client in (self.deliver, self.imap, self.pop3):
            if self.login is not None or client == self.deliver:
                self.load.run(client)
        time.sleep(seconds)
        # the last sessions end while the swaps go on
        self.load.stop()
        self.swaps = sum(s.stop() for s in self.swappers)
        problems = self.load.problems
        problems += compare(before, snapshot(self.victims))
        self.foreign(self.box)
        self.repair()
        # what was deferred for the attacker is delivered now
        self.inst.command("postqueue", "-f")
        self.inst.send(self.to_attacker(), "X-For: attacker\r\n"
                       "X-Token: at-last\r\n\r\nbody\r\n")
        wait_until(lambda: self.his_mail("at-last"), 60,
                   "mail for the attacker, after the repair")
        try:
            wait_until(self.queue_is_empty, 120, "an empty queue")
        except AssertionError as e:
            problems += [str(e), self.inst.command("mailq").stdout,
                         self.inst.log()[-4000:]]
        got = self.arrived()
        problems += [f"bob lacks {t}" for t in self.bobs if t not in got]
        problems += [f"bob has {t} {n} times" for t, n in got.items()
                     if n != 1]
        if self.login is not None:
            c = Imap(self.inst.port("imap"))
            for text in (f'LOGIN {self.login} "{PASSWORD}"', "SELECT INBOX",
                         "FETCH 1:* BODY.PEEK[]", "LOGOUT"):
                got = c.command(text)
                self.load.check(got, "IMAP afterwards")
                if re.search(rb"^a\d+ OK", got, re.M) is None:
                    problems.append(f"afterwards, {text}: {got[-200:]!r}")
            c.close()
        self.foreign(self.box)
        problems += compare(before, snapshot(self.victims))
        now = self.programs()
        problems += [f"{p} was started again" for p in programs
                     if now[p] != programs[p]]
        # imapd and pop3d do not start while there is no such directory
        problems += [line for line in self.inst.log().splitlines()
                     if re.search(r"panic:|killed by signal|exit status",
                                  line) and
                     not re.search(r"(imapd|pop3d)\[\d+\] exit status 1$",
                                   line)]
        return problems

    def queue_is_empty(self):
        out = self.inst.command("mailq").stdout
        if "Mail queue is empty" in out:
            return True
        self.inst.command("postqueue", "-f")
        time.sleep(0.2)
        return False


class Shared(Scene):
    """Virtual users: one uid for all mail."""

    def __init__(self, name, as_user):
        super().__init__(name)
        self.inst = make_instance(users=("att", "bob", "vic"),
                                  as_user=as_user, start=False)
        if as_user is None:
            os.chmod(os.path.dirname(self.inst.dir), 0o755)
        assert self.inst.command("postern", "start").returncode == 0
        self.login = "att@our.test"
        self.box = self.inst.maildir("att")
        self.inst.send("att", "Subject: first\r\n\r\nbody\r\n")
        self.inst.wait_messages("att", 1)
        vic = self.inst.maildir("vic")
        self.plant(vic)
        self.owner = os.stat(self.box).st_uid
        outside = make_outside(os.path.join(
            os.path.dirname(self.inst.dir), "outside"), self.owner)
        self.victims = [vic, self.inst.etc,
                        os.path.join(self.inst.dir, "keys")] + outside

    def to_attacker(self):
        return "att@our.test"

    def attack(self):
        links = everything_below(self.victims) + [
            "../vic", "../../vic/cur", "../vic/cur"]
        # A hard link to what the same uid owns is no wall broken: who can
        # make it can read it. But nothing may be written through it.
        hards = [os.path.join(v, n) for v in self.victims
                 for n in ("postern-uidlist", "postern-store")
                 if os.path.exists(os.path.join(v, n))]
        self.swappers = [
            Swapper(self.box, self.owner, MAILDIR_TARGETS, links, hold=0),
            Swapper(self.box, self.owner, [
                "postern-uidlist", "postern-store", ".Sub/postern-uidlist"],
                    links, hards, 3000),
            # the mailbox itself, by who may do that
            Swapper(os.path.dirname(self.box), self.owner, ["att"],
                    [links[0], "vic"], hold=3000)]


class Home(Scene):
    """System users: a uid and a home each."""

    def __init__(self, name):
        super().__init__(name)
        self.mbox = name == "mbox"
        self.inst = make_instance(
            users=("bob", "vic"), start=False,
            sets=["home_mailbox=" + ("mbox" if self.mbox else "Maildir/"),
                  # whose file was a FIFO when it opened it waits for ever
                  "command_time_limit=10s"])
        parent = os.path.dirname(self.inst.dir)
        os.chmod(parent, 0o755)
        homes = os.path.join(parent, "home")
        make_dir(homes, 0, 0o755)
        with open("/etc/passwd", encoding="utf-8") as f:
            passwd = f.read()
        for user, uid in (("lucy", LUCY), ("mark", MARK)):
            make_dir(f"{homes}/{user}", uid, 0o755)
            passwd += f"{user}:x:{uid}:{uid}::{homes}/{user}:/bin/sh\n"
        write(os.path.join(parent, "passwd"), passwd, 0, 0o644)
        self.lucy, mark = f"{homes}/lucy", f"{homes}/mark"
        self.box = f"{self.lucy}/Maildir"
        make_dir(self.box, LUCY)
        if not self.mbox:
            # he reads his mail as well
            with open(os.path.join(self.inst.etc, "users"), "a",
                      encoding="ascii") as f:
                f.write(f"lucy@our.test:{{PLAIN}}{PASSWORD}:{LUCY}:{LUCY}::"
                        f"{self.box}\n")
            self.login = "lucy@our.test"
        else:
            write(f"{self.lucy}/.forward", f"\\lucy\n{self.lucy}/copy\n"
                  f"\"|cat >> {self.lucy}/piped\"\n", LUCY, 0o644)
        assert self.inst.command("newaliases").returncode == 0
        p = subprocess.run(
            ["unshare", "-m", "sh", "-c",
             'mount --bind "$1" /etc/passwd && exec "$2" -c "$3" start',
             "sh", os.path.join(parent, "passwd"),
             os.path.join(BIN, "postern"), self.inst.etc],
            capture_output=True, text=True, check=False, timeout=60)
        if p.returncode != 0:
            raise RuntimeError(p.stderr)
        vic = self.inst.maildir("vic")
        self.plant(vic)
        make_dir(f"{mark}/Maildir", MARK)
        for sub in ("tmp", "new", "cur"):
            make_dir(f"{mark}/Maildir/{sub}", MARK)
        write(f"{mark}/Maildir/cur/1,S=9:2,S", f"{SECRET}\n", MARK)
        write(f"{mark}/mbox", f"From a  b\n{SECRET}\n", MARK)
        write(f"{mark}/.forward", f"{SECRET}@our.test\n", MARK)
        outside = make_outside(os.path.join(parent, "outside"), MARK)
        self.victims = [mark, vic, self.inst.etc,
                        os.path.join(self.inst.dir, "keys")] + outside

    def to_attacker(self):
        return "lucy@mail.our.test"

    def attack(self):
        links = everything_below(self.victims) + ["../mark", "../mark/mbox"]
        hards = [p for p in everything_below(self.victims[:1])
                 if os.path.isfile(p)]
        if self.mbox:
            self.swappers = [Swapper(self.lucy, LUCY, [
                "mbox", "mbox.lock", "copy", "copy.lock", ".forward",
                "piped"], links, hards, 1000)]
            return
        self.swappers = [
            Swapper(self.box, LUCY, MAILDIR_TARGETS, links, hards, 0),
            Swapper(self.lucy, LUCY, ["Maildir", ".forward"], links, hards,
                    3000)]

    def repair(self):
        if not self.mbox:
            super().repair()
            return
        for name in ("mbox", "copy", "piped", "mbox.lock", "copy.lock"):
            path = f"{self.lucy}/{name}"
            if os.path.lexists(path) and (
                    not os.path.isfile(path) or os.path.islink(path) or
                    os.lstat(path).st_nlink > 1 or name.endswith("lock")):
                if os.path.isdir(path) and not os.path.islink(path):
                    shutil.rmtree(path)
                else:
                    os.unlink(path)
        path = f"{self.lucy}/.forward"
        if os.path.lexists(path):
            if os.path.isdir(path) and not os.path.islink(path):
                shutil.rmtree(path)
            else:
                os.unlink(path)

    def all_of_his(self):
        if not self.mbox:
            return super().all_of_his()
        try:
            with open(f"{self.lucy}/mbox", "rb") as f:
                return [f.read()]
        except FileNotFoundError:
            return []


def run_scene(name, seconds):
    if name in ("home", "mbox"):
        scene = Home(name)
    else:
        scene = Shared(name, pwd.getpwnam("nobody").pw_uid
                       if name == "user" and os.geteuid() == 0 else None)
    parent = os.path.dirname(scene.inst.dir)
    try:
        problems = scene.run(seconds)
    except AssertionError as e:
        problems = scene.load.problems + [str(e)]
    finally:
        scene.load.over.set()
        for s in scene.swappers:
            if s.process.poll() is None:
                s.stop()
        if problems_of(scene):
            say(scene.inst.log())
        scene.inst.stop()
        shutil.rmtree(parent, ignore_errors=True)
    counts = scene.load.counts
    print(f"h7 {name}: {scene.swaps} swaps in {seconds:g} s, "
          f"{counts.get('messages', 0)} messages "
          f"({len(scene.bobs)} to the bystander), "
          f"{counts.get('commands', 0)} IMAP commands "
          f"({counts.get('ok', 0)} OK), {counts.get('retr', 0)} RETR, "
          f"{len(problems)} problems", flush=True)
    for p in problems[:20]:
        print(f"    {p}")
    return len(problems)


def problems_of(scene):
    return VERBOSE and scene.load.problems


def main():
    global VERBOSE
    p = argparse.ArgumentParser()
    p.add_argument("--seconds", type=float, default=10)
    p.add_argument("--only")
    p.add_argument("-v", action="store_true")
    args = p.parse_args()
    VERBOSE = args.v
    need_tools("crash-swap")
    if not control():
        print("h7: the harness is blind: it did not see what a program that "
              "follows links was made to do")
        return 1
    print("h7: a program that follows links was caught")
    scenes = ["shared", "user", "home", "mbox"]
    if os.geteuid() != 0:
        print("h7: not root: only the instance run by a user")
        scenes = ["user"]
    if args.only:
        scenes = args.only.split(",")
    bad = sum(run_scene(name, args.seconds / len(scenes)) for name in scenes)
    print(f"h7: {bad} problems")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
