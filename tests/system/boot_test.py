#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Boots guests on the hypervisor by `rhizome run`, as a user would: our probe guest, which attacks
the machine, the mark guest, and Debian's Linux to its shell. Checks output, exit status and
statistics. What `rhizome run` does with its options: run_test.py.

usage: boot_test.py RHIZOME PROBE_ELF MARK_ELF FOLDER    (FOLDER: where guests/fetch puts Linux)
"""
import json
import os
import pathlib
import re
import select
import shutil
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "bench"))
import peers_run  # noqa: E402 (its folder is named one line above)
from running import LIMIT, check, finish, rhizome, skip

ROOT = pathlib.Path(__file__).resolve().parents[2]
RHIZOME, PROBE, MARK = (os.path.abspath(a) for a in sys.argv[1:4])
LINUX = pathlib.Path(sys.argv[4])
WINDOW = pathlib.Path(RHIZOME).parents[1] / "bench/window.so"
FUZZ_SEEDS = range(1, 9)


def run(*arguments, **keywords):
    """Runs `rhizome run`; returns (status, stdout, stderr)."""
    return rhizome(RHIZOME, "run", *arguments, **keywords)


def run_probe(argument, *options, **keywords):
    return run("--multiboot", PROBE, "--append", argument, "--timeout", str(LIMIT), *options,
               **keywords)


def probe():
    """The probe guest says the same bare and on the hypervisor, at both depths of paging."""
    _, bare, _ = run_probe("", "--bare")
    check("0 failed" in bare, "the probe runs bare", bare)
    for model in "max", "max,la57=off", "EPYC":
        status, out, err = run_probe("", "--", "-cpu", model)
        check(status == 1 and out == bare, f"the probe runs on {model}", f"{status}\n{out}{err}")


def attacks():
    """No attack takes the machine: every check that the guest makes afterwards holds."""
    for options in ([], ["--no-large-pages"], ["--cpus", "2"], ["--memory", "64"], ["--no-nested"],
                    ["--paging", "shadow"], ["--paging", "shadow", "--no-nested"]):
        status, out, err = run_probe("keep", *options)
        ended = re.search(r"^(\d+) passed, 0 failed$", out, re.M)
        check(status == 1 and ended and int(ended[1]) >= 37, f"attacks with {options}",
              f"{status}\n{out}{err}")
        check(re.search(r"exits_smi +1$", err, re.M), f"an SMI with {options}", err)


def fuzz():
    """Random MSR, APIC, I/O APIC and port accesses take nothing either."""
    for seed in FUZZ_SEEDS:
        status, out, err = run_probe(f"fuzz {seed}")
        check(status == 1 and ", 0 failed" in out, f"random attacks from seed {seed}",
              f"{status}\n{out}{err}")


def ends():
    """Each end of a guest has its exit status and its reason."""
    for model, levels in ("max", 5), ("max,la57=off", 4), ("EPYC", 4):
        status, _, err = run_probe("triple", "--", "-cpu", model)
        check(status == 70 and err.endswith("the guest died: triple fault\n"),
              f"a triple fault on {model} is 70", f"{status} {err}")
        check("exit 1: code 400" in err and "cr0 " in err, "the screen has state and exits", err)
        check(f"nested paging, {levels} levels" in err, f"{levels} levels on {model}", err)
    status, _, err = run_probe("reset")
    check(status == 0, "a reset is 0", f"{status} {err}")
    status, _, err = run("--multiboot", PROBE, "--append", "triple", "--", "-cpu", "max,-svm")
    check(status == 70 and "no SVM" in err, "no SVM: a clear message", f"{status} {err}")
    status, _, err = run_probe("hang", "--timeout", "3")
    check(status == 124 and "time is up" in err, "a time-out is 124", f"{status} {err}")


def mark():
    """The mark guest measures every row; bare and under nested paging CR3 costs the same."""
    figures = []
    for options in ["--bare"], []:
        status, out, err = run("--multiboot", MARK, "--icount", "--timeout", str(LIMIT), *options)
        rows = [json.loads(line) for line in out.splitlines()]
        check(status == 1 and len({row["op"] for row in rows}) >= 19 and
              all(row["ticks"] > 0 for row in rows), f"every row with {options}",
              f"{status}\n{out}{err}")
        figures.append([row["ticks"] for row in rows if row["op"] == "cr3"])
    check(figures[0] == figures[1] and max(figures[0]) < 30, "CR3 without an exit", str(figures))
    status, out, err = run("--multiboot", MARK, "--append", "rows=cr3,invlpg roots=7,32")
    rows = [json.loads(line) for line in out.splitlines()]
    check([(row["op"], row.get("roots")) for row in rows] ==
          [("cr3", 7), ("cr3", 32), ("invlpg", None)], "rows chosen", out)
    for wrong in "rows=cr3,nothing", "roots=33":
        status, out, err = run("--multiboot", MARK, "--append", wrong)
        check(status == 3 and out.startswith('{"error"'), f"the mark guest refuses {wrong}", out)


def modules():
    """Modules arrive with their contents, and more than one of them."""
    with tempfile.NamedTemporaryFile("w", suffix=",comma") as module:
        module.write("module text\n\0")
        module.flush()
        status, out, err = run_probe("x", "--module", f"{module.name} a,b", "--module",
                                     module.name)
    check(status == 1 and out.count("ok a module's contents") == 2 and "0 failed" in out,
          "two modules arrive", f"{status}\n{out}{err}")


def no_kernel():
    """A file that is no kernel is refused by the hypervisor."""
    status, _, err = run("--multiboot", __file__, "--timeout", str(LIMIT))
    check(status == 2 and "neither a Linux bzImage nor a Multiboot kernel" in err,
          "a file that is no kernel", f"{status} {err}")


def talk(process, seconds):
    """Waits for the guest's prompt, says something, and returns all that the guest said."""
    said, text, end = False, "", time.monotonic() + seconds
    while time.monotonic() < end:
        ready, _, _ = select.select([process.stdout], [], [], 1)
        if not ready:
            continue
        more = os.read(process.stdout.fileno(), 65536).decode(errors="replace")
        if not more:
            break
        text += more
        if not said and "/ # " in text:
            said = True
            process.stdin.write(b"echo the answer is $((6 * 7)); exit\n")
            process.stdin.flush()
    return text


