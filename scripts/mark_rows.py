#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The rows of the mark guest: run bare and under each paging, and shown beside KVM's figures.

usage: scripts/mark_rows.py BUILD    the table of docs/performance.md, from BUILD/bench.json
"""
import json
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
KVM = ROOT / "data/kvm-mark.json"
LIMIT = 600  # seconds for one run

# How the guest is run: name of the column, options of `rhizome run`.
RUNS = {
    "bare": ["--bare"],
    "nested": ["--paging", "nested"],
    # Memory mapped page by page: what large pages hide.
    "nested-4k": ["--paging", "nested", "--no-large-pages", "--append", "rows=cold_write"],
    "shadow": ["--paging", "shadow"],
}

# At most so many instructions: (column, operation) or (column, operation, most roots).
GOALS = [
    ("shadow", "cr3", 300, 4), ("shadow", "cr3", 330, 32), ("shadow", "cr3_touch16_pte", 2500, 32),
    ("shadow", "cr3_new_touch16", 14000, 0), ("shadow", "touch_set_read", 600, 0),
    ("shadow", "touch_set_write", 600, 0), ("shadow", "touch_clear_read", 900, 0),
    ("shadow", "touch_clear_write", 900, 0), ("shadow", "demand_fault", 1500, 0),
    ("nested-4k", "cold_write", 900, 0), ("nested", "cold_write", 900, 0),
    ("shadow", "pte64_cr3", 300, 0), ("shadow", "pte_invlpg_touch", 1000, 0),
    ("shadow", "cr4_pge", 600, 0),
]

# Rows of a guest's own guest, under either paging of ours: (operation, its npt, value, most roots).
NESTED_GOALS = [
    ("vmrun", (0, 1), 1200, 0), ("vmrun_flush", (0, 1), 1200, 0), ("vmrun_full", (0, 1), 3000, 0),
    ("l2_cpuid", (0, 1), 450, 0), ("l2_roots", (0, 1), 1500, 8),
    ("l1_pte_l2_touch", (0, 1), 3500, 0), ("l2_touch", (1,), 700, 0),
]


def goal(paging, row):
    """The most that a row may take, or None."""
    for column, op, value, roots in GOALS:
        if (column, op) == (paging, row["op"]) and row.get("roots", 0) <= roots:
            return value
    for op, npt, value, roots in NESTED_GOALS:
        if (paging in ("nested", "shadow") and op == row["op"] and row.get("npt") in npt
                and row.get("roots", 0) <= roots):
            return value
    return None


def measure(build):
    """(row with its paging, ticks) for each row of each run; the row may have a target."""
    rhizome, guest = f"{build}/lab/rhizome", f"{build}/guests/mark.elf"
    for missing in (f for f in (rhizome, guest) if not os.path.exists(f)):
        raise ChildProcessError(f"{missing}: not there")
    for paging, options in RUNS.items():
        command = [rhizome, "run", "--icount", "--timeout", str(LIMIT), "--multiboot", guest]
        done = subprocess.run(command + options, stdin=subprocess.DEVNULL, capture_output=True,
                              text=True)
        rows = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        # isa-debug-exit makes 1 of the guest's 0.
        if done.returncode != 1 or not rows or any("ticks" not in row for row in rows):
            raise ChildProcessError(f"mark, {paging}: status {done.returncode}: "
                                    f"{(done.stderr.strip() or done.stdout)[-300:]}")
        for row in rows:
            ticks = row.pop("ticks")
            yield {"suite": "mark", **row, "paging": paging, "target": goal(paging, row)}, ticks


def table(results):
    """The lines of a table in Markdown: ours, KVM's and the bare machine's."""
    def key_of(row):
        return row["op"], row.get("npt"), row.get("roots", 0)
    kvm = {key_of(row): row for row in json.loads(KVM.read_text())}
    figures = {}
    for row in results:
        if row["suite"] == "mark":
            figures.setdefault(key_of(row), {})[row["paging"]] = row
    yield ("| operation | roots | at most | shadow | KVM npt=0 | nested | nested, 4 KiB | KVM npt=1"
           " | bare |")
    yield "|---|---|---|---|---|---|---|---|---|"
    for (op, npt, roots), columns in figures.items():
        theirs = kvm.get((op, npt, roots), {})
        targets = {name: row["target"] for name, row in columns.items() if "target" in row}
        shown = [f"{columns[name]['value']:,}" if name in columns else "" for name in RUNS]
        bare, nested, nested_4k, shadow = shown
        most = targets.get("shadow") or targets.get("nested-4k")
        name = f"`{op}`" if npt is None else f"`{op}` npt={npt}"
        yield (f"| {name} | {roots or ''} | {f'{most:,}' if most else ''} | {shadow} | "
               f"{theirs.get('npt0', '')} | {nested} | {nested_4k} | {theirs.get('npt1', '')} | "
               f"{bare} |")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    print("\n".join(table(json.loads(pathlib.Path(sys.argv[1], "bench.json").read_text()))))
