"""Reads a recording as docs/recording-format.md has it, with Python's standard library alone.

Prints what `postern export --format json` does. Python 3.11 has neither zstd, AES nor Ed25519: what is compressed or encrypted it
does not read, and seals it takes as they are; read_recording.ts beside this file does all that.
"""

import base64
import hashlib
import json
import struct
import sys

MAGIC = b"postern recording 1\n"
HEADER, DATA, SEAL, TRAILER = 1, 2, 3, 4


def demand(condition, what):
    if not condition:
        sys.exit(what)


def blocks(file):
    """Kind and payload of each block, in a chain that holds."""
    demand(file.read(20) == MAGIC, "this is no recording")
    link = hashlib.sha256(MAGIC).digest()
    number = 1
    over = False
    while head := file.read(6):
        demand(len(head) == 6, "the recording is cut")
        kind, flags, length = struct.unpack(">BBI", head)
        demand(kind in (HEADER, DATA, SEAL, TRAILER) and length <= 1_048_576, f"block {number} is none")
        demand((kind == HEADER) == (number == 1), f"block {number} is out of order")
        demand(not over or kind == SEAL, f"block {number} stands behind the end")
        payload = file.read(length)
        link = hashlib.sha256(link + head + payload).digest()
        demand(file.read(32) == link, f"block {number} is not what was written")
        demand(flags == 0, f"block {number} is compressed or encrypted")
        yield kind, payload
        over = over or kind == TRAILER
        number += 1
    demand(over, "the recording has no end")


def varint(payload, at):
    value = shift = 0
    while True:
        byte = payload[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def chunks(payload):
    at = 0
    while at < len(payload):
        since, at = varint(payload, at)
        tag, at = varint(payload, at)
        length, at = varint(payload, at)
        yield since, tag >> 3, tag & 7, payload[at : at + length]
        at += length


def events(file):
    time_us = 0
    names = {}
    for block, payload in blocks(file):
        if block == HEADER:
            yield {"type": "header", "header": json.loads(payload)}
        if block == TRAILER:
            yield {"type": "trailer", "trailer": json.loads(payload)}
        if block != DATA:
            continue
        for since, stream, kind, data in chunks(payload):
            time_us += since
            if kind == 0:
                names[stream] = json.loads(data)["stream"]
            event = {"atUs": time_us, "stream": stream, "name": names[stream]}
            if kind == 0:
                event |= {"type": "opened"}
            elif kind == 7:
                event |= {"type": "ended", "totals": json.loads(data)}
            else:
                event |= {"direction": "in" if kind % 2 else "out"}
            if kind in (1, 2):
                event |= {"type": "data", "bytes": base64.b64encode(data).decode()}
            if kind in (3, 4):
                event |= {"type": "half_closed"}
            if kind in (5, 6):
                event |= {"type": "reset", "status": int(data)}
            yield event


with open(sys.argv[1], "rb") as recording:
    for each in events(recording):
        print(json.dumps(each))
