"""From connect to login: IMAP and POP3, TLS, limits, hand-over."""
import base64
import contextlib
import os
import re
import socket
import ssl
import subprocess
import time

import pytest

from conftest import PASSWORD, wait_until


def plain(user, password=PASSWORD, authzid=""):
    return base64.b64encode(
        f"{authzid}\0{user}\0{password}".encode()).decode()


class Wire:
    """A client that sends what no library would."""

    def __init__(self, inst, name, tls=None):
        self.sock = socket.create_connection(("127.0.0.1", inst.port(name)),
                                             timeout=60)
        self.buf = b""
        if tls:
            self.start_tls(tls)

    def start_tls(self, context):
        self.sock = context.wrap_socket(self.sock,
                                        server_hostname="localhost")

    def send(self, data):
        self.sock.sendall(data if isinstance(data, bytes) else data.encode())

    def more(self):
        try:
            data = self.sock.recv(65536)
        except (ConnectionError, ssl.SSLError):
            data = b""
        self.buf += data
        return bool(data)

    def line(self):
        while b"\r\n" not in self.buf:
            if not self.more():
                raise EOFError(self.buf)
        out, self.buf = self.buf.split(b"\r\n", 1)
        return out.decode()

    def rest(self):
        """Everything up to the end of the connection."""
        while self.more():
            pass
        return self.buf.decode()

    def close(self):
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()


# --- ways in ---

@pytest.mark.parametrize("way", ["plain", "starttls", "implicit"])
def test_imap_logs_in(instance, way):
    with Wire(instance, "imaps" if way == "implicit" else "imap",
              instance.tls() if way == "implicit" else None) as w:
        greeting = w.line()
        assert greeting.startswith("* OK [CAPABILITY IMAP4rev1")
        assert ("STARTTLS" in greeting) == (way != "implicit")
        if way == "starttls":
            w.send("a STARTTLS\r\n")
            assert w.line().startswith("a OK")
            w.start_tls(instance.tls())
            w.send("b CAPABILITY\r\n")
            said = w.line()
            assert "AUTH=PLAIN" in said and "STARTTLS" not in said
            assert "LOGINDISABLED" not in said
            assert w.line().startswith("b OK")
            w.send("c STARTTLS\r\n")
            assert w.line().startswith("c BAD")
        w.send(f'd LOGIN {instance.address("anna")} "{PASSWORD}"\r\n')
        assert w.line().startswith("d OK [CAPABILITY IMAP4rev1")
        w.send("e LOGOUT\r\n")
        assert re.search(r"^e OK", w.rest(), re.M)


@pytest.mark.parametrize("way", ["plain", "starttls", "implicit"])
def test_pop3_logs_in(instance, way):
    with Wire(instance, "pop3s" if way == "implicit" else "pop3",
              instance.tls() if way == "implicit" else None) as w:
        assert w.line().startswith("+OK") and "<" not in w.buf.decode()
        if way == "starttls":
            w.send("STLS\r\n")
            assert w.line().startswith("+OK")
            w.start_tls(instance.tls())
        w.send(f'USER {instance.address("anna")}\r\nPASS {PASSWORD}\r\n'
               "QUIT\r\n")
        lines = w.rest().splitlines()
        assert len(lines) == 3 and all(s.startswith("+OK") for s in lines)


@pytest.mark.parametrize("service", ["imap", "pop3"])
def test_mechanisms_with_and_without_an_initial_response(instance, service):
    user = instance.address("anna")
    u64 = base64.b64encode(user.encode()).decode()
    p64 = base64.b64encode(PASSWORD.encode()).decode()
    verb = "a AUTHENTICATE" if service == "imap" else "AUTH"
    good = "a OK" if service == "imap" else "+OK"
    for first, answers in ((f"PLAIN {plain(user)}", []),
                           ("plain", [plain(user)]),
                           ("LOGIN", [u64, p64]),
                           (f"LOGIN {u64}", [p64]),
                           (f"PLAIN {plain(user, authzid=user)}", [])):
        with Wire(instance, service) as w:
            w.line()
            w.send(f"{verb} {first}\r\n")
            for answer in answers:
                assert w.line().startswith("+ ")
                w.send(answer + "\r\n")
            assert w.line().startswith(good), first


