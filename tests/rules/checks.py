# SPDX-License-Identifier: MIT
"""What the rule checks share: where files are, and how a check is run and counted."""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
C_SUFFIXES = {".c", ".h", ".S"}
CODE_SUFFIXES = C_SUFFIXES | {".py", ".ld", ".sh"}


def files(*folders, suffixes=C_SUFFIXES, root=ROOT):
    """The files with one of these suffixes below the folders, sorted, relative to root."""
    found = (p for f in folders for p in (root / f).rglob("*") if p.suffix in suffixes)
    return sorted(p.relative_to(root) for p in found if p.is_file())


def without_comments(text):
    """C source with comments and strings blanked, so that line numbers stay."""
    def blank(match):
        return re.sub(r"[^\n]", " ", match[0])
    return re.sub(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"', blank, text, flags=re.S)


def run(checks):
    """Runs checks, each a function that yields one line for each breach; prints and counts."""
    failed = 0
    for check in checks:
        breaches = list(check())
        if breaches:
            failed += 1
            print(f"{check.__name__}: {check.__doc__}")
            print("".join(f"  {breach}\n" for breach in breaches), end="")
    print(f"{len(checks) - failed} passed, {failed} failed")
    sys.exit(failed != 0)
