#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Runs the guest that writes to its page tables in every way (guests/store): what holds bare must
hold under shadow paging, and its odd stores must have been single-stepped. The same for the guest
of hardware tasks (guests/task), in Bochs, since QEMU 7.2 does not intercept task switches.

usage: store_test.py RHIZOME STORE_ELF TASK_ELF
"""
import json
import os
import re
import shutil
import sys
import tempfile

from running import LIMIT, check, finish, rhizome, skip

RHIZOME, STORE, TASK = (os.path.abspath(a) for a in sys.argv[1:4])


def run(guest, *arguments):
    """Runs the guest; returns (exit status, what was said)."""
    status, out, err = rhizome(RHIZOME, "run", "--multiboot", guest, "--timeout", str(LIMIT),
                               *arguments)
    return status, out + err


def store():
    status, said = run(STORE, "--bare")
    ended = re.search(r"(\d+) passed, 0 failed", said)
    check(status == 1 and ended and int(ended[1]) > 120, "bare", f"{status}\n{said}")
    for options in [["--", "-cpu", "max"], ["--", "-cpu", "max,la57=off"],
                    ["--no-unsync"], ["--no-large-pages"], ["--no-prefetch", "--no-tags"]]:
        with tempfile.NamedTemporaryFile() as file:
            status, said = run(STORE, "--paging", "shadow", "--stats", file.name, *options)
            stats = json.loads(file.read() or b"{}")
        check(status == 1 and ended and ended[0] in said, f"shadow paging, {options}",
              f"{status}\n{said}")
        check(stats.get("stores_emulated", 0) > 150 and stats.get("stores_stepped", 0) > 400,
              f"both ways were taken, {options}", str(stats))
        check(stats.get("mmu_flooded", 0) > 5, f"floods were noticed, {options}", str(stats))


def check_tasks(what, status, said):
    # bare, Bochs has no isa-debug-exit
    check(status in (0, 1) and re.search(r"^[4-9]\d passed, 0 failed", said, re.M), what,
          f"{status}\n{said}")


def tasks_in_qemu():
    check_tasks("tasks, bare", *run(TASK, "--bare"))
    check_tasks("tasks, nested paging", *run(TASK))
    status, said = run(TASK, "--paging", "shadow")
    check(status == 70 and "a task switch that this processor cannot intercept" in said,
          "a task switch without its exit ends the guest", f"{status}\n{said}")


def tasks_in_bochs():
    """Without INT n: Bochs 2.7 does not tell which event its exit interrupted."""
    for options in ["--bare"], ["--paging", "nested"], ["--paging", "shadow"]:
        check_tasks(f"tasks in Bochs, {options}",
                    *run(TASK, "--machine", "bochs", "--append", "-", *options))


if shutil.which("qemu-system-x86_64"):
    store()
    tasks_in_qemu()
else:
    skip("no QEMU (package qemu-system-x86)")
if shutil.which("bochs"):
    tasks_in_bochs()
else:
    skip("no Bochs (packages bochs, bochs-term)")
finish()
