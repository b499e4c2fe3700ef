#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Records a real KVM (Debian's, in guests/kvmhost, under QEMU TCG) and holds what was recorded
against what the guest did and against KVM's own statistics; sees that nothing is left behind
however a recorder ends.

usage: record_test.py RHIZOME MARK_ELF FOLDER       (FOLDER: where guests/fetch --kvm puts a host)
"""
import pathlib
import sys
import tempfile

from compact import Trace
from recorded import boot, host, prepare, requests_by_table
from running import check, finish, refused, rhizome

HERE = pathlib.Path(__file__).resolve().parent

RHIZOME, MARK, FOLDER = sys.argv[1:4]
LIMIT, SILENCE, PATIENCE = 270, 200, 60  # seconds; 15 and 8 on an idle machine
# mark makes six repetitions of 512 operations, whole rounds only.
ROUNDS = {3: 6 * (512 // 3), 6: 6 * (512 // 6)}


def read(folder, name):
    path = folder / name
    return path.read_text(errors="replace") if path.exists() else f"(no {name})"


def mark(out):
    """Every request, exit and shadow page is there, once; the figures are KVM's own."""
    trace = Trace(out / "mark.trace")
    counts = trace.counts()
    stats = dict(line.split(None, 1) for line in read(out, "mark.stats").splitlines())
    check(trace.whole and trace.lost == 0, "a whole trace, nothing lost")
    check(read(out, "mark.status") == "0\n", "Ctrl-C is 0", read(out, "mark.err"))
    check(trace.facts.get("kvm") == "npt=0 nested=1 tdp_mmu=1" and trace.facts.get("mmu") ==
          "shadow" and "missing" not in trace.facts, "facts", trace.facts)
    asked = requests_by_table(trace)
    wanted = 3 * [ROUNDS[3] + ROUNDS[6]] + 3 * [ROUNDS[6]]
    check(sorted(asked.values(), reverse=True)[:6] == wanted and
          sum(asked.values()) <= sum(wanted) + 4, "every request, once", asked)
    # Among three roots KVM misses none but the first time, among six each: it keeps one and three.
    check(6 * ROUNDS[6] <= counts["mmu_load"] <= 6 * ROUNDS[6] + 40, "MMU loads", counts)
    for kind, name in (("exit", "exits"), ("page_new", "mmu_cache_miss"),
                       ("page_zap", "mmu_shadow_zapped")):
        seen = counts[kind] + (counts["two_dimensional"] if kind == "exit" else 0)
        check(str(seen) == stats.get(name), f"as many as KVM's {name}",
              f"{seen}, {stats.get(name)}")
    check(counts["entry"] - counts["exit"] in (0, 1), "entries", counts)
    check({(vm, vcpu) for _, vm, vcpu in trace.threads if vcpu >= 0} == {(trace.threads[0][1], 0)},
          "one vCPU of one VM", trace.threads)
    times = [event.time for event in trace.events]
    check(times == sorted(times), "in order of time")
    text = read(out, "mark.err")
    check(text.count("\n") == 1 and f"{sum(asked.values()):,} requests" in text and
          "50.0 % reused" in text, "the closing line", text)
    check("    1  mark" in read(out, "list"), "--list", read(out, "list"))


def replayed(out):
    """What replay makes of it is what the guest did and what KVM did."""
    status, text, err = rhizome(RHIZOME, "replay", out / "mark.trace", "--policy",
                                "current-first", "--capacity", "2,3,5", "--csv")
    rows = [line.split(",") for line in text.splitlines() if ",separate," not in line]
    check(status == 0 and len(rows) == 4, "replay reads it", text + err)
    if len(rows) != 4:
        return
    missed = [int(row[rows[0].index("missed")]) for row in rows[1:]]
    check(missed[0] >= 6 * ROUNDS[6] and 6 * ROUNDS[6] <= missed[1] <= 6 * ROUNDS[6] + 8 and
          missed[2] <= 8, "what other capacities would miss", text)


def ends(out):
    """However a recorder ends, it leaves nothing; another one is not disturbed."""
    for name in "mark", "ends", "term":
        check(read(out, f"{name}.status") == "0\n", f"status of {name}",
              read(out, f"{name}.status"))
    for name in ("mark", "term", "killed", "next", "halfway", "output", "full", "user"):
        check(read(out, f"{name}.left") == "", f"nothing left by {name}",
              read(out, f"{name}.left"))
    for name in "ends", "both":
        left = read(out, f"{name}.left")
        names = set(word for word in left.replace("/", " ").replace(":", " ").split()
                    if word.startswith("rhizome"))
        check(len(names) == 2 and "new_pgd" in left, f"one recorder's things after {name}", left)
    for name in "ends", "term", "next":
        check(Trace(out / f"{name}.trace").whole, f"{name}.trace is whole")
    counted = Trace(out / "count.trace")
    check(counted.whole and counted.counts()["request"] == 100, "--count", counted.counts())


def refusals(out):
    """One line that says what is missing, and the status."""
    for name, status, word in (("nobody", 2, "no VM named nobody"), ("halfway", 1, "buffer_size"),
                               ("output", 2, "/nowhere/x: No such file"),
                               ("full", 1, "cannot write -: No space left"),
                               ("user", 2, "needs root"), ("kvm", 2, "no KVM")):
        text = read(out, f"{name}.err")
        lines = [line for line in text.splitlines() if " s, " not in line]
        check(read(out, f"{name}.status") == f"{status}\n" and len(lines) == 1 and
              word in lines[0], f"refused: {name}", read(out, f"{name}.status") + text)
    for arguments, word in ((["x"], "takes no files"), (["-d", "0"], "0: not a duration"),
                            (["-d", "5x"], "5x"), (["-c", "-1"], "-1"), (["-b", "0"], "0"),
                            (["--pid", "1,"], "process numbers"), (["--frobnicate"], "frob"),
                            (["--pid", str(1 << 30)], "no process"), (["-o"], "lacks")):
        refused(RHIZOME, ["record", *arguments], word)


def main():
    prepare(FOLDER)
    with tempfile.TemporaryDirectory() as scratch:
        out = pathlib.Path(scratch)
        console = boot("the host", FOLDER, PATIENCE, (HERE / "record_host.sh").read_text(), out,
                       host.defaults(npt=0, memory=1024, timeout=LIMIT, silence=SILENCE),
                       [("mark.elf", MARK)], [("rhizome", RHIZOME)])
        check("never came" not in console, "nothing hung", console)
        for test in mark, replayed, ends, refusals:
            test(out)
    finish()


main()
