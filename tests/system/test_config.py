"""The configuration: postern check, postconf, postmap, newaliases, and what
lookup makes of tables while the suite runs."""
import os
import re
import stat
import subprocess
import time

import pytest

from conftest import BIN, wait_until


def path(instance, name):
    return os.path.join(instance.etc, name)


def append(instance, name, text):
    with open(path(instance, name), "a", encoding="utf-8") as f:
        f.write(text)


@pytest.fixture
def stopped(new_instance):
    return new_instance(users=["anna"], start=False)


def test_a_fresh_instance_has_no_mistakes(stopped):
    p = stopped.command("postern", "check")
    assert p.returncode == 0, p.stderr
    assert p.stderr == ""
    assert "0 errors, 0 warnings" in p.stdout


MISTAKES = [
    ("smtpd_timeout = soon\n", "main.cf:{n}: error: smtpd_timeout = soon"),
    ("mydestinatoin = x\n", "main.cf:{n}: warning: unknown parameter "
     "mydestinatoin (did you mean mydestination?)"),
    ("smtpd_milters = inet:localhost:8891\n",
     "main.cf:{n}: error: smtpd_milters is not supported"),
    ("readme_directory = /usr/share/doc\n",
     "main.cf:{n}: warning: readme_directory is not supported"),
    ("relay_domains = hash:/nonexistent/x\n",
     "main.cf:{n}: error: relay_domains: /nonexistent/x.db: "),
    ("relay_transport = nosuch:\n", "main.cf:{n}: error: relay_transport: "
     "the transport nosuch is no service of master.cf"),
    ("transport_maps = inline:{ a.example=other: }\n",
     "main.cf:{n}: error: transport_maps: the transport other"),
    ("a = $b\nb = $a\n", "main.cf:{n}: error: a: a $name refers to itself"),
]


def test_check_names_every_mistake_at_once_with_its_line(stopped):
    with open(path(stopped, "main.cf"), encoding="utf-8") as f:
        line = f.read().count("\n") + 1
    append(stopped, "main.cf", "".join(m[0] for m in MISTAKES))
    p = stopped.command("postern", "check")
    assert p.returncode == 1
    for text, want in MISTAKES:
        assert want.format(n=line) in p.stderr
        line += text.count("\n")


def test_start_and_reload_refuse_a_broken_configuration(new_instance):
    instance = new_instance(users=["anna"], start=False)
    append(instance, "main.cf", "hopcount_limit = many\n")
    p = instance.command("postern", "start")
    assert p.returncode != 0
    assert "hopcount_limit = many" in p.stderr
    assert not instance.is_running()


def test_files_that_others_may_write_are_refused(stopped):
    os.chmod(path(stopped, "main.cf"), 0o666)
    p = stopped.command("postern", "check")
    assert p.returncode == 1
    assert "main.cf: error: the file is writable by others" in p.stderr
    os.chmod(path(stopped, "main.cf"), 0o644)
    os.chmod(path(stopped, "aliases.db"), 0o666)
    p = stopped.command("postern", "check")
    assert p.returncode == 1
    assert "aliases.db is not trusted" in p.stderr


def test_a_stale_table_is_told(stopped):
    later = time.time() + 100
    os.utime(path(stopped, "aliases"), (later, later))
    p = stopped.command("postern", "check")
    assert p.returncode == 0
    assert "run newaliases" in p.stderr


def openssl(*args):
    subprocess.run(["openssl", *args], check=True, stdin=subprocess.DEVNULL,
                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)


