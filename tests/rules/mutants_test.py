#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Rules about the mutants: their texts are still in the sources, and there are enough of them."""
import sys

import checks

sys.path.insert(0, str(checks.ROOT / "tests" / "mutants"))
import read  # noqa: E402

LEAST, SAMPLE = 120, 20
MUTANTS = read.read()


def texts():
    """Each mutant's old text stands once in its file: who changes a line there mends the mutant."""
    yield from read.stale(MUTANTS)


def enough():
    """There are at least 120, at most 5 argued to be equivalent, and a sample of 20."""
    count = sum(not m.equivalent for m in MUTANTS)
    equivalent = len(MUTANTS) - count
    sample = sum("sample" in m.fields for m in MUTANTS)
    if count < LEAST:
        yield f"{count} mutants"
    if equivalent > read.MOST_EQUIVALENT:
        yield f"{equivalent} equivalent ones"
    if sample != SAMPLE:
        yield f"{sample} in the sample"


def classes():
    """Every class has mutants."""
    yield from (c for c in read.CLASSES if all(m.fields["class"] != c for m in MUTANTS))


if __name__ == "__main__":
    checks.run([texts, enough, classes])
