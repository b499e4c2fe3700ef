# SPDX-License-Identifier: MIT
"""Reads the compact trace as docs/formats.md describes it; shares nothing with lab/compact.c."""
import collections
import zlib

KINDS = {1: "request", 2: "nested_enter", 3: "nested_exit", 4: "cr3_write", 5: "mmu_load",
         6: "sync_roots", 7: "free_roots", 8: "two_dimensional", 9: "exit", 10: "entry",
         11: "page_new", 12: "page_found", 13: "page_zap", 14: "invalidate", 15: "root_gone",
         16: "flush"}
Event = collections.namedtuple("Event", "kind task vm vcpu time values")


class Trace:
    """facts, ticks (in a second), events, lost (events), whole (the end's mark was there)."""

    def __init__(self, path):
        with open(path, "rb") as file:
            data = file.read()
        if data[:8] != b"rhztrace" or data[8:12] != b"\1\0\0\0":
            raise ValueError(f"{path} is no compact trace of version 1")
        self.facts, self.events, self.threads = {}, [], []
        self.lost, self.whole, at, first = 0, False, 12, True
        while at < len(data):
            length, checksum = (int.from_bytes(data[at + i:at + i + 4], "little") for i in (0, 4))
            if length == 0:
                self.whole = data[at + 4:at + 8] == b"!END" and at + 8 == len(data)
                break
            block = data[at + 8:at + 8 + length]
            if zlib.crc32(block) != checksum:
                raise ValueError(f"{path}: the block at {at} is damaged")
            (self.heading if first else self.block)(block)
            first, at = False, at + 8 + length

    def heading(self, block):
        self.ticks, at = varint(block, 0)
        count, at = varint(block, at)
        for _ in range(count):
            length, at = varint(block, at)
            key, value = block[at:at + length].decode().split("=", 1)
            self.facts[key], at = value, at + length

    def block(self, block):
        at = time = 0
        while at < len(block):
            kind, count = block[at] & 31, block[at] >> 5
            at += 1
            thread = None
            if 1 <= kind <= 30:
                thread, at = varint(block, at)
                delta, at = varint(block, at)
                time += (delta >> 1) ^ -(delta & 1)
            values = []
            for _ in range(count):
                value, at = varint(block, at)
                values.append(value)
            if kind == 0:
                task, vm, vcpu = values + [0] * (3 - count)
                self.threads.append((task, vm, vcpu - 1))
            elif kind == 31:
                self.lost += values[0] if values else 1
            else:
                self.events.append(Event(KINDS[kind], *self.threads[thread], time,
                                         values + [0] * (4 - count)))

    def counts(self):
        return collections.Counter(event.kind for event in self.events)


def varint(data, at):
    value = shift = 0
    while True:
        value |= (data[at] & 0x7f) << shift
        shift, at = shift + 7, at + 1
        if not data[at - 1] & 0x80:
            return value, at