@pytest.fixture
def tls_files(stopped):
    """The instance's certificate and key, others, and what is neither."""
    files = {name: path(stopped, name + ".pem") for name in
             ("other", "locked", "ed25519", "public", "prose", "both",
              "damaged", "cut", "cut_chain", "bad_chain")}
    files["cert"] = path(stopped, "cert.pem")
    files["key"] = os.path.join(stopped.dir, "keys", "key.pem")
    openssl("genpkey", "-algorithm", "RSA", "-out", files["other"])
    openssl("pkey", "-in", files["other"], "-aes128", "-passout", "pass:x",
            "-out", files["locked"])
    openssl("genpkey", "-algorithm", "ED25519", "-out", files["ed25519"])
    openssl("pkey", "-in", files["key"], "-pubout", "-out", files["public"])
    with open(files["prose"], "w", encoding="ascii") as f:
        f.write("no PEM at all\n")
    with open(files["cert"], encoding="ascii") as f:
        cert = f.read()
    with open(files["key"], encoding="ascii") as f:
        key = f.read()
    with open(files["both"], "w", encoding="ascii") as f:
        f.write(cert + key)
    with open(files["damaged"], "w", encoding="ascii") as f:
        f.write("-----BEGIN PRIVATE KEY-----\nAAAA\n"
                "-----END PRIVATE KEY-----\n")
    half = "".join(key.splitlines(True)[:-1])
    with open(files["cut"], "w", encoding="ascii") as f:
        f.write(half)
    with open(files["cut_chain"], "w", encoding="ascii") as f:
        f.write(cert + "".join(cert.splitlines(True)[:-1]))
    with open(files["bad_chain"], "w", encoding="ascii") as f:
        f.write(cert + "-----BEGIN CERTIFICATE-----\nAAAA\n"
                "-----END CERTIFICATE-----\n")
    for name in files:
        os.chmod(files[name], 0o644 if name in ("cert", "prose", "public")
                 else 0o600)
    return files


CERT, KEY = "smtpd_tls_cert_file", "smtpd_tls_key_file"
# Values of the two parameters (None: unset), which one is told of, what is
# said.
PAIRS = [
    ("cert", "key", None, None),
    ("both", None, None, None),
    ("both", "both", None, None),
    ("cert", "both", None, None),
    ("cert", "cert", KEY, "{cert} holds no private key; it holds a "
     "certificate (name the file with the private key"),
    ("cert", None, CERT, "{cert} holds no private key; it holds a "
     "certificate (name the file with the private key"),
    ("cert", "public", KEY, "{public} holds no private key; it holds a block "
     '"PUBLIC KEY" ('),
    ("cert", "prose", KEY, "{prose} holds no private key; it holds nothing "
     "in PEM ("),
    ("cert", "other", KEY, "the private key in {other} does not belong to "
     "the certificate in {cert} ("),
    ("cert", "locked", KEY, "the private key in {locked} has a pass phrase "
     "(write it without one: "),
    ("cert", "ed25519", KEY, "the private key in {ed25519} is neither an RSA "
     "nor an EC key ("),
    ("cert", "damaged", KEY, "the private key in {damaged} is damaged ("),
    ("cert", "cut", KEY, "the private key in {cut} is damaged (copy"),
    ("cut_chain", "key", CERT, "a certificate in {cut_chain} is damaged ("),
    ("bad_chain", "key", CERT, "a certificate in {bad_chain} is damaged ("),
    ("key", "key", CERT, "{key} holds no certificate; it holds a private key "
     "(name the file with the certificate"),
    ("prose", "key", CERT, "{prose} holds no certificate; it holds nothing "
     "in PEM ("),
]


def test_check_reads_the_certificate_and_its_key(stopped, tls_files):
    with open(path(stopped, "main.cf"), encoding="utf-8") as f:
        lines = [line for line in f if not line.startswith((CERT, KEY))]
    for cert, key, told, want in PAIRS:
        with open(path(stopped, "main.cf"), "w", encoding="utf-8") as f:
            f.writelines(lines)
            f.write(f"{CERT} = {tls_files[cert]}\n")
            if key is not None:
                f.write(f"{KEY} = {tls_files[key]}\n")
        p = stopped.command("postern", "check")
        if want is None:
            assert (p.returncode, p.stderr) == (0, ""), (cert, key)
            continue
        at = len(lines) + 1 + (told == KEY)
        assert p.stderr.startswith(
            f"{stopped.etc}/main.cf:{at}: error: {told}: " +
            want.format(**tls_files)), (cert, key, p.stderr)
        assert p.stderr.count("\n") == 1, (cert, key, p.stderr)
        assert p.returncode == 1


