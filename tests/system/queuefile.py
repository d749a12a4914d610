"""Queue files as lib/queue/format.h describes them, for tests that damage
them: made here, octet for octet, with right sums or wrong ones.
"""
import struct

HEADER = 1024


def _table():
    out = []
    for i in range(256):
        for _ in range(8):
            i = i >> 1 ^ (0x82f63b78 if i & 1 else 0)
        out.append(i)
    return out


TABLE = _table()


def crc32c(crc, data):
    crc ^= 0xffffffff
    for octet in data:
        crc = crc >> 8 ^ TABLE[(crc ^ octet) & 255]
    return crc ^ 0xffffffff


def _string(data):
    return struct.pack("<I", len(data)) + data


def recipient(address, transport=b"virtual", nexthop=b"our.test"):
    value = b"".join(_string(x) for x in (address, b"", b"", transport,
                                          nexthop)) + bytes(4)
    return b"R" + _string(value)


def envelope(rcpts, size, sender=b"sender@elsewhere.test", arrival=0):
    def number(tag, value):
        return tag + struct.pack("<IQ", 8, value)

    def text(tag, value):
        return tag + _string(value)
    return (number(b"T", arrival) + number(b"Z", size) + number(b"F", 0) +
            text(b"S", sender) + text(b"n", b"") + text(b"a", b"") +
            number(b"p", 0) + text(b"h", b"") + text(b"x", b"ESMTP") +
            text(b"l", b"") + text(b"m", b"") + text(b"e", b"") +
            number(b"r", 0) + text(b"o", b"") + b"".join(rcpts))


class QueueFile:
    """header, envelope, content in this order; octets() with right sums."""

    def __init__(self, number, rcpts, content, arrival, **kw):
        self.number = number
        self.content = content
        self.envelope = envelope(rcpts, len(content), arrival=arrival, **kw)
        at = HEADER + len(self.envelope)
        self.extents = [(at, len(content))]
        self.log_offset = at + len(content)

    def header(self, sum1, sum2):
        h = struct.pack("<8sIIQQIIQQII", b"PosternQ", 1, len(self.extents),
                        self.number, HEADER, len(self.envelope), 0,
                        len(self.content), self.log_offset, sum1, sum2)
        return (h + b"".join(struct.pack("<QQ", *e)
                             for e in self.extents)).ljust(HEADER, b"\0")

    def octets(self):
        sum1 = crc32c(crc32c(0, self.header(0, 0)), self.envelope)
        sum2 = crc32c(crc32c(0, struct.pack("<QI", self.number, sum1)),
                      self.content)
        return self.header(sum1, sum2) + self.envelope + self.content


def log_record(number, rcpt, what, when, right=True):
    """One record of the delivery log (lib/queue/log.h)."""
    body = struct.pack("<IIQ", rcpt, what, when) + b"".join(
        struct.pack("<H", len(x)) + x for x in (b"2.0.0", b"", b"x", b""))
    total = crc32c(crc32c(0, struct.pack("<Q", number)), body)
    return struct.pack("<II", len(body) + 8, total ^ (not right)) + body
