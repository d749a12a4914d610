"""What `make install` puts onto a system, and an instance that runs from it."""
import configparser
import glob
import imaplib
import os
import re
import shutil
import smtplib
import ssl
import stat
import subprocess
import tempfile

import pytest

from conftest import BUILD, PASSWORD, ROOT, wait_until

UID_BASE = 63100
UID_MAIL = UID_BASE + 50


def run(*cmd, **kw):
    kw.setdefault("stdin", subprocess.DEVNULL)
    if "input" in kw:
        del kw["stdin"]
    return subprocess.run(cmd, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, timeout=120, check=False, **kw)


def make_install(dest, *more):
    p = run("make", "-C", ROOT, f"B={BUILD}", f"DESTDIR={dest}", *more,
            "install-built")
    assert p.returncode == 0, p.stderr


@pytest.fixture(scope="module")
def dest():
    """A directory into which the suite was installed with default paths."""
    parent = tempfile.mkdtemp(prefix="postern-test.")
    os.chmod(parent, 0o755)
    make_install(parent)
    yield parent
    shutil.rmtree(parent)


def walk(top):
    for directory, dirs, files in os.walk(top):
        for name in dirs + files:
            path = os.path.join(directory, name)
            yield path, os.lstat(path)


def sandbox_rows():
    """(name, processes, capabilities) of lib/service/sandbox.def."""
    with open(os.path.join(ROOT, "lib/service/sandbox.def"),
              encoding="ascii") as f:
        return [(m[1], int(m[2]), re.findall(r"CAP\((\w+)\)", m[3]))
                for m in re.finditer(
                    r"^PROGRAM\((\w+), *\d+, *(\d+), *([^,]*),", f.read(),
                    re.M)]


def test_nothing_installed_is_set_id_or_writable_by_others(dest):
    found = 0
    for path, st in walk(dest):
        if stat.S_ISLNK(st.st_mode):
            continue
        found += 1
        assert st.st_mode & 0o7022 == 0, f"{path} {st.st_mode:o}"
    assert found > 50


def test_programs_commands_and_their_other_names_are_there(dest):
    libexec = os.path.join(dest, "usr/local/libexec/postern")
    for name, _, _ in sandbox_rows():
        assert os.access(os.path.join(libexec, name), os.X_OK), name
    bindir = os.path.join(dest, "usr/local/bin")
    for name in ("mailq newaliases postconf postmap postalias postqueue "
                 "postsuper postcat").split():
        # relative, so that the tree may be moved
        assert os.readlink(os.path.join(bindir, name)) == "postern"
    assert os.access(os.path.join(dest, "usr/local/sbin/sendmail"), os.X_OK)


def test_every_program_has_a_manual_page(dest):
    man = os.path.join(dest, "usr/local/share/man")
    pages = [f"man8/{name}.8" for name, _, _ in sandbox_rows()
             if not name.startswith("deliver")]  # local.8 has them
    pages += [f"man1/{name}.1" for name in
              ("postern sendmail mailq newaliases postconf postmap postalias "
               "postqueue postsuper postcat").split()]
    pages += [f"man5/{name}.5" for name in
              ("main.cf master.cf aliases postern-tables "
               "postern-users").split()]
    missing = [p for p in pages if not os.path.exists(os.path.join(man, p))]
    assert not missing
    p = run("mandoc", "-Tlint", "-Werror",
            *sorted(glob.glob(os.path.join(man, "man*/*"))))
    assert p.returncode == 0, p.stdout


def test_a_file_that_the_operator_changed_stays():
    dest = tempfile.mkdtemp(prefix="postern-test.")
    try:
        make_install(dest)
        paths = [os.path.join(dest, p) for p in
                 ("etc/postern/main.cf", "etc/postern/master.cf",
                  "etc/postern/users", "etc/aliases")]
        for path in paths:
            with open(path, "w", encoding="ascii") as f:
                f.write("# mine\n")
        make_install(dest)
        for path in paths:
            with open(path, encoding="ascii") as f:
                assert f.read() == "# mine\n"
    finally:
        shutil.rmtree(dest)