def test_literals_and_what_follows_the_login_arrive(instance):
    user = instance.address("bob")
    for name, tls in (("imap", None), ("imaps", instance.tls())):
        with Wire(instance, name, tls) as w:
            w.line()
            w.send(f"a LOGIN {{{len(user)}}}\r\n")
            assert w.line().startswith("+ ")
            w.send(f"{user} {{{len(PASSWORD)}+}}\r\n{PASSWORD}\r\n"
                   "b NOOP\r\nc LOGOUT\r\n")
            said = w.rest()
            assert re.findall(r"^(\w) OK", said, re.M) == ["a", "b", "c"]


# --- what is refused ---

X = "x"
BAD_IMAP = [
    # bytes sent, what must come (whole output up to a pause or the end)
    (["a LOGIN {4294967295}\r\n"], r"^a BAD"),
    (["a LOGIN {4294967295+}\r\n"], r"^\* BYE"),
    (["a LOGIN {18446744073709551616}\r\n"], r"^a BAD"),
    (["a LOGIN {-1}\r\n"], r"^a BAD"),
    (["a LOGIN {5}x\r\n"], r"^a BAD"),
    (["a LOGIN (" + "(" * 8000 + "\r\n"], r"^a BAD"),
    (["a LOGIN " + X * 8300 + "\r\n"], r"^a BAD"),
    (["a LOGIN " + X * 100000 + "\r\n"], r"^\* BYE"),
    ([X * 200 + " NOOP\r\n"], r"^\* BAD"),
    (['a ID (' + '"k" "v" ' * 40 + ')\r\n'], r"^a BAD"),
    (["a SELECT INBOX\r\n"], r"^a BAD"),
    (["a XYZZY\r\n" * 4], r"^(a BAD .*\r\n){3}\* BYE .*\r\n$"),
    (["a AUTHENTICATE PLAIN\r\n", "*\r\n"], r"^\+ \r\na BAD"),
    (["a AUTHENTICATE PLAIN\r\n", "!\r\n"], r"^\+ \r\na BAD"),
    (["a AUTHENTICATE PLAIN " + "A" * 20000 + "\r\n"], r"^a BAD"),
    (["a AUTHENTICATE NTLM TlRMTVNTUAADAAAA\r\n"], r"^a NO"),
    (["a STARTTLS\r\nb LOGIN evil x\r\n"], r"^a BAD[^\n]*\r\n$"),
    (["\0\r\n"], r"^\* BAD"),
    (["GET / HTTP/1.1\r\nHost: evil\r\n\r\n"], r"^\* BYE (?!.*evil)"),
    (["a NOOP\r\n"], r"^a OK"),
]
BAD_POP3 = [
    (["USER " + "a" * 3000 + "\r\n"], r"^-ERR"),
    (["PASS x\r\n"], r"^-ERR"),
    (["USER a\0b\r\n"], r"^-ERR"),
    (["APOP user 00000000000000000000000000000000\r\n"], r"^-ERR"),
    (["STLS\r\nUSER evil\r\n"], r"^-ERR[^\n]*\r\n$"),
    (["AUTH PLAIN " + "A" * 20000 + "\r\n"], r"^-ERR"),
    (["X\r\n" * 4], r"^(-ERR .*\r\n){3}$"),
    (["STAT\r\n"], r"^-ERR"),
    (["NOOP\r\n"], r"^-ERR"),
    (["POST / HTTP/1.1\r\nHost: evil\r\n\r\n"], r"^-ERR (?!.*evil)"),
    (["CAPA\r\n"], r"(?s)^\+OK .*\r\nSASL PLAIN LOGIN\r\n.*\r\n\.\r\n$"),
]


def talk_badly(instance, service, sends, quit_line):
    with Wire(instance, service) as w:
        w.line()
        for data in sends:
            try:
                w.send(data)
            except ConnectionError:
                break
            if data is not sends[-1]:
                w.more()
        try:
            w.send(quit_line)
        except ConnectionError:
            pass
        said = w.rest()
        # The answer to the farewell is not what is tested.
        return re.sub(r"(\* BYE Logging out\r\nzz OK.*|\+OK Bye)\r\n$", "",
                      said)