CHAIN = "smtpd_tls_chain_files"
# Files of smtpd_tls_chain_files and what is said.
CHAINS = [
    ("both", None),
    ("key cert", None),
    ("key cert rsa", None),
    ("rsa both", None),
    ("cert", "certificate 1 in {cert} has no private key (write the key "
     "that it was made for in front of it)"),
    ("both wrong", "certificate 1 in {wrong} has no private key ("),
    ("two wrong both", None),
    ("twice", "certificate 2 in {twice} has no private key ("),
    ("key", "{key} holds no certificate (write the certificate and those "
     "above it behind their key, in PEM)"),
    ("prose", "{prose} holds no key and no certificate; it holds nothing "
     "in PEM (name files with keys and the certificates behind them, in "
     "PEM)"),
    ("both public", "{public} holds no key and no certificate; it holds a "
     'block "PUBLIC KEY" ('),
    ("both damaged", "the private key in {damaged} is damaged ("),
    ("cut both", "a key or a certificate in {cut} is damaged (copy"),
    ("cut_chain", "a key or a certificate in {cut_chain} is damaged (copy"),
    ("both bad_chain", "a key or a certificate in {bad_chain} is damaged ("),
    ("locked both", "the private key in {locked} has a pass phrase ("),
    ("both missing", "{missing}: No such file or directory"),
]


@pytest.fixture
def chain_files(stopped, tls_files):
    """Beside those: an RSA pair, its certificate alone, both pairs."""
    files = dict(tls_files, missing=path(stopped, "missing.pem"))
    pair = path(stopped, "pair.pem")
    openssl("req", "-x509", "-key", files["other"], "-subj", "/CN=x", "-days",
            "2", "-out", pair)
    texts = {}
    for name, source in (("pair", pair), ("other", files["other"]),
                         ("both", files["both"])):
        with open(source, encoding="ascii") as f:
            texts[name] = f.read()
    for name, text in (("rsa", texts["other"] + texts["pair"]),
                       ("wrong", texts["pair"]),
                       ("two", texts["other"]),
                       ("twice", texts["both"] + texts["pair"])):
        files[name] = path(stopped, name + ".pem")
        with open(files[name], "w", encoding="ascii") as f:
            f.write(text)
        os.chmod(files[name], 0o600)
    return files


def test_check_reads_chain_files(stopped, chain_files):
    with open(path(stopped, "main.cf"), encoding="utf-8") as f:
        lines = [line for line in f if not line.startswith((CERT, KEY))]
    for names, want in CHAINS:
        with open(path(stopped, "main.cf"), "w", encoding="utf-8") as f:
            f.writelines(lines)
            value = " ".join(chain_files[name] for name in names.split())
            f.write(f"{CHAIN} = {value}\n")
        p = stopped.command("postern", "check")
        first = p.stderr.splitlines()[:1]
        if want is None:
            assert (p.returncode, first) == (0, []), names
            continue
        assert first[0].startswith(
            f"{stopped.etc}/main.cf:{len(lines) + 1}: error: {CHAIN}: " +
            want.format(**chain_files)), (names, p.stderr)
        assert p.returncode == 1