def linux():
    """Debian's Linux, 5 and 4 levels, both pagings, boots to its shell, obeys, and powers off."""
    fetch = subprocess.run([ROOT / "guests/fetch", LINUX], capture_output=True, text=True)
    if fetch.returncode:
        skip(f"Linux: {fetch.stderr.strip()}")
        return
    # The same kernel without its 64-bit entry goes by the 32-bit protocol.
    old = bytearray((LINUX / "vmlinuz").read_bytes())
    old[0x236] &= ~1
    (LINUX / "vmlinuz32").write_bytes(old)
    for paging, model, kernel in (("nested", "max", "vmlinuz"),
                                  ("nested", "max,la57=off", "vmlinuz32"),
                                  ("shadow", "max", "vmlinuz"),
                                  ("shadow", "max,la57=off", "vmlinuz32")):
        what = f"Linux under {paging} paging on {model}"
        with tempfile.NamedTemporaryFile() as stats:
            process = subprocess.Popen(
                [RHIZOME, "run", "--paging", paging, "--kernel", LINUX / kernel, "--initrd",
                 LINUX / "initramfs.gz", "--append", "console=ttyS0 quiet", "--timeout",
                 str(LIMIT), "--stats", stats.name, "--", "-cpu", model],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            text = talk(process, LIMIT + 10)
            _, err = process.communicate()
            seen = f"{process.returncode}\n{text}{err.decode(errors='replace')}"
            check(process.returncode == 0, f"{what} powers off with 0", seen)
            check("the answer is 42" in text, f"the shell of {what}", seen)
            counted = json.loads(stats.read() or b"{}")
            if paging == "nested":
                good = counted.get("exits_npf", 0) > 100 and counted.get("root_built") == 1
            else:
                good = (counted.get("root_cached_reused", 0) > 1000 and
                        counted.get("exits_npf") == 0 and counted.get("root_built", 0) < 1000)
            check(good and counted.get("pages_2m", 0) > 10, f"statistics of {what}", str(counted))


def windows():
    """Addresses above all RAM: eight windows onto what is there, then the sink."""
    if not (LINUX / "initramfs.gz").exists():
        return
    addresses = " ".join(f"0x{i}000000000" for i in range(1, 10))
    script = f"for a in {addresses}; do devmem $a 32 4660; devmem $a; done"
    status, out, err = run("--kernel", str(LINUX / "vmlinuz"), "--initrd",
                           str(LINUX / "initramfs.gz"), "--timeout", str(LIMIT), "--append",
                           "console=ttyS0 quiet rhizome.run=" + script.replace(" ", "%20"))
    seen = re.findall(r"^0x[0-9A-F]{8}$", out, re.M)
    check(status == 0 and seen == ["0x00000000"] * 8 + ["0x00001234"],
          "eight windows and the sink", f"{status}\n{out}{err}")


def marks():
    """The marks in Linux' initramfs each print one line, with page-table isolation too."""
    if not (LINUX / "initramfs.gz").exists():
        return
    with tempfile.TemporaryDirectory() as folder:
        stats, counts = (pathlib.Path(folder, name) for name in ("stats", "counts"))
        entry = peers_run.kernel_entry(LINUX / "vmlinuz")
        status, out, err = run(
            "--paging", "shadow", "--icount", "--marks", "--stats", str(stats), "--kernel",
            str(LINUX / "vmlinuz"), "--initrd", str(LINUX / "initramfs.gz"), "--timeout",
            str(LIMIT), "--append", 'console=ttyS0 quiet pti=on rhizome.run="switchmark 3 20; '
            'forkmark 2 5; faultmark 8 4; switchmark 1"', "--", "-plugin",
            f"{WINDOW},entry={entry},out={counts}")
        told = json.loads(stats.read_text()).get("marks", [])
        counted = peers_run.read_marks(counts)
    lines = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
    seen = [(line["op"], line["operations"]) for line in lines if line["ticks"] > 0]
    check(seen == [("switchmark", 60), ("forkmark", 10), ("faultmark", 32)], "marks",
          f"{status}\n{out}{err}")
    check("guest: status 2" in out, "a mark refuses what it cannot do", out)
    count_windows(lines, told, counted)


def count_windows(lines, told, counted):
    """The counter of instructions between marks agrees with the guest's clock, which does not idle
    there, and with the hypervisor's own count of exits."""
    check([mark[0] for mark in counted] == [0, 3, 1, 2, 1, 2, 1, 2], "marks seen", str(counted))
    for line, begin, end in zip(lines, counted[2::2], counted[3::2]):
        row = peers_run.window(begin, end, line["operations"])
        check(abs(row["total"] - line["ticks"]) < 0.02 * line["ticks"], f"counted {line}", str(row))
        check(0 < row["hypervisor"] < row["total"], f"the hypervisor's part of {line}", str(row))
    # The hypervisor's marks are a store to a port before and after: some exits more.
    own = told[1]["exits"] - told[0]["exits"]
    seen = counted[3][3] - counted[2][3]
    check(own - 60 < seen <= own and seen > 100, "exits counted", f"{seen} of {own}")


if not shutil.which("qemu-system-x86_64"):
    skip("no QEMU (package qemu-system-x86)")
    finish()
for test in probe, attacks, fuzz, ends, mark, modules, no_kernel, linux, windows, marks:
    test()
finish()