def test_hashes_of_passwords_are_not_for_everybody(dest):
    st = os.stat(os.path.join(dest, "etc/postern/users"))
    assert stat.S_IMODE(st.st_mode) == 0o640


def test_the_default_configuration_is_read_without_a_mistake(dest):
    """What check reports is what the system lacks: tables that newaliases
    builds, users and directories of sysusers.d and tmpfiles.d."""
    etc = os.path.join(dest, "etc/postern")
    p = run(os.path.join(dest, "usr/local/bin/postern"), "-c", etc, "check")
    assert p.returncode in (0, 1)
    assert p.stdout.startswith(etc + ": ")
    lacks = ("/etc/aliases", "there are no users postern-",
             "mail_uid: no user postern-mail", "nobody is postmaster",
             "virtual_mailbox_base: /var/vmail: No such file")
    for line in p.stderr.splitlines():
        assert any(word in line for word in lacks), line


def test_there_is_a_user_for_each_program(dest):
    with open(os.path.join(dest, "usr/local/lib/sysusers.d/postern.conf"),
              encoding="ascii") as f:
        users = set(re.findall(r"^u (\S+)", f.read(), re.M))
    assert users == {f"postern-{name}" for name, n, caps in sandbox_rows()
                     if n > 0 and not caps} | {"postern-mail"}


def unit(dest):
    path = os.path.join(dest, "usr/local/lib/systemd/system/postern.service")
    with open(path, encoding="ascii") as f:
        text = f.read()
    c = configparser.ConfigParser(strict=False, interpolation=None,
                                  comment_prefixes=("#",))
    c.optionxform = str
    c.read_string(text)
    bounding = " ".join(re.findall("^CapabilityBoundingSet=(.*)", text, re.M))
    return c, bounding.split()


def test_the_unit_names_what_was_installed(dest):
    service, bounding = unit(dest)
    for key in ("ExecStart", "ExecReload"):
        program = service["Service"][key].split()[0]
        assert os.access(dest + program, os.X_OK)
    assert service["Service"]["Type"] == "notify"
    assert os.path.exists(dest + service["Unit"]["ConditionPathExists"])
    for name, _, caps in sandbox_rows():
        assert {f"CAP_{c}" for c in caps} <= set(bounding), name


class Installed:
    """An instance whose programs and files are those of the tree."""

    def __init__(self, dest, directory, seed):
        self.dir = directory
        self.values = seed.values
        self.bin = os.path.join(dest, "usr/local/bin")
        self.sbin = os.path.join(dest, "usr/local/sbin")
        self.etc = os.path.join(dest, "etc/postern")
        self.log_path = os.path.join(directory, "log/maillog")

    def command(self, name, *args, **kw):
        where = self.sbin if name == "sendmail" else self.bin
        option = "-C" if name == "sendmail" else "-c"
        return run(os.path.join(where, name), option, self.etc, *args, **kw)

    def log(self):
        with open(self.log_path, encoding="utf-8") as f:
            return f.read()


