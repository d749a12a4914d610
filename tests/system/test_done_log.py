"""The log of results (lib/queue/done.h) under the walls of qmgr."""
import os
import struct

from conftest import wait_until

RECORD = 32


def crc32c(data):
    """RFC 3720 12.1"""
    crc = 0xffffffff
    for octet in data:
        crc ^= octet
        for _ in range(8):
            crc = crc >> 1 ^ (0x82f63b78 if crc & 1 else 0)
    return crc ^ 0xffffffff


def record(generation, queue_id=0):
    body = struct.pack("<IQIIq", generation, queue_id, 0, 0, 0)
    return struct.pack("<I", crc32c(body)) + body


def test_it_grows_when_results_of_unfinished_mail_fill_it(new_instance):
    users = ["anna", "bob", "carol", "dave", "eve"]
    inst = new_instance(users=users, start=False)
    path = os.path.join(inst.values["spool"], "done") \
        if "spool" in inst.values else os.path.join(inst.dir, "spool/done")
    if not os.path.isdir(os.path.dirname(path)):
        inst.start()        # the spool is made
        inst.stop()
    # Two areas of four records: two results of a message are too many.
    with open(path, "wb") as f:
        f.write(record(1).ljust(2 * 4 * RECORD, b"\0"))
    inst.start()
    for _ in range(5):
        inst.send(users)
    for user in users:
        inst.wait_messages(user, 5)
    wait_until(lambda: os.path.getsize(path) > 2 * 4 * RECORD,
               what="the larger log")
    # (it may just grow again)
    wait_until(lambda: not os.path.exists(path + ".new"),
               what="the end of the new one's own name")
    assert "fatal:" not in inst.log()
    # It is read again by the next one.
    inst.kill("qmgr")
    inst.send(users)
    for user in users:
        inst.wait_messages(user, 6)
