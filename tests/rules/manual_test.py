#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The manual page names every command of the program and every option that its help names, and
no others.

usage: manual_test.py RHIZOME
"""
import re
import subprocess
import sys

import checks

PROGRAM = sys.argv[1]
LONG = re.compile(r"(?<![\w-])--([a-z][a-z-]*)")


def said(*arguments):
    return subprocess.run([PROGRAM, *arguments, "--help"], check=True, capture_output=True,
                          text=True).stdout


def commands():
    return re.findall(r"^  ([a-z]+) {2,}", said(), re.M)


def page():
    text = (checks.ROOT / "lab/rhizome.1").read_text().replace("\\-", "-")
    return re.sub(r'^\.\\".*$', "", text, flags=re.M)


def every_command():
    """each command has its section"""
    for command in commands():
        if f".SS rhizome {command}\n" not in page():
            yield command


def every_option():
    """what a command's help names stands in the page"""
    known = set(LONG.findall(page()))
    for command in commands():
        for option in sorted(set(LONG.findall(said(command))) - known):
            yield f"{command} --{option}"


def no_other_option():
    """what the page names stands in a command's help"""
    helped = {option for command in commands() for option in LONG.findall(said(command))}
    helped |= {"help", "version", "no-nested"}  # of the program itself; one of --no-X
    yield from sorted(set(LONG.findall(page())) - helped)


if __name__ == "__main__":
    checks.run([every_command, every_option, no_other_option])
