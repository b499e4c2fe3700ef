#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Runs guests/nested-torture (docs/nested-torture.md): its own predictions must hold, and each seed
must have the same digest on the bare machine, under nested and under shadow paging.

usage: nested_torture_test.py RHIZOME NESTED_TORTURE_ELF [--soak [SECONDS]]

With --soak it draws fresh seeds until one fails, or for so many seconds.
"""
import os
import random
import re
import shutil
import sys
import time

from running import LIMIT, check, counts, finish, rhizome, skip

RHIZOME, GUEST = (os.path.abspath(a) for a in sys.argv[1:3])
SEED = re.compile(r"^nested-torture: seed \d+ digest [0-9a-f]+ done .* failed (\d+)$", re.M)
NESTED = ["--paging", "nested"]
SHADOW = ["--paging", "shadow"]


def seeds(append, count, *options):
    """The lines of the seeds of one boot, after checking that there are so many, and no failure."""
    status, out, err = rhizome(RHIZOME, "run", "--multiboot", GUEST, "--append", append,
                               "--timeout", str(LIMIT), *options)
    found = list(SEED.finditer(out))
    check(status == 1 and len(found) == count and all(m[1] == "0" for m in found),
          f"{append} with {' '.join(options)}", f"{status}\n{out[-3000:]}{err[-3000:]}")
    return [m[0] for m in found]


def compare(first, count, steps, *ways):
    """Every way must give the lines of the bare machine. What the emulator does otherwise than the
    manual is excused where it acts: bare, and for L2's own tables wherever it walks them."""
    append = f"seed={first} seeds={count} steps={steps}"
    bare = seeds(append, count, "--bare")
    for options in ways:
        exact = "all" if "shadow" in options else "nested"
        other = seeds(f"{append} exact={exact}", count, *options)
        for one, two in zip(bare, other):
            check(one == two, f"{append} with {' '.join(options)}",
                  f"bare:  {one}\nother: {two}")


def soak(seconds):
    """Fresh seeds and options by turns."""
    end = time.monotonic() + seconds if seconds else None
    tricks = ["prefetch", "unsync", "root-reuse", "tags", "large-pages", "mmio-cache",
              "exec-large", "lists", "quick-fill"]
    runs = 0
    while not (end and time.monotonic() > end) and not counts["failed"]:
        first = random.randrange(1, 1 << 31)
        options = ["--roots", str(random.choice([0, 1, 2, 3, 16, 64]))]
        options += [f"--no-{trick}" for trick in tricks if random.random() < 0.15]
        compare(first, 5, 1000, [*NESTED, *options], [*SHADOW, *options])
        runs += 1
        print(f"note: {runs} times 5 seeds, the last from {first}, {' '.join(options)}",
              flush=True)


if not shutil.which("qemu-system-x86_64"):
    skip("no QEMU (package qemu-system-x86)")
elif "--soak" in sys.argv:
    soak(float(sys.argv[4]) if len(sys.argv) > 4 else 0)
else:
    compare(1, 5, 1000, NESTED, SHADOW)
    compare(101, 1, 1000, [*NESTED, "--roots", "0"], [*SHADOW, "--no-tags", "--no-unsync"])
    compare(201, 1, 1000, [*NESTED, "--no-tags", "--no-large-pages"],
            [*SHADOW, "--roots", "2", "--no-prefetch", "--no-quick-fill"])
finish()