def test_check_reads_the_certificates_that_a_service_has_of_its_own(
        stopped, chain_files):
    with open(path(stopped, "master.cf"), encoding="utf-8") as f:
        lines = f.readlines()
    at = next(i for i, line in enumerate(lines) if "imap-login" in line)
    for options, level, want in (
            ({CERT: "cert", KEY: "other"}, "error",
             f"{KEY}: the private key in {{other}} does not belong to the "
             "certificate in {cert} ("),
            ({CHAIN: "both prose"}, "error", f"{CHAIN}: {{prose}} holds no "
             "key and no certificate; it holds nothing in PEM ("),
            ({CHAIN: "both", CERT: "cert"}, "warning", f"{CERT}: it is "
             f"ignored because {CHAIN} is set ("),
            ({CHAIN: "both"}, None, None)):
        text = "".join(
            "    -o {{ {} = {} }}\n".format(
                name, " ".join(chain_files[file] for file in files.split()))
            for name, files in options.items())
        with open(path(stopped, "master.cf"), "w", encoding="utf-8") as f:
            f.writelines(lines[:at + 1] + [text] + lines[at + 1:])
        p = stopped.command("postern", "check")
        if want is None:
            assert (p.returncode, p.stderr) == (0, "")
            continue
        assert p.stderr.startswith(
            f"{stopped.etc}/master.cf:{at + 1}: {level}: " +
            want.format(**chain_files)), (options, p.stderr)
        assert p.stderr.count("\n") == 1
        assert p.returncode == (level == "error")


def test_a_key_that_others_may_read_is_told(stopped, tls_files):
    os.chmod(tls_files["key"], 0o644)
    p = stopped.command("postern", "check")
    assert p.returncode == 0
    assert (f"{KEY}: {tls_files['key']} holds a private key and has mode "
            "0644 (chmod 0600 it)") in p.stderr


def test_a_key_that_the_operator_may_not_read_is_no_mistake(new_instance,
                                                            nobody):
    instance = new_instance(users=["anna"], start=False, as_user=nobody)
    key = os.path.join(instance.dir, "keys", "key.pem")
    os.chmod(key, 0)
    p = instance.command("postern", "check")
    assert (p.returncode, p.stderr) == (0, "")


USERS_LINES = [
    ("# a comment\n", None),
    ("\n", None),
    ("bob@our.test:{PLAIN}x:5000:5000::\n", None),
    ("carol@our.test:{PLAIN}x::::\n", "no uid and gid, and no mail_uid; the "
     "line is skipped (set mail_uid in main.cf, or "),
    ("only words\n", "no uid and gid, and no mail_uid; the line is skipped ("),
    (":{PLAIN}x:5000:5000::\n", "bad name; the line is skipped ("),
    ("dora@our.test:{PLAIN}x:no-such-user:5000::\n",
     "bad uid; the line is skipped ("),
    ("dora@our.test:{PLAIN}x:5000:people::\n",
     "bad gid; the line is skipped ("),
    ("Bob@Our.Test:{PLAIN}x:5000:5000::\n",
     "named twice; the line is skipped ("),
    ("emil@our.test:{PLAIN}x:5000:5000::../emil\n",
     "bad home directory; the line is skipped ("),
    ("a/b@our.test:{PLAIN}x:5000:5000::\n",
     "a name with a slash needs a home directory; the line is skipped ("),
    ("fred@our.test:" + "x" * 600 + ":5000:5000::\n",
     "password hash too long; the line is skipped ("),
]


def write_users(instance, text):
    users = path(instance, "users")
    with open(users, encoding="utf-8") as f:
        first = f.read().count("\n") + 1
    append(instance, "users", text)
    return users, first


@pytest.mark.skipif(os.geteuid() != 0,
                    reason="uids are of root's instances only")
def test_check_names_the_lines_of_users_that_auth_skips(stopped):
    users, line = write_users(stopped, "".join(x[0] for x in USERS_LINES))
    p = stopped.command("postern", "check")
    assert p.returncode == 1
    told = p.stderr.splitlines()
    for _, want in USERS_LINES:
        if want is not None:
            assert told.pop(0).startswith(f"{users}:{line}: error: {want}")
        line += 1
    assert told == []
    # auth says the same of the same lines
    assert stopped.command("postern", "start").returncode == 0
    first = line - len(USERS_LINES)
    for i, (_, want) in enumerate(USERS_LINES):
        if want is not None:
            stopped.wait_log(re.escape(f"users:{first + i}: " +
                                       want.split(" (")[0]))
    stopped.stop()


