#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Runs the torture guest (guests/torture, docs/torture.md) in each paging mode: each seed must have
the same digest on the bare machine, under nested paging, under shadow paging and in Bochs.

usage: torture_test.py RHIZOME TORTURE_32_ELF TORTURE_64_ELF [--soak [SECONDS]]

With --soak it draws fresh seeds until one fails, or for so many seconds.
"""
import os
import random
import re
import shutil
import sys
import time

from running import LIMIT, check, finish, rhizome, skip

RHIZOME, TORTURE_32, TORTURE_64 = (os.path.abspath(a) for a in sys.argv[1:4])
GUESTS = {"none": TORTURE_32, "32": TORTURE_32, "pae": TORTURE_32, "4": TORTURE_64,
          "5": TORTURE_64}
# What Bochs and QEMU's other processors lack, or do otherwise; see docs/torture.md.
COMMON = "without=pku,split"
EPYC = ["--", "-cpu", "EPYC"]
DIGEST = re.compile(r"^torture: mode \S+ seed \d+ digest [0-9a-f]+ .*$", re.M)


class Run:
    """One boot of the guest, so many seeds."""

    def __init__(self, mode, first, seeds, steps, extra=""):
        self.mode, self.seeds = mode, seeds
        self.append = f"mode={mode} seed={first} seeds={seeds} steps={steps} {extra}".strip()

    def digests(self, *options):
        """Boots with these options; the digests, after checking that there is one for each seed."""
        command = ["run", "--multiboot", GUESTS[self.mode], "--append", self.append, "--timeout",
                   str(LIMIT), *options]
        status, out, err = rhizome(RHIZOME, *command)
        found = DIGEST.findall(out)
        # a bare guest in Bochs has no way to give a status
        check(status in (0, 1) and len(found) == self.seeds and "torture: done" in out,
              f"{self.append} with {' '.join(options)}", f"{status}\n{out[-3000:]}{err[-3000:]}")
        return found

    def compare(self, *ways):
        """Every way must give the digests of the bare machine."""
        bare = self.digests("--bare")
        for options in ways:
            for one, other in zip(bare, self.digests(*options)):
                check(one == other, f"{self.append} with {' '.join(options)}",
                      f"bare:  {one}\nother: {other}")


def bochs(mode):
    """Ways through Bochs, if it is there: it has no 5-level paging."""
    return [] if mode == "5" or not shutil.which("bochs") else [["--machine", "bochs", "--bare"]]


def every_mode():
    """24 seeds a mode with all that the processor has; 12 more with what they all have."""
    for mode in GUESTS:
        Run(mode, 1, 24, 1500).compare(["--paging", "nested"], ["--paging", "shadow"])
        if mode != "5":
            ways = [["--paging", "nested", *EPYC], ["--paging", "shadow", *EPYC]]
            Run(mode, 101, 12, 800, COMMON).compare(*ways, *bochs(mode))


def every_trick():
    """Without one of the tricks, or with few roots, nothing changes for a guest; nor with PCID of
    ours, which one that has no SVM gets."""
    for mode in ["32", "pae", "4"]:
        Run(mode, 201, 5, 1500).compare(*(
            ["--paging", "shadow", *options] for options in
            [["--no-nested"], ["--roots", "0"], ["--no-nested", "--roots", "2", "--root-policy",
             "victim"], ["--no-tags"], ["--no-nested", "--no-unsync", "--no-prefetch"],
             ["--no-large-pages", "--no-quick-fill"],
             ["--no-nested", "--", "-cpu", "max,la57=off"]]))


def soak(seconds):
    """Fresh seeds, modes and options by turns."""
    end = time.monotonic() + seconds if seconds else None
    tricks = ["nested", "prefetch", "unsync", "root-reuse", "tags", "large-pages", "mmio-cache",
              "exec-large", "lists", "quick-fill"]
    runs = 0
    while not end or time.monotonic() < end:
        run = Run(random.choice(["32", "pae", "4", "5"]), random.randrange(1, 1 << 31), 50, 3000)
        options = ["--roots", str(random.choice([0, 1, 2, 3, 16, 64]))]
        options += [f"--no-{trick}" for trick in tricks if random.random() < 0.15]
        run.compare(["--paging", "nested"], ["--paging", "shadow", *options])
        runs += 1
        print(f"note: {runs} times 50 seeds, the last {run.append} {' '.join(options)}",
              flush=True)
        if sys.modules["running"].counts["failed"]:
            break


if not shutil.which("qemu-system-x86_64"):
    skip("no QEMU (package qemu-system-x86)")
elif "--soak" in sys.argv:
    soak(float(sys.argv[5]) if len(sys.argv) > 5 else 0)
else:
    if not shutil.which("bochs"):
        skip("no Bochs (packages bochs, bochs-term)")
    every_mode()
    every_trick()
finish()
