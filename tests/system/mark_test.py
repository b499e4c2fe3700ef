#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The mark guest's nested rows: each is measured with L1's nested paging off and on, bare and under
both pagings of ours; a processor without SVM is told of. The other rows: boot_test.py.

usage: mark_test.py RHIZOME MARK_ELF
"""
import json
import os
import sys

from running import LIMIT, check, finish, rhizome

RHIZOME, MARK = (os.path.abspath(a) for a in sys.argv[1:3])
ROWS = ["vmrun", "vmrun_flush", "vmrun_full", "l2_cpuid", "l2_cr3_same", "l2_touch", "l2_roots",
        "l1_pte_l2_touch"]


def mark(append, *options):
    """(status, rows, all that was said) of one run."""
    status, out, err = rhizome(RHIZOME, "run", "--multiboot", MARK, "--icount", "--timeout",
                               str(LIMIT), "--append", append, *options)
    return status, [json.loads(line) for line in out.splitlines() if line[0] == "{"], out + err


def measured():
    """Every row in each system; L2's CPUID alone costs more on the hypervisor than it does bare,
    and it costs less than an entry."""
    wanted = [(op, npt) for op in ROWS for npt in (0, 1)]
    for options in ["--bare"], ["--paging", "nested"], ["--paging", "shadow"]:
        status, rows, text = mark(f"rows={','.join(ROWS)} roots=8", *options)
        check(status == 1 and [(row["op"], row["npt"]) for row in rows] == wanted and
              all(row.get("ticks", 0) > 0 for row in rows), f"every row with {options}",
              f"{status}\n{text}")
        ticks = {(row["op"], row["npt"]): row.get("ticks", 0) for row in rows}
        for npt in 0, 1:
            cpuid, entry = ticks.get(("l2_cpuid", npt), 0), ticks.get(("vmrun", npt), 0)
            # bare, neither leaves the guest
            check(cpuid < entry and (cpuid < 20) == ("--bare" in options),
                  f"CPUID in L2, npt={npt}, {options}", text)


def chosen():
    """npt= and roots= choose; a wrong one is refused."""
    status, rows, text = mark("rows=l2_roots,vmrun roots=2,3 npt=1")
    check(status == 1 and [(row["op"], row.get("roots"), row["npt"]) for row in rows] ==
          [("vmrun", None, 1), ("l2_roots", 2, 1), ("l2_roots", 3, 1)], "rows chosen", text)
    status, rows, text = mark("rows=vmrun npt=2")
    check(status == 3 and "error" in rows[0], "the mark guest refuses npt=2", text)


def refused():
    """Without SVM each row says so, and has no figure."""
    status, rows, text = mark(f"rows={','.join(ROWS)}", "--bare", "--", "-cpu", "max,-svm")
    check(status == 1 and len(rows) == 2 * len(ROWS) and
          all(row.get("skip") == "no SVM" and "ticks" not in row for row in rows),
          "a processor without SVM", text)
    status, rows, text = mark("rows=vmrun", "--bare", "--", "-cpu", "max,-npt")
    check(status == 1 and "ticks" in rows[0] and rows[1].get("skip") == "no nested paging",
          "a processor without nested paging", text)
    status, rows, text = mark("rows=vmrun npt=0", "--paging", "shadow", "--no-nested")
    check(status == 1 and rows[0].get("skip") == "no SVM", "a hypervisor that gives none", text)


def main():
    measured()
    chosen()
    refused()
    finish()


if __name__ == "__main__":
    main()
