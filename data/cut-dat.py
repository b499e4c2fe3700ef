#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Cuts a trace.dat of version 6 down: without the kernel's symbols, with the wanted systems' event
formats alone, and with the first pages of each processor's buffer.

usage: cut-dat.py IN OUT PAGES SYSTEM...
"""
import struct
import sys


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, count):
        self.at += count
        return self.data[self.at - count:self.at]

    def number(self, form):
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def text(self):
        end = self.data.index(b"\0", self.at)
        return self.take(end + 1 - self.at)

    def sized(self, form):
        """What a size of that form announces, with the size."""
        size = self.number(form)
        return struct.pack(form, size) + self.take(size)


def cut(data, pages, wanted):
    r = Reader(data)
    out = r.take(10) + r.text() + r.take(2)
    if not out.startswith(b"\x17\x08\x44tracing6\0\0"):
        sys.exit("cut-dat.py: no trace.dat of version 6 with little-endian numbers")
    page = r.number("<I")
    out += struct.pack("<I", page)
    for _ in ("header_page", "header_event"):
        out += r.text() + r.sized("<Q")
    count = r.number("<I")
    out += struct.pack("<I", count) + b"".join(r.sized("<Q") for _ in range(count))
    systems = []
    for _ in range(r.number("<I")):
        name, count = r.text(), r.number("<I")
        formats = b"".join(r.sized("<Q") for _ in range(count))
        if name[:-1].decode() in wanted:
            systems.append(name + struct.pack("<I", count) + formats)
    out += struct.pack("<I", len(systems)) + b"".join(systems)
    r.sized("<I")  # symbols
    r.sized("<I")  # formats of trace_printk
    out += struct.pack("<II", 0, 0) + r.sized("<Q")  # threads' names
    cpus = r.number("<I")
    out += struct.pack("<I", cpus)
    while True:
        kind = r.take(10)
        out += kind
        if kind != b"options  \0":
            break
        while True:
            option = r.take(2)
            out += option
            if option == b"\0\0":
                break
            out += r.sized("<I")
    buffers = [(r.number("<Q"), r.number("<Q")) for _ in range(cpus)]
    at = (len(out) + 16 * cpus + page - 1) // page * page
    body = b""
    for offset, size in buffers:
        size = min(size, pages * page)
        out += struct.pack("<QQ", at + len(body), size)
        body += data[offset:offset + size]
    return out.ljust(at, b"\0") + body


def main(source, target, pages, *wanted):
    with open(source, "rb") as file:
        data = file.read()
    with open(target, "wb") as file:
        file.write(cut(data, int(pages), wanted))


if __name__ == "__main__":
    if len(sys.argv) < 5:
        sys.exit(__doc__)
    main(*sys.argv[1:])