@pytest.mark.skipif(os.geteuid() != 0,
                    reason="uids are of root's instances only")
def test_a_mail_uid_that_nobody_has_is_told(stopped):
    append(stopped, "main.cf", "mail_uid = no-such-user\n")
    _, line = write_users(stopped, "bob@our.test:{PLAIN}x::::\n")
    p = stopped.command("postern", "check")
    assert p.returncode == 1
    assert "error: mail_uid: no user no-such-user (" in p.stderr
    assert f"users:{line}: error: no uid and gid, and no mail_uid; " in \
        p.stderr


def test_many_bad_lines_are_told_by_the_first_of_them(stopped):
    users, first = write_users(stopped, ":\n" * 1000)
    p = stopped.command("postern", "check")
    told = p.stderr.splitlines()
    assert p.returncode == 1
    assert len(told) == 21
    assert told[19].startswith(f"{users}:{first + 19}: error: bad name; ")
    assert f"auth_users_file: {users}: 980 more lines are skipped" in told[20]


def test_a_user_s_own_instance_needs_no_uids(new_instance, nobody):
    instance = new_instance(users=["anna"], start=False, as_user=nobody)
    write_users(instance, "bob@our.test:{PLAIN}x::::\n")
    p = instance.command("postern", "check")
    assert (p.returncode, p.stderr) == (0, "")
    users, line = write_users(instance, ":{PLAIN}x::::\n")
    p = instance.command("postern", "check")
    assert p.returncode == 1
    assert f"{users}:{line}: error: bad name; " in p.stderr


def test_postconf_shows_values_as_scripts_ask(stopped):
    def ask(*args):
        p = stopped.command("postconf", *args)
        assert p.returncode == 0, p.stderr
        return p.stdout

    assert ask("-h", "myhostname") == f"mail.{stopped.domain}\n"
    assert ask("myorigin") == "myorigin = $mydomain\n"
    assert ask("-x", "myorigin") == f"myorigin = {stopped.domain}\n"
    assert ask("-d", "myorigin") == "myorigin = $myhostname\n"
    assert ask("-d", "mail_version").split()[-1].startswith("3.")
    assert ask("-dh", "queue_directory") == "/var/spool/postern\n"
    assert "hash" in ask("-m").split()
    listed = ask("-n").splitlines()
    assert listed == sorted(listed)
    assert f"mydomain = {stopped.domain}" in listed
    assert not any(line.startswith("hopcount_limit") for line in listed)
    assert "hopcount_limit = 50" in ask().splitlines()
    p = stopped.command("postconf", "no_such_parameter")
    assert "unknown parameter" in p.stderr and p.stdout == ""


def test_postconf_changes_main_cf_and_nothing_else(stopped):
    main_cf = path(stopped, "main.cf")
    with open(main_cf, "w", encoding="utf-8") as f:
        f.write("# head\nmyhostname = a.example\n# note\n"
                "mydestination = one,\n# inside\n  two\nx = 1\n"
                "hopcount_limit = 5\nhopcount_limit = 6\n")
    os.chmod(main_cf, 0o640)
    p = stopped.command("postconf", "-e", "mydestination=three",
                        "hopcount_limit = 7", "relayhost=[h.example]")
    assert p.returncode == 0, p.stderr
    with open(main_cf, encoding="utf-8") as f:
        assert f.read() == (
            "# head\nmyhostname = a.example\n# note\n"
            "mydestination = three\n# inside\nx = 1\nhopcount_limit = 7\n"
            "relayhost = [h.example]\n")
    assert stat.S_IMODE(os.stat(main_cf).st_mode) == 0o640
    assert stopped.command("postconf", "-X", "x").returncode == 0
    assert stopped.command("postconf", "-#", "relayhost").returncode == 0
    with open(main_cf, encoding="utf-8") as f:
        text = f.read()
    assert "x = 1" not in text and "#relayhost = [h.example]\n" in text
    assert sorted(n for n in os.listdir(stopped.etc) if "new" in n) == []


