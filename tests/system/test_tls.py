"""The certificates of servers: which files they come from, which one a client
is shown, and that no key is where the network is."""
import contextlib
import glob
import os
import poplib
import re
import smtplib
import socket
import ssl
import subprocess

import pytest

from conftest import wait_until

CHAIN, CERT, KEY = ("smtpd_tls_chain_files", "smtpd_tls_cert_file",
                    "smtpd_tls_key_file")
SUITES = {"rsa": "ECDHE-RSA-AES128-GCM-SHA256",
          "ec": "ECDHE-ECDSA-AES128-GCM-SHA256"}
SERVICES = ("smtp", "submission", "imap", "imaps", "pop3", "pop3s")


def make_pair(directory, name, algorithm):
    """A key and a certificate that is its own authority, both as text."""
    key, cert = (os.path.join(directory, f"{name}.{x}") for x in
                 ("key", "crt"))
    options = {"rsa": ["-newkey", "rsa:2048"],
               "ec": ["-newkey", "ec", "-pkeyopt",
                      "ec_paramgen_curve:P-256"]}[algorithm]
    subprocess.run(["openssl", "req", "-x509", "-nodes", *options, "-keyout",
                    key, "-out", cert, "-days", "2", "-subj",
                    f"/CN={name}", "-addext",
                    "subjectAltName=DNS:localhost"], check=True,
                   stdin=subprocess.DEVNULL, capture_output=True)
    with open(key, encoding="ascii") as k, open(cert, encoding="ascii") as c:
        return k.read(), c.read()


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    directory = str(tmp_path_factory.mktemp("pairs"))
    return {name: make_pair(directory, name, name.rstrip("2"))
            for name in ("rsa", "ec", "rsa2", "ec2")}


def write(inst, name, *texts):
    """A file beside the instance's own key, for its master's eyes."""
    file = os.path.join(inst.dir, "keys", name)
    with open(file, "w", encoding="ascii") as f:
        f.write("".join(texts))
    os.chmod(file, 0o600)
    return file


def set_main(inst, **values):
    """The parameters and no others of the three."""
    file = os.path.join(inst.etc, "main.cf")
    with open(file, encoding="utf-8") as f:
        lines = [line for line in f if not line.startswith((CHAIN, CERT, KEY))]
    with open(file, "w", encoding="utf-8") as f:
        f.writelines(lines)
        f.writelines(f"{name} = {value}\n" for name, value in values.items())


def shown(inst, service, suite=None):
    """The certificate that a client is shown, as PEM; suite: the only one
    that it takes."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if suite is not None:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers(SUITES[suite])
    port = inst.port(service)
    if service in ("smtp", "submission"):
        with smtplib.SMTP("127.0.0.1", port, timeout=60) as s:
            s.starttls(context=context)
            der = s.sock.getpeercert(True)
    elif service == "pop3":
        p = poplib.POP3("127.0.0.1", port, timeout=60)
        p.stls(context=context)
        der = p.sock.getpeercert(True)
        p.quit()
    else:
        with socket.create_connection(("127.0.0.1", port), timeout=60) as s:
            if service == "imap":
                s.recv(1000)
                s.sendall(b"a STARTTLS\r\n")
                assert s.recv(1000).startswith(b"a OK")
            with context.wrap_socket(s) as t:
                der = t.getpeercert(True)
    return ssl.DER_cert_to_PEM_cert(der)


def await_shown(inst, pair):
    """A reload's old processes take the last ones that came before it."""
    def is_shown():
        try:
            return shown(inst, service) == pair[1]
        except (smtplib.SMTPException, OSError):
            return False    # one that had no certificate, or just went

    for service in SERVICES:
        wait_until(is_shown, what=f"the certificate of {service}")