@pytest.mark.parametrize("sends,want", BAD_IMAP)
def test_bad_imap(instance, sends, want):
    said = talk_badly(instance, "imap", sends, "zz LOGOUT\r\n") \
        if "STARTTLS" not in sends[0] and "XYZZY" not in sends[0] else \
        talk_badly(instance, "imap", sends, "")
    assert re.search(want, said), said[:300]


@pytest.mark.parametrize("sends,want", BAD_POP3)
def test_bad_pop3(instance, sends, want):
    said = talk_badly(instance, "pop3", sends,
                      "" if "STLS" in sends[0] else "QUIT\r\n")
    assert re.search(want, said), said[:300]


def test_passwords_need_tls_unless_the_network_is_listed(new_instance):
    inst = new_instance(sets=["plaintext_login_networks="])
    user = inst.address("anna")
    with Wire(inst, "imap") as w:
        assert " LOGINDISABLED" in w.line()
        w.send(f'a LOGIN {user} "{PASSWORD}"\r\n')
        assert w.line().startswith("a NO [PRIVACYREQUIRED]")
        w.send(f"b AUTHENTICATE PLAIN {plain(user)}\r\n")
        assert w.line().startswith("b NO [PRIVACYREQUIRED]")
    answers = []
    for name in ("anna", "nobody"):
        with Wire(inst, "pop3") as w:
            w.line()
            w.send(f"USER {inst.address(name)}\r\n")
            answers.append(w.line())
            w.send("CAPA\r\n.\r\n")
            capa = w.line()
            while not capa.endswith("."):
                capa += w.line()
            assert "USER" not in capa and "SASL" not in capa
            assert "STLS" in capa
    assert answers[0] == answers[1] and answers[0].startswith("-ERR")
    inst.imap("anna", tls=True).logout()
    inst.pop3("anna", tls=True).quit()


def test_failed_logins_say_the_same_and_wait_longer(new_instance):
    inst = new_instance(sets=["auth_failure_delay=1s",
                              "auth_failure_delay_limit=2s"])
    with Wire(inst, "imap") as w:
        w.line()
        said, took = [], []
        for name in ("anna", "nobody", "anna"):
            start = time.monotonic()
            w.send(f"a LOGIN {inst.address(name)} wrong\r\n")
            said.append(w.line())
            took.append(time.monotonic() - start)
        assert said[0].startswith("a NO [AUTHENTICATIONFAILED]")
        assert said[0] == said[1] == said[2]
        assert took[0] >= 1 and took[1] >= 2 and took[2] >= 2
        # the third one ends it
        assert w.line().startswith("* BYE")
        assert w.rest() == ""
    inst.wait_log(r"auth\[\d+\]: passwd-file\(anna@our.test,127.0.0.1\): "
                  "Password mismatch")
    inst.wait_log(r"passwd-file\(nobody@our.test,127.0.0.1\): unknown user")
    inst.wait_log(r"imap-login\[\d+\]: Disconnected: .*\(auth failed, "
                  r"3 attempts in \d+ secs\): user=<anna@our.test>, "
                  r"method=PLAIN, rip=127.0.0.1, lip=127.0.0.1, session=<")
    inst.imap("anna").logout()
    inst.wait_log(r"imap-login\[\d+\]: Login: user=<anna@our.test>, "
                  r"method=PLAIN, rip=127.0.0.1, lip=127.0.0.1, session=<")


def test_a_changed_password_is_in_force_at_once(new_instance):
    inst = new_instance(sets=["auth_failure_delay=0"])
    inst.imap("anna").logout()
    path = os.path.join(inst.etc, "users")
    with open(path, encoding="utf-8") as f:
        text = f.read()
    with open(path, "w", encoding="utf-8") as f:
        f.write(re.sub(r"^(anna@our.test):[^:]*:", r"\1:{PLAIN}fresh:", text,
                       flags=re.M))

    def fresh():
        with Wire(inst, "imap") as w:
            w.line()
            w.send(f'a LOGIN {inst.address("anna")} fresh\r\n')
            return w.line().startswith("a OK")

    wait_until(fresh, what="the new password")
    # The other auth process may look a second later; then never again.
    time.sleep(1.1)
    fresh()
    for _ in range(4):
        with Wire(inst, "imap") as w:
            w.line()
            w.send(f'a LOGIN {inst.address("anna")} "{PASSWORD}"\r\n')
            assert w.line().startswith("a NO")