def test_postconf_changes_services(stopped):
    port = stopped.values["submission"]

    def conf(*args):
        p = stopped.command("postconf", *args)
        assert p.returncode == 0, p.stderr
        return p.stdout

    conf("-P", f"{port}/inet/smtpd_banner=two words")
    assert conf("-P", f"{port}/inet/smtpd_banner") == \
        f"{port}/inet/smtpd_banner = two words\n"
    conf("-F", f"{port}/inet/process_limit=7")
    assert conf("-Fh", f"{port}/inet/process_limit") == "7\n"
    conf("-PX", f"{port}/inet/smtpd_banner")
    assert conf("-P", f"{port}/inet/smtpd_banner") == ""
    conf("-M", "slow/unix=slow unix - - n - 1 smtp")
    assert conf("-M", "slow/unix").split() == \
        "slow unix - - n - 1 smtp".split()
    conf("-MX", "slow/unix")
    assert conf("-M", "slow/unix") == ""
    assert stopped.command("postern", "check").returncode == 0
    p = stopped.command("postconf", "-MX", "nosuch/unix")
    assert p.returncode == 1


def test_postmap_builds_asks_and_changes(stopped):
    source = path(stopped, "table")
    with open(source, "w", encoding="utf-8") as f:
        f.write("# a table\nA@Example one\nb two\n  words\nb again\n")

    def postmap(*args, **kw):
        return stopped.command("postmap", *args, **kw)

    for kind in "hash", "btree":
        p = postmap(f"{kind}:{source}")
        assert p.returncode == 0
        assert "line 5" in p.stderr and "there already" in p.stderr
        p = postmap("-q", "a@EXAMPLE", f"{kind}:{source}")
        assert (p.returncode, p.stdout) == (0, "one\n")
        p = postmap("-q", "nobody", f"{kind}:{source}")
        assert (p.returncode, p.stdout, p.stderr) == (1, "", "")
    p = postmap("-q", "-", f"btree:{source}", input="b\nnone\nA@example\n")
    assert p.stdout == "b\ttwo  words\nA@example\tone\n"
    assert postmap("-i", f"btree:{source}", input="c three\n").returncode == 0
    assert postmap("-d", "b", f"btree:{source}").returncode == 0
    assert postmap("-d", "b", f"btree:{source}").returncode == 1
    p = postmap("-s", f"btree:{source}")
    assert p.stdout == "a@example\tone\nc\tthree\n"
    p = postmap("-q", "x", "hash:/nonexistent/table")
    assert p.returncode == 75 and "nonexistent" in p.stderr
    assert postmap("-q", "k", "inline:{ k=v }").stdout == "v\n"
    assert postmap("nosuch:/x").returncode == 1


def test_newaliases_rebuilds_the_aliases(stopped):
    append(stopped, "aliases", "list: anna, \"|/bin/cat\"\n"
           "\"odd name\": x\n")
    assert stopped.command("newaliases").returncode == 0
    database = "hash:" + path(stopped, "aliases")
    p = stopped.command("postalias", "-q", "LIST", database)
    assert p.stdout == "anna, \"|/bin/cat\"\n"
    p = stopped.command("postalias", "-q", "odd name", database)
    assert p.stdout == "x\n"