@pytest.mark.parametrize("files", ["two", "one", "four"])
def test_chain_files_have_a_certificate_for_each_client(new_instance, pairs,
                                                        files):
    """As Postfix documents it: each key with the certificates behind it, in
    one file or several, in front of the older parameters."""
    inst = new_instance(users=["anna"], start=False)
    rsa, ec = "".join(pairs["rsa"]), "".join(pairs["ec"])
    if files == "two":
        value = (write(inst, "rsa.pem", rsa) + ", " +
                 write(inst, "ec.pem", ec))
    elif files == "four":
        value = " ".join(write(inst, f"{name}{i}.pem", text)
                         for name in SUITES
                         for i, text in enumerate(pairs[name]))
    else:
        value = write(inst, "both.pem", rsa, ec)
    other = write(inst, "other.pem", *pairs["rsa2"])
    set_main(inst, **{CHAIN: value, CERT: other})
    inst.start()
    for service in SERVICES:
        for name in SUITES:
            assert shown(inst, service, name) == pairs[name][1], (service,
                                                                  name)
        assert shown(inst, service) == pairs["ec"][1], service
    assert "warning" not in inst.log(), inst.log()


def test_empty_chain_files_mean_the_older_parameters(new_instance, pairs):
    inst = new_instance(users=["anna"], start=False)
    set_main(inst, **{CHAIN: "", CERT: write(inst, "c.pem", pairs["rsa"][1]),
                      KEY: write(inst, "k.pem", pairs["rsa"][0])})
    inst.start()
    for service in SERVICES:
        assert shown(inst, service) == pairs["rsa"][1], service


def test_chain_files_that_are_not_there_bring_no_older_ones(new_instance,
                                                            pairs):
    inst = new_instance(users=["anna"], start=False)
    missing = os.path.join(inst.dir, "keys", "missing.pem")
    set_main(inst, **{CHAIN: missing,
                      CERT: write(inst, "other.pem", *pairs["rsa"])})
    inst.start()
    with inst.smtp() as s:
        s.ehlo()
        assert not s.has_extn("starttls")
    inst.wait_log(f"{CHAIN} {re.escape(missing)}: No such file")
    inst.stop()
    set_main(inst, **{CHAIN: missing + " " +
                      write(inst, "there.pem", *pairs["ec"])})
    inst.start()
    for service in SERVICES:
        assert shown(inst, service) == pairs["ec"][1], service


def test_a_reload_brings_renewed_certificates(new_instance, pairs):
    inst = new_instance(users=["anna"], start=False)
    file = write(inst, "chain.pem", *pairs["ec"])
    set_main(inst, **{CHAIN: file})
    inst.start()
    assert shown(inst, "imaps") == pairs["ec"][1]
    write(inst, "chain.pem", *pairs["ec2"])
    assert inst.command("postern", "reload").returncode == 0
    await_shown(inst, pairs["ec2"])


def test_a_service_may_have_certificates_of_its_own(new_instance, pairs):
    """-o in master.cf, for the older parameters and the newer one."""
    inst = new_instance(users=["anna"], start=False)
    set_main(inst, **{CERT: write(inst, "main.pem", *pairs["rsa"])})
    own = {"submission": (CERT, "rsa2"), "imaps": (CHAIN, "ec"),
           "pop3s": (CHAIN, "ec2")}
    file = os.path.join(inst.etc, "master.cf")
    with open(file, encoding="utf-8") as f:
        text = f.read()
    for service, (param, name) in own.items():
        line = re.search(rf"^{inst.port(service)} .*$", text, re.M)[0]
        value = write(inst, f"{service}.pem", *pairs[name])
        text = text.replace(line, f"{line}\n    -o {param}={value}")
    with open(file, "w", encoding="utf-8") as f:
        f.write(text)
    inst.start()
    for service in SERVICES:
        name = own.get(service, (None, "rsa"))[1]
        assert shown(inst, service) == pairs[name][1], service


@pytest.mark.skipif(os.geteuid() != 0, reason="looks into other processes")
@pytest.mark.parametrize("param", [CERT, CHAIN])
def test_no_key_is_where_the_network_is(new_instance, pairs, param):
    """A file may hold a certificate and its key: smtpd and login have no
    descriptor of it, only keys read it."""
    inst = new_instance(users=["anna"], start=False)
    set_main(inst, **{param: write(inst, "both.pem", *pairs["ec"])})
    inst.start()
    for service in SERVICES:
        assert shown(inst, service) == pairs["ec"][1]
    for program in ("smtpd", "login"):
        assert inst.pids(program)
        for pid in inst.pids(program):
            for link in glob.glob(f"/proc/{pid}/fd/*"):
                with contextlib.suppress(FileNotFoundError):    # closed since
                    assert not os.readlink(link).endswith(".pem"), program