def test_connections_of_one_address_are_limited(new_instance):
    inst = new_instance(sets=["login_client_connection_limit=2"])
    with Wire(inst, "imap") as a, Wire(inst, "imap") as b:
        assert a.line().startswith("* OK") and b.line().startswith("* OK")
        with Wire(inst, "imap") as c:
            assert c.line().startswith("* BYE [UNAVAILABLE] Too many")
            assert c.rest() == ""
        # another service counts apart
        with Wire(inst, "pop3") as d:
            assert d.line().startswith("+OK")

    def again():
        with Wire(inst, "imap") as w:
            return w.line().startswith("* OK")

    wait_until(again, what="a place that was given back")


# --- TLS ---

def handshake(inst, name, change, session=None):
    context = inst.tls()
    context.set_ciphers("ALL:@SECLEVEL=0")
    change(context)
    sock = socket.create_connection(("127.0.0.1", inst.port(name)), 60)
    with context.wrap_socket(sock, server_hostname="localhost",
                             session=session) as s:
        greeting = s.recv(100)
        return s, s.session, greeting


def test_other_protocols_and_old_versions_get_their_alert(instance):
    for ids, good in ((["h2"], False), (["http/1.1"], False),
                      (["h2", "imap"], True), (["imap"], True)):
        def offer(c, ids=ids):
            c.set_alpn_protocols(ids)

        if good:
            assert handshake(instance, "imaps", offer)[2]
        else:
            with pytest.raises(ssl.SSLError, match="(?i)no.application.protocol"):
                handshake(instance, "imaps", offer)

    def old(c):
        c.minimum_version = c.maximum_version = ssl.TLSVersion.TLSv1_1

    with pytest.warns(DeprecationWarning):
        with pytest.raises(ssl.SSLError, match="(?i)protocol.version"):
            handshake(instance, "imaps", old)


def test_versions_that_may_be_work_with_the_key_elsewhere(instance):
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        def only(c, version=version):
            c.minimum_version = c.maximum_version = version

        assert b"* OK" in handshake(instance, "imaps", only)[2]
        assert b"+OK" in handshake(instance, "pop3s", only)[2]


def test_a_ticket_is_no_use_at_another_service(instance):
    context = instance.tls()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    session = None
    for name in ("imaps", "pop3s"):
        sock = socket.create_connection(("127.0.0.1", instance.port(name)),
                                        60)
        with context.wrap_socket(sock, server_hostname="localhost",
                                 session=session) as s:
            assert s.recv(100)
            assert not s.session_reused
            session = s.session


def test_http_under_tls_is_closed_without_an_echo(instance):
    for name in ("imaps", "pop3s"):
        with Wire(instance, name, instance.tls()) as w:
            w.line()
            w.send("GET /evil HTTP/1.1\r\nHost: evil\r\n\r\n")
            assert "evil" not in w.rest()


def test_large_content_passes_the_relay_unchanged(instance):
    body = "".join(f"line {i} " + "z" * (i % 70) + "\r\n"
                   for i in range(60000))
    message = ("Subject: large\r\n\r\n" + body).encode()
    m = instance.imap("carol", tls=True)
    try:
        assert m.append("INBOX", None, None, message)[0] == "OK"
        m.select("INBOX")
        # three at a time, so that both directions are full
        found = m.fetch("1", "(BODY.PEEK[] BODY.PEEK[TEXT])")[1]
        assert found[0][1] == message
        assert found[1][1] == body.encode()
    finally:
        m.logout()
    p = instance.pop3("carol", tls=True)
    lines = p.retr(1)[1]
    assert b"\r\n".join(lines) + b"\r\n" == message
    p.quit()