@pytest.mark.parametrize("who", ["root", "user"])
def test_a_changed_table_is_picked_up_without_reload(new_instance, request,
                                                     who):
    uid = None if who == "root" else request.getfixturevalue("nobody")
    instance = new_instance(users=["anna", "bob"], as_user=uid)

    def rcpt(address):
        with instance.smtp() as s:
            s.ehlo("client.elsewhere.test")
            assert s.mail("x@elsewhere.test")[0] == 250
            return s.rcpt(address)[0]

    alias = f"new@{instance.domain}"
    assert rcpt(alias) == 550
    append(instance, "virtual", f"{alias} bob@{instance.domain}\n")

    def sent():
        try:
            return instance.send(alias)
        except AssertionError:  # each process looks once a second
            return None

    wait_until(sent, what="the new alias")
    instance.wait_messages("bob", 1)
    # A table that cannot be read is a temporary failure, not "unknown".
    os.rename(path(instance, "virtual"), path(instance, "away"))
    wait_until(lambda: rcpt(f"nobody@{instance.domain}") == 451,
               what="the temporary failure")
    os.rename(path(instance, "away"), path(instance, "virtual"))
    wait_until(lambda: rcpt(f"nobody@{instance.domain}") == 550,
               what="the answer")


def test_the_manual_page_is_clean_and_names_every_parameter(stopped):
    page = stopped.command("postern", "conf", "--man")
    assert page.returncode == 0
    for line in stopped.command("postconf", "-dH").stdout.split():
        assert f".It Ic {line} " in page.stdout
    lint = subprocess.run(["mandoc", "-Tlint", "-Wwarning"], text=True,
                          input=page.stdout, stdout=subprocess.PIPE,
                          check=False)
    assert (lint.returncode, lint.stdout) == (0, "")


# What --set says; exit status; what is said of it.
SETS = [
    (["smtpd_banner_delay=1s"], 64, "--set smtpd_banner_delay=1s: unknown "
     "parameter smtpd_banner_delay ("),
    (["smtpd_timout=1s"], 64, "--set smtpd_timout=1s: unknown parameter "
     "smtpd_timout (did you mean smtpd_timeout?)"),
    (["smtpd_timeout=soon"], 65, "--set smtpd_timeout=soon: smtpd_timeout = "
     "soon: "),
    (["hopcount_limit=0"], 65, "--set hopcount_limit=0: hopcount_limit = 0: "),
    (["mynetworks=10.0.0.0/8", "mynetworks_style=none"], 65,
     "--set mynetworks_style=none: mynetworks_style = none: "),
    (["milter_default_action=accept", "smtpd_milters=inet:h:1"], 65,
     "--set smtpd_milters=inet:h:1: smtpd_milters is not supported ("),
    (["smtpd_recipient_restrictions=permit_some"], 65,
     "--set smtpd_recipient_restrictions=permit_some: "),
    (["#max_idle=1s"], 64, "--set #max_idle=1s: want PARAM=VALUE"),
    ([" max_idle=1s"], 64, "--set  max_idle=1s: want PARAM=VALUE"),
]


@pytest.mark.parametrize("is_there", [False, True])
def test_init_refuses_what_set_cannot_mean(stopped, tmp_path, is_there):
    """And leaves nothing behind, but a directory that was there."""
    for sets, status, said in SETS:
        where = tmp_path / "i"
        if is_there:
            where.mkdir(exist_ok=True)
        p = init(stopped, where, *sets)
        assert (p.returncode, p.stdout) == (status, ""), (sets, p.stderr)
        assert f"postern: {said}" in p.stderr, (sets, p.stderr)
        assert os.listdir(tmp_path) == (["i"] if is_there else []), sets
        assert not is_there or not os.listdir(where), sets


def init(stopped, where, *sets):
    """With the ports of an instance that does not run."""
    return subprocess.run(
        [os.path.join(BIN, "postern"), "init", str(where), "--port-base",
         str(stopped.port("smtp") - 25), *(word for item in sets
                              for word in ("--set", item))],
        capture_output=True, text=True, check=False, timeout=60)


def test_init_takes_names_that_a_site_makes(stopped, tmp_path):
    sets = ["smtpd_restriction_classes=mine", "mine=permit_mynetworks, reject",
            "our_net=127.0.0.0/8", "mynetworks=$our_net",
            "slow_destination_concurrency_limit=2", "biff=yes"]
    p = init(stopped, tmp_path / "i", *sets)
    assert p.returncode == 0, p.stderr
    assert p.stderr.startswith("postern: warning: --set biff=yes: biff is not "
                               "supported and has no effect (")
    with open(tmp_path / "i/etc/main.cf", encoding="utf-8") as f:
        text = f.read()
    for item in sets:
        assert "\n{} = {}\n".format(*item.split("=")) in text


