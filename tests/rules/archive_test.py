#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Rules about the freestanding archive, read from its symbols.

usage: archive_test.py librhizome-freestanding.a
"""
import os
import subprocess
import sys
import tempfile

import checks

ARCHIVE = sys.argv[1]
WANTED = {"memcpy", "memset", "memmove", "memcmp"}


def symbols(*options):
    """(kind, name) of the symbols that `nm` lists in the whole archive linked into one object."""
    with tempfile.TemporaryDirectory() as folder:
        whole = os.path.join(folder, "whole.o")
        subprocess.run(["ld", "-r", "-o", whole, "--whole-archive", ARCHIVE], check=True)
        listing = subprocess.run(["nm", "-P", *options, whole], check=True,
                                 capture_output=True, text=True).stdout
    return [(line.split()[1], line.split()[0]) for line in listing.splitlines()]


def needs():
    """The archive needs nothing from outside but memcpy, memset, memmove and memcmp."""
    yield from (name for _, name in symbols("-u") if name not in WANTED)


def names():
    """Every external symbol begins with rhz_."""
    yield from (name for _, name in symbols("-g", "--defined-only") if not name.startswith("rhz_"))


def globals_():
    """Nothing in the archive can be written: no symbol in .data, .bss or common."""
    yield from (f"{kind} {name}" for kind, name in symbols("--defined-only") if kind in "dDbBsSgGC")


def not_empty():
    """The archive defines functions (else the checks above say nothing)."""
    if not any(kind == "T" for kind, _ in symbols("--defined-only")):
        yield ARCHIVE


if __name__ == "__main__":
    checks.run([needs, names, globals_, not_empty])
