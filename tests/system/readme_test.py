#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Runs every example session of README that begins with `$ rhizome`, and compares what is printed
with what README shows.

usage: readme_test.py RHIZOME
"""
import os
import pathlib
import re
import shlex
import subprocess
import sys

from running import check, finish

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = pathlib.Path(sys.argv[1]).resolve()


def sessions(text):
    """(command, what is shown) of each block that begins with such a prompt."""
    for block in re.findall(r"^```\n(\$ rhizome .*?)^```$", text, re.M | re.S):
        command, shown = block.split("\n", 1)
        yield command[2:], shown


def main():
    found = list(sessions((ROOT / "README.md").read_text()))
    check(found, "README shows a session")
    for command, shown in found:
        words = shlex.split(command)
        done = subprocess.run([PROGRAM, *words[1:]], cwd=ROOT, stdin=subprocess.DEVNULL,
                              env={**os.environ, "LC_ALL": "C.UTF-8"}, capture_output=True,
                              text=True)
        check(done.returncode == 0 and done.stderr == "", command, done.stderr)
        check(done.stdout == shown, f"{command}: as README shows it", done.stdout)
    finish()


if __name__ == "__main__":
    main()
