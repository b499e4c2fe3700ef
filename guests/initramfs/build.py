#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Builds the Linux guest's initramfs: a statically linked busybox, a link for each of its applets,
our marks likewise, and the init beside this script. The same programs give the same archive, byte
for byte.

usage: build.py OUTPUT BUSYBOX [MARKS]
"""
import gzip
import os
import pathlib
import stat
import subprocess
import sys

FOLDERS = ("bin", "dev", "proc", "sys", "tmp")
MARKS = ("switchmark", "forkmark", "faultmark", "bootmark")


def record(number, name, mode, data=b""):
    """One file of a cpio archive in the "newc" format [Linux Documentation, initramfs buffer]."""
    encoded = name.encode() + b"\0"
    fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(encoded), 0)
    head = b"070701" + b"".join(b"%08x" % field for field in fields) + encoded
    return pad(head) + pad(data)


def pad(data):
    return data + bytes(-len(data) % 4)


def program(path, name, applets):
    """A program with several names, as files of the archive."""
    yield f"bin/{name}", stat.S_IFREG | 0o755, pathlib.Path(path).read_bytes()
    for applet in applets:
        if applet != name:
            yield f"bin/{applet}", stat.S_IFLNK | 0o777, name.encode()


def shell(busybox):
    """Busybox under the names of all its applets."""
    listing = subprocess.run([busybox, "--list"], check=True, capture_output=True, text=True)
    return program(busybox, "busybox", listing.stdout.split())


def archive(busybox, marks):
    """The archive's bytes, not yet packed."""
    init = pathlib.Path(__file__).with_name("init").read_bytes()
    files = [(name, stat.S_IFDIR | 0o755, b"") for name in FOLDERS]
    files += [("init", stat.S_IFREG | 0o755, init), *shell(busybox)]
    if marks:
        files += program(marks, "marks", MARKS)
    records = [record(i, *file) for i, file in enumerate(files, 1)]
    return b"".join(records) + record(0, "TRAILER!!!", 0)


def main(arguments):
    if len(arguments) not in (2, 3):
        sys.exit(__doc__)
    output, busybox, *marks = arguments
    if not os.access(busybox, os.X_OK):
        sys.exit(f"build.py: no busybox at {busybox} (package busybox-static)")
    data = gzip.compress(archive(busybox, *(marks or [None])), mtime=0)
    pathlib.Path(output).write_bytes(data)


if __name__ == "__main__":
    main(sys.argv[1:])
