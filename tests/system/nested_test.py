#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The guest's own KVM (scripts/run-nested): stock kvm-amd in Debian's Linux, npt=1 and npt=0, under
nested and under shadow paging, runs a flat guest and a Linux. A nested entry is a root switch that
finds its root, and no flush is without an architectural reason.

usage: nested_test.py BUILD FOLDER    (FOLDER: where guests/fetch puts the KVM host)
"""
import importlib.machinery
import importlib.util
import pathlib
import subprocess
import sys
import tempfile

from running import check, finish, skip

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD, FOLDER = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])


def module():
    """scripts/run-nested, which has no .py to its name."""
    loader = importlib.machinery.SourceFileLoader("run_nested", str(ROOT / "scripts/run-nested"))
    spec = importlib.util.spec_from_loader("run_nested", loader)
    loaded = importlib.util.module_from_spec(spec)
    loader.exec_module(loaded)
    return loaded


def run(nested, initrd, paging, npt):
    """One boot of L1 with its two guests."""
    what = f"L1 under {paging} paging, npt={npt}"
    try:
        _, marks = nested.run(BUILD, FOLDER, initrd, paging, npt)
    except nested.RunError as error:
        check(False, what, str(error))
        return
    check(True, what)
    begin, end = marks[1], marks[3]
    took = {key: end[key] - begin[key] for key in end if isinstance(end[key], int)}
    check(took["nested_entries"] == took["nested_exits"] > 10000, f"{what}: entries and exits",
          str(took))
    check(took["nested_flush_unneeded"] == 0, f"{what}: each flush has a reason", str(took))
    found = took["root_current_reused"] + took["root_cached_reused"]
    check(took["root_built"] < 200 and found > 0.99 * took["root_switches"],
          f"{what}: a nested entry or exit finds its root", str(took))


def main():
    fetch = subprocess.run([ROOT / "guests/fetch", "--kvm", FOLDER, BUILD / "guests/marks"],
                           capture_output=True, text=True)
    if fetch.returncode:
        skip(f"the guest's own KVM: {fetch.stderr.strip()}")
        finish()
    nested = module()
    with tempfile.NamedTemporaryFile(suffix=".cpio") as initrd:
        nested.write_initrd(initrd, BUILD, FOLDER)
        for paging, npt in nested.RUNS:
            run(nested, initrd.name, paging, npt)
    finish()


if __name__ == "__main__":
    main()
