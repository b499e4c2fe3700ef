#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Builds the Linux guest's initramfs: a statically linked busybox, a link for each of its applets,
and the init beside this script. The same busybox gives the same archive, byte for byte.

usage: build.py BUSYBOX OUTPUT
"""
import gzip
import os
import pathlib
import stat
import subprocess
import sys

FOLDERS = ("bin", "dev", "proc", "sys", "tmp")


def record(number, name, mode, data=b""):
    """One file of a cpio archive in the "newc" format [Linux Documentation, initramfs buffer]."""
    encoded = name.encode() + b"\0"
    fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(encoded), 0)
    head = b"070701" + b"".join(b"%08x" % field for field in fields) + encoded
    return pad(head) + pad(data)


def pad(data):
    return data + bytes(-len(data) % 4)


def archive(busybox):
    """The archive's bytes, not yet packed."""
    listing = subprocess.run([busybox, "--list"], check=True, capture_output=True, text=True)
    init = pathlib.Path(__file__).with_name("init").read_bytes()
    files = [(name, stat.S_IFDIR | 0o755, b"") for name in FOLDERS]
    files += [("init", stat.S_IFREG | 0o755, init),
              ("bin/busybox", stat.S_IFREG | 0o755, pathlib.Path(busybox).read_bytes())]
    files += [(f"bin/{applet}", stat.S_IFLNK | 0o777, b"busybox")
              for applet in listing.stdout.split() if applet != "busybox"]
    records = [record(i, *file) for i, file in enumerate(files, 1)]
    return b"".join(records) + record(0, "TRAILER!!!", 0)


def main(arguments):
    if len(arguments) != 2:
        sys.exit(__doc__)
    busybox, output = arguments
    if not os.access(busybox, os.X_OK):
        sys.exit(f"build.py: no busybox at {busybox} (package busybox-static)")
    data = gzip.compress(archive(busybox), mtime=0)
    pathlib.Path(output).write_bytes(data)


if __name__ == "__main__":
    main(sys.argv[1:])
