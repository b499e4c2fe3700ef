#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Runs the guest that writes to its page tables in every way (guests/store): what holds bare must
hold under shadow paging, and its odd stores must have been single-stepped.

usage: store_test.py RHIZOME STORE_ELF
"""
import json
import os
import re
import shutil
import sys
import tempfile

from running import LIMIT, check, finish, rhizome, skip

RHIZOME, STORE = (os.path.abspath(a) for a in sys.argv[1:3])


def run(*arguments):
    """Runs the guest; returns (exit status, what was said)."""
    status, out, err = rhizome(RHIZOME, "run", "--multiboot", STORE, "--timeout", str(LIMIT),
                               *arguments)
    return status, out + err


def store():
    status, said = run("--bare")
    ended = re.search(r"(\d+) passed, 0 failed", said)
    check(status == 1 and ended and int(ended[1]) > 120, "bare", f"{status}\n{said}")
    for options in [["--", "-cpu", "max"], ["--", "-cpu", "max,la57=off"],
                    ["--no-unsync"], ["--no-large-pages"], ["--no-prefetch", "--no-tags"]]:
        with tempfile.NamedTemporaryFile() as file:
            status, said = run("--paging", "shadow", "--stats", file.name, *options)
            stats = json.loads(file.read() or b"{}")
        check(status == 1 and ended and ended[0] in said, f"shadow paging, {options}",
              f"{status}\n{said}")
        check(stats.get("stores_emulated", 0) > 150 and stats.get("stores_stepped", 0) > 400,
              f"both ways were taken, {options}", str(stats))


if shutil.which("qemu-system-x86_64"):
    store()
else:
    skip("no QEMU (package qemu-system-x86)")
finish()
