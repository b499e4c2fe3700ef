#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Records what takes longer than the suite may: Debian's Linux switching processes under page-table
isolation, and a guest that is itself a KVM host with a guest, both with npt=0 and npt=1.

usage: record_long.py RHIZOME MARK_ELF FOLDER [KEEP]   (KEEP: a folder for the traces)
"""
import pathlib
import sys
import tempfile

from compact import Trace
from recorded import boot, host, prepare, requests_by_table
from running import check, finish, rhizome

RHIZOME, MARK, FOLDER = sys.argv[1:4]
LIMIT = 600  # seconds for one host; 60 on an idle machine
PATIENCE = 300  # ... and for one thing that it waits for
PROCESSES, ROUNDS = 4, 300

COMMON = """
finish() {
	kill -INT $recorder
	wait $recorder
	echo $? >/out/status.recorder
	left >/out/left
	kill $vm
}
"""
LINUX = COMMON + f"""
run='sleep 3; echo begin; switchmark {PROCESSES} {ROUNDS};
	for i in 1 2 3; do echo $i | cat | cat | cat; done; echo end; sleep 1000'
$qemu -name linux -m 128 -serial file:/out/console \\
	-kernel /guest/vmlinuz -initrd /guest/initramfs \\
	-append "console=ttyS0 panic=-1 quiet pti=on rhizome.run=\\"$(echo $run)\\"" &
vm=$!
soon "grep -q 'up after' /out/console"
$record --vm linux -o /out/a.trace 2>/out/err &
recorder=$!
soon "grep -q '^end' /out/console"
stats >/out/stats
finish
"""
L1 = """#!/bin/sh
qemu-system-x86_64 -accel kvm -cpu host -m 64 -display none -nic none -monitor none -no-reboot \\
	-serial stdio -device isa-debug-exit,iobase=0xf4,iosize=4 \\
	-kernel mark.elf -append "rows=cr3_touch16,pte_invlpg_touch roots=2,6" </dev/null
echo "L2 ended: $?"
sleep 1000
"""
NESTED = COMMON + """
cat >/tmp/l1 <<'END'
""" + L1 + """END
nested /tmp/l1.cpio /tmp/l1 mark.elf
$record -o /out/a.trace 2>/out/err &
recorder=$!
soon "grep -qs 1 /sys/kernel/tracing/instances/*/tracing_on"
$qemu -name l1 -m 512 -serial file:/out/console -kernel /guest/vmlinuz -initrd /tmp/l1.cpio \\
	-append "console=ttyS0 panic=-1 quiet npt=L1NPT mitigations=off" &
vm=$!
soon "grep -q '^L2 ended' /out/console"
sleep 1
stats >/out/stats
finish
"""


def run(name, script, npt):
    """One host; returns the folder with what came out of it."""
    out = pathlib.Path(scratch, name)
    out.mkdir()
    console = boot(name, FOLDER, PATIENCE, script, out, host.defaults(npt=npt, timeout=LIMIT),
                   [("mark.elf", MARK)], [("rhizome", RHIZOME)])
    seen = {file.name: file.read_text(errors="replace").replace("\r", "")
            for file in out.iterdir() if file.suffix != ".trace"}
    check("never came" not in console and seen.get("status.recorder") == "0\n" and
          seen.get("left") == "", f"{name}: records and cleans up", f"{console}{seen}")
    trace = Trace(out / "a.trace")
    check(trace.whole and trace.lost == 0, f"{name}: whole, nothing lost", trace.lost)
    if len(sys.argv) > 4:
        pathlib.Path(sys.argv[4], f"{name}.trace").write_bytes((out / "a.trace").read_bytes())
    stats = (line.split() for line in seen.get("stats", "").splitlines())
    return trace, seen, {words[0]: words[-1] for words in stats if words}


def linux(npt):
    """With page-table isolation a process has two CR3 values, the second 4 KiB above the first."""
    name = f"linux-npt{npt}"
    trace, seen, stats = run(name, LINUX, npt)
    counts, asked = trace.counts(), requests_by_table(trace)
    check('"op": "switchmark"' in seen["console"] and seen["console"].count("\n3\n") == 1,
          f"{name}: the guest did its work", seen["console"])
    check(counts["exit"] > PROCESSES * 20, f"{name}: exits", counts)
    if npt:
        check(counts["request"] < 50 and trace.facts["mmu"] == "direct",
              f"{name}: a direct MMU asks for no root", counts)
        return
    # A switch of processes, its way into the kernel and out of it again.
    pairs = [table for table in asked if asked[table] >= ROUNDS and asked[table ^ 0x1000] >= ROUNDS]
    check(len(pairs) >= 2 * PROCESSES, f"{name}: two roots for each process", asked)
    check(counts["request"] >= 3 * PROCESSES * ROUNDS, f"{name}: requests", counts)
    check(counts["page_new"] > 0 and counts["mmu_load"] > PROCESSES, f"{name}: builds", counts)


def nested(npt, l1_npt):
    """Each nested entry and each nested exit is one request, and KVM counted as many entries."""
    name = f"nested-npt{npt}-l1npt{l1_npt}"
    trace, seen, stats = run(name, NESTED.replace("L1NPT", str(l1_npt)), npt)
    counts = trace.counts()
    check("L2 ended: 1" in seen["console"] and seen["console"].count('"op"') == 3,
          f"{name}: L2 did its work", seen["console"])
    check(str(counts["nested_enter"]) == stats["nested_run"] and
          counts["nested_enter"] == counts["nested_exit"] > 1000,
          f"{name}: as many nested entries as KVM's nested_run", f"{counts} {stats}")
    paged = {event.values[3] >> 9 & 1 for event in trace.events if event.kind == "nested_enter"}
    check(paged == {l1_npt}, f"{name}: what L1 uses for L2", paged)
    transitions = 2 * counts["nested_enter"]
    if npt:
        check(transitions <= counts["request"] <= transitions + 100,
              f"{name}: a request for each transition", counts)
    else:
        check(counts["request"] >= transitions // 2, f"{name}: requests", counts)
    status, text, err = rhizome(RHIZOME, "replay", str(pathlib.Path(scratch, name, "a.trace")))
    check(status == 0 and f"{counts['request']:,}" in text, f"{name}: replay", text + err)


prepare(FOLDER)
with tempfile.TemporaryDirectory() as scratch:
    linux(0)
    linux(1)
    nested(1, 1)
    nested(0, 0)
    finish()
