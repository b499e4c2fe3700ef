#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Every header of include/ and lib/ compiles alone, with nothing but the compiler's own headers.

usage: headers_test.py COMPILER...
"""
import subprocess
import sys

import checks

COMPILER = sys.argv[1:]
FLAGS = ["-std=gnu11", "-Wall", "-Wextra", "-Wundef", "-Wstrict-prototypes", "-Werror",
         "-ffreestanding", "-nostdinc", "-fsyntax-only", "-Iinclude"]


def alone(header, *flags):
    """What the compiler says against a file that holds nothing but this #include."""
    own = subprocess.run([*COMPILER, "-print-file-name=include"], capture_output=True, text=True)
    done = subprocess.run([*COMPILER, *FLAGS, *flags, "-isystem", own.stdout.strip(), "-xc", "-"],
                          cwd=checks.ROOT, input=f'#include "{header}"\n',
                          capture_output=True, text=True)
    if done.returncode:
        yield f"{header}: " + (done.stderr.strip().splitlines() or ["does not compile"])[0]


def public_headers():
    """Every public header compiles alone, with include/ as its only folder."""
    for header in checks.files("include", suffixes={".h"}):
        yield from alone(header)


def internal_headers():
    """Every internal header compiles alone."""
    for header in checks.files("lib", suffixes={".h"}):
        yield from alone(header, "-Ilib")


if __name__ == "__main__":
    checks.run([public_headers, internal_headers])