@pytest.fixture
def installed(dest, new_instance):
    """The default configuration, and what a site has to change in it; ports,
    certificate and users are those of an instance that is not started."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    seed = new_instance(users=("anna",), start=False)
    directory = tempfile.mkdtemp(prefix="postern-test.")
    os.chmod(directory, 0o755)
    i = Installed(dest, directory, seed)
    mail = os.path.join(directory, "vmail")
    os.mkdir(mail, 0o711)
    os.chown(mail, UID_MAIL, UID_MAIL)
    shutil.copy(os.path.join(seed.etc, "users"), i.etc)
    os.chown(os.path.join(i.etc, "users"), 0, UID_BASE + 11)
    aliases = os.path.join(dest, "etc/aliases")
    for setting in (
            f"service_uid_base={UID_BASE}", f"mail_uid={UID_MAIL}",
            "myhostname=mail.our.test", "mydestination=localhost",
            "virtual_mailbox_domains=our.test",
            f"queue_directory={directory}/spool",
            f"data_directory={directory}/data",
            f"virtual_mailbox_base={mail}", f"maillog_file={i.log_path}",
            f"alias_maps=hash:{aliases}", f"alias_database=hash:{aliases}",
            f"smtpd_tls_cert_file={seed.etc}/cert.pem",
            f"smtpd_tls_key_file={seed.dir}/keys/key.pem",
            "smtpd_tls_security_level=may", "inet_interfaces=loopback-only"):
        p = i.command("postconf", "-e", setting)
        assert p.returncode == 0, p.stderr
    # Every line that is there for the taking, on ports of our own.
    path = os.path.join(i.etc, "master.cf")
    with open(path, encoding="ascii") as f:
        text = f.read()
    text = re.sub(r"^#(\S+ +inet |  -o)", r"\1", text, flags=re.M)
    for name in ("smtp", "submission", "submissions", "imap", "imaps", "pop3",
                 "pop3s", "127.0.0.1:24"):
        port = seed.values.get(name) or "127.0.0.1:" + seed.values["lmtp"]
        text, n = re.subn(rf"^{re.escape(name)} +inet", f"{port} inet", text,
                          flags=re.M)
        assert n == 1, name
    with open(path, "w", encoding="ascii") as f:
        f.write(text)
    p = i.command("newaliases")
    assert p.returncode == 0, p.stderr
    yield i
    i.command("postern", "stop")
    shutil.rmtree(directory)


def test_a_message_goes_through_an_installed_suite(dest, installed):
    i = installed
    p = i.command("postern", "check")
    assert p.returncode == 0, p.stdout + p.stderr
    # As the unit starts it: no more capabilities than it leaves, and no new
    # privileges.
    _, bounding = unit(dest)
    keep = ",".join("+" + c[4:].lower() for c in bounding)
    p = run("setpriv", f"--bounding-set=-all,{keep}", "--no-new-privs",
            os.path.join(i.bin, "postern"), "-c", i.etc, "start")
    assert p.returncode == 0, p.stderr

    text = "Subject: from the shell\n\nbody\n"
    p = i.command("sendmail", "anna@our.test", input=text)
    assert p.returncode == 0, p.stderr
    context = ssl.create_default_context(cafile=i.values["ca"])
    with smtplib.SMTP("localhost", int(i.values["submission"]),
                      timeout=60) as s:
        s.starttls(context=context)
        s.login("anna@our.test", PASSWORD)
        s.sendmail("anna@our.test", ["anna@our.test"],
                   "Subject: from a program\r\n\r\nbody\r\n")
    with imaplib.IMAP4_SSL("localhost", int(i.values["imaps"]), timeout=60,
                           ssl_context=context) as c:
        c.login("anna@our.test", PASSWORD)
        wait_until(lambda: c.select()[1] == [b"2"], what="the mail")
        typ, data = c.fetch("1:2", "(BODY[HEADER.FIELDS (SUBJECT)])")
        assert typ == "OK"
        subjects = {part[1].strip() for part in data
                    if isinstance(part, tuple)}
        assert subjects == {b"Subject: from the shell",
                            b"Subject: from a program"}
    # the mail is its owner's, in the place that the configuration says
    found = glob.glob(os.path.join(i.dir, "vmail/our.test/anna/*/*"))
    assert len([f for f in found if os.stat(f).st_uid == UID_MAIL]) >= 2
    assert "panic" not in i.log() and "killed" not in i.log()
    p = i.command("postern", "reload")
    assert p.returncode == 0, p.stderr
    p = i.command("postern", "stop")
    assert p.returncode == 0, p.stderr