@pytest.mark.skipif(os.geteuid() != 0, reason="reads other memories")
def test_the_private_key_is_in_no_other_memory(new_instance):
    inst = new_instance()
    inst.imap("anna", tls=True).logout()
    inst.submission("anna").quit()
    key = os.path.join(inst.dir, "keys", "key.pem")
    text = subprocess.run(["openssl", "pkey", "-in", key, "-noout", "-text"],
                          capture_output=True, text=True, check=True).stdout
    secret = bytes.fromhex(re.sub(r"[\s:]", "", re.search(
        r"priv:\n((?:\s+[0-9a-f:]+\n)+)", text)[1]))
    secret = secret.lstrip(b"\0")
    assert len(secret) >= 30
    # as octets, or as a big number's words
    forms = (secret, secret[::-1][:24])
    found = {}
    for program in ("keys", "login", "smtpd", "auth", "imapd", "master",
                    "limits", "launch", "log", "cleanup"):
        pids = inst.pids(program)
        assert pids, program
        found[program] = any(has_memory(pid, forms) for pid in pids)
    # The control: the search finds it where it is.
    assert found.pop("keys")
    assert not any(found.values()), found


def has_memory(pid, needles):
    """False of a process that ended."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError), \
            open(f"/proc/{pid}/maps", encoding="ascii") as maps, \
            open(f"/proc/{pid}/mem", "rb") as mem:
        for line in maps:
            span, mode = line.split()[:2]
            if "r" not in mode or "[v" in line:
                continue
            start, end = (int(x, 16) for x in span.split("-"))
            if end - start > 1 << 30:  # a sanitizer's books
                continue
            try:
                mem.seek(start)
                data = mem.read(end - start)
            except (OSError, ValueError):
                continue
            if any(n in data for n in needles):
                return True
    return False


# --- processes that end ---

@pytest.mark.parametrize("program", ["keys", "auth", "limits", "login",
                                     "imapd"])
def test_a_killed_process_is_replaced(instance, program):
    instance.imap("anna", tls=True).logout()
    assert instance.kill(program)

    def login():
        try:
            instance.imap("anna", tls=True).logout()
            return True
        except (OSError, EOFError, ssl.SSLError,
                __import__("imaplib").IMAP4.error):
            return False

    wait_until(login, what="a login after the kill")


def test_a_user_has_one_process_whoever_ordered_it(new_instance):
    inst = new_instance()
    sessions = [inst.imap("anna", tls=bool(i % 2)) for i in range(8)]
    first = inst.pids("imapd")
    assert len(first) == 1
    inst.kill("auth")
    wait_until(lambda: len(inst.pids("auth")) == 2, what="another auth")
    sessions += [inst.imap("anna") for _ in range(8)]
    assert inst.pids("imapd") == first
    inst.imap("bob").logout()
    assert len(inst.pids("imapd")) == 2
    # One that is gone is not given to anybody.
    inst.kill("imapd")
    inst.imap("anna").logout()
    inst.imap("anna", tls=True).logout()
    assert len(inst.pids("imapd")) == 1
    for s in sessions:
        s.shutdown()


def test_sessions_under_tls_live_through_a_reload(new_instance):
    inst = new_instance()
    before = inst.imap("anna", tls=True)
    plain_before = inst.imap("anna")
    old = inst.pids("login")
    assert inst.command("postern", "reload").returncode == 0

    def is_served_anew():
        """They start with their first client."""
        with Wire(inst, "imaps", inst.tls()):
            return set(inst.pids("login")) - set(old)

    wait_until(is_served_anew, what="new login processes")
    inst.imap("bob", tls=True).logout()
    assert before.noop()[0] == "OK"
    assert plain_before.noop()[0] == "OK"
    before.logout()
    plain_before.logout()
    # The old ones end when their last connection did.
    wait_until(lambda: not set(inst.pids("login")) & set(old),
               what="the end of the old login processes")


def test_a_stop_says_farewell_under_tls(new_instance):
    inst = new_instance()
    with Wire(inst, "imaps", inst.tls()) as idle, \
            Wire(inst, "imaps", inst.tls()) as w:
        idle.line()
        w.line()
        w.send(f'a LOGIN {inst.address("anna")} "{PASSWORD}"\r\n')
        assert w.line().startswith("a OK")
        assert inst.stop().returncode == 0
        assert "* BYE" in w.rest()
        assert "* BYE" in idle.rest()