def set_values(instance, *lines):
    """Lines of main.cf in the place of those for the same parameters; the
    number of the first."""
    names = tuple(line.split(" = ")[0] + " = " for line in lines)
    with open(path(instance, "main.cf"), encoding="utf-8") as f:
        kept = [line for line in f if not line.startswith(names)]
    with open(path(instance, "main.cf"), "w", encoding="utf-8") as f:
        f.writelines(kept)
        f.writelines(line + "\n" for line in lines)
    return len(kept) + 1


def test_check_reports_the_mistakes_of_every_layer(stopped):
    """A value that is none, values that do not go together, and what is
    wrong in the world outside, also where mydestination has no value."""
    rows = [
        ("hopcount_limit = many", "error: hopcount_limit = many: "),
        ("myhostname = no host", 'error: myhostname: "no host" is no host '
         "name ("),
        ("minimal_backoff_time = 2h", "error: minimal_backoff_time (7200) "
         "must not be above maximal_backoff_time (4000)"),
        ("mydestination = ${mail_name?{a", "error: mydestination: "),
        ("relay_domains = lost:/x", "error: relay_domains: lost:/x: the "
         "table type lost is not there"),
        ("transport_maps = texthash:/nonexistent/t", "error: transport_maps: "
         "/nonexistent/t: No such file or directory"),
        ("relayhost = [a", "error: relayhost: [a: "),
        ("local_transport = away:", "error: local_transport: the transport "
         "away is no service of master.cf ("),
        ("smtpd_tls_cert_file = /nonexistent/c", "error: "
         "smtpd_tls_cert_file: /nonexistent/c: No such file or directory"),
        ("queue_directory = /nonexistent/above/q", "error: queue_directory: "
         "/nonexistent/above/q cannot be made (make the directory above it)"),
        ("default_privs = root", "error: default_privs: root is root ("),
    ]
    first = set_values(stopped, *(row[0] for row in rows))
    p = stopped.command("postern", "check")
    for i, (line, want) in enumerate(rows):
        at = f"{stopped.etc}/main.cf:{first + i}: {want}"
        assert at in p.stderr, (line, p.stderr)
    assert p.returncode == 1


def test_check_tells_what_is_not_on_this_host(stopped):
    """RFC 5737 3, RFC 3849: nobody has these addresses. What check and start
    say is the same."""
    first = set_values(
        stopped, "inet_interfaces = 127.0.0.1, 198.51.100.77, [2001:db8::1]",
        f"virtual_mailbox_base = {stopped.dir}/nowhere")
    append(stopped, "master.cf", "203.0.113.77:2525 inet n - - - - smtpd\n")
    with open(path(stopped, "master.cf"), encoding="utf-8") as f:
        last = len(f.readlines())
    want = [
        f"main.cf:{first}: error: inet_interfaces: no interface of this host "
        "has the address 198.51.100.77 (write one that it has, all or "
        "loopback-only)",
        f"main.cf:{first}: error: inet_interfaces: no interface of this host "
        "has the address [2001:db8::1] (write one that it has, all or "
        "loopback-only)",
        f"master.cf:{last}: error: no interface of this host has the address "
        "203.0.113.77 (write one that it has, or the port alone)",
        f"main.cf:{first + 1}: error: virtual_mailbox_base: {stopped.dir}"
        "/nowhere: No such file or directory (make it, owned by the user who "
        "owns the mail)",
    ]
    for verb in ("check", "start"):
        p = stopped.command("postern", verb)
        assert p.returncode == 1
        said = [line.removeprefix(stopped.etc + "/")
                for line in p.stderr.splitlines() if ": error: " in line]
        assert said == want, verb
