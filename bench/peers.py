#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The same work on the bare emulated machine, on Linux' KVM and on Rhizome, one after the other.

All run under QEMU TCG with -icount shift=0,sleep=off, so that the TSC counts emulated instructions
and a run can be repeated. KVM is Debian's, with Debian's QEMU (guests/kvmhost); its host kernel has
mitigations=off. Prints a table with ratios, rows where KVM is ahead first; writes every figure,
version and command line as JSON.

usage: bench/peers.py [--build DIR] [--only PEER,…] [--work mark,linux] [--rows ROW,…]
                      [--json FILE] [--page FILE] [--from JSON]
       --page writes the table in Markdown; --from shows an earlier run's figures, and runs nothing
       PEER is bare, kvm-npt, kvm-shadow, rhizome-npt or rhizome-shadow
"""
import argparse
import datetime
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "guests/kvmhost"), str(ROOT / "guests/initramfs")]
import build as initramfs  # noqa: E402 (their folders are named one line above)
import host  # noqa: E402

PEERS = ("bare", "kvm-npt", "kvm-shadow", "rhizome-npt", "rhizome-shadow")
# Who is held against whom: the same kind of paging.
PAIRS = (("kvm-npt", "rhizome-npt"), ("kvm-shadow", "rhizome-shadow"))
LIMIT = 600  # seconds for one boot
MEMORY_MIB = 512
LINUX_APPEND = "console=ttyS0 quiet panic=-1"  # mitigations=off would undo pti=on
LINUX_WORK = "; ".join(
    [f"switchmark {processes} 200" for processes in (2, 4, 8, 16)] +
    [f"forkmark {processes} {64 // processes}" for processes in (1, 8, 32)] + ["faultmark 256 32"])
ISOLATION = ("off", "on")  # of Linux' page tables: pti=


class PeerError(Exception):
    """A peer that did not do its work; the text has its console."""


def rhizome(options, peer, arguments):
    """One run of the program, bare or on the hypervisor; returns (its command line, console)."""
    kind = {"bare": ["--bare"], "rhizome-npt": ["--paging", "nested"],
            "rhizome-shadow": ["--paging", "shadow"]}[peer]
    line = [f"{options.build}/lab/rhizome", "run", "--icount", *kind, "--memory", str(MEMORY_MIB),
            "--timeout", str(LIMIT), *arguments]
    done = subprocess.run(line, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          errors="replace")
    console = done.stdout.replace("\r", "")
    if done.returncode not in (0, 1):  # 1: a Multiboot guest left with 0 by isa-debug-exit
        raise PeerError(f"{peer}: status {done.returncode}\n{console}{done.stderr}")
    return line, console


def kvm(options, peer, runs):
    """Guests one after the other on one KVM host; runs are (name, QEMU's further arguments, files).
    Returns (the host's command line and script, {name: console})."""
    script = "#!/bin/sh\n"
    files = []
    for name, arguments, more in runs:
        script += (f"qemu-system-x86_64 -accel kvm -cpu host -m {MEMORY_MIB} -display none"
                   f" -nic none -monitor none -no-reboot -serial file:/out/{name}"
                   f" -device isa-debug-exit,iobase=0xf4,iosize=4 {arguments} </dev/null\n"
                   f"echo $? >/out/{name}.status\n")
        files += more
    flags = host.defaults(npt=int(peer == "kvm-npt"), icount=True, append="mitigations=off",
                          timeout=LIMIT)
    with tempfile.TemporaryDirectory() as out:
        try:
            console = host.run(f"{options.build}/guests/kvm", script, out, flags, files)
        except host.HostError as error:
            raise PeerError(f"{peer}: {error}") from error
        consoles = {}
        for name, _, _ in runs:
            status = pathlib.Path(out, f"{name}.status").read_text().strip()
            text = pathlib.Path(out, name).read_text(errors="replace").replace("\r", "")
            if status not in ("0", "1"):
                raise PeerError(f"{peer}: QEMU in the host ended with {status}\n{console}{text}")
            consoles[name] = text
    line = host.command(pathlib.Path(options.build, "guests/kvm"), "INITRD", "DISK", flags)
    return line + [script], consoles


def figures(console, prefix=""):
    """{row: ticks} of the lines of JSON that the marks print."""
    rows = {}
    for line in console.splitlines():
        if not line.startswith("{"):
            continue
        mark = json.loads(line)
        if "skip" in mark:
            continue
        if "ticks" not in mark:
            raise PeerError(f"a mark says {line}\n{console}")
        name = prefix + mark["op"]
        for key, value in mark.items():
            if key not in ("op", "ticks", "ops", "operations"):
                name += f" {value}"
        rows[name] = mark["ticks"]
    return rows


def boot_figure(console, prefix):
    """Linux' time from its start to its shell; under -icount a nanosecond is an instruction."""
    up = re.search(r"^rhizome guest: .* up after ([0-9.]+) s$", console, re.M)
    if not up:
        raise PeerError(f"Linux came to no shell\n{console}")
    return {f"{prefix}boot": round(float(up[1]) * 1e9)}


def run_mark(options, peer):
    """The rows of guests/mark."""
    append = f"rows={options.rows}" if options.rows else ""
    guest = f"{options.build}/guests/mark.elf"
    if peer.startswith("kvm"):
        line, consoles = kvm(options, peer, [("mark", f'-kernel mark.elf -append "{append}"',
                                              [("mark.elf", guest)])])
        console = consoles["mark"]
    else:
        line, console = rhizome(options, peer, ["--multiboot", guest, "--append", append])
    return [line], figures(console)


def run_linux(options, peer):
    """Debian's Linux: its boot, and processes in it."""
    with tempfile.TemporaryDirectory() as scratch:
        image = pathlib.Path(scratch, "initramfs")
        folder = pathlib.Path(options.build, "guests")
        image.write_bytes(initramfs.archive(folder / "kvm/busybox", folder / "marks"))
        appends = {pti: f'{LINUX_APPEND} pti={pti} rhizome.run="{LINUX_WORK}"' for pti in ISOLATION}
        if peer.startswith("kvm"):
            line, consoles = kvm(options, peer, [
                (pti, "-kernel /guest/vmlinuz -initrd /guest/initramfs -append '" + append + "'",
                 []) for pti, append in appends.items()])
            lines = [line]
        else:
            lines, consoles = [], {}
            for pti, append in appends.items():
                line, consoles[pti] = rhizome(options, peer, [
                    "--kernel", str(folder / "kvm/vmlinuz"), "--initrd", str(image), "--append",
                    append])
                lines.append(line)
    rows = {}
    for pti, console in consoles.items():
        prefix = f"linux pti={pti} "
        rows |= boot_figure(console, prefix) | figures(console, prefix)
    return lines, rows


WORKS = {"mark": run_mark, "linux": run_linux}


def version(*line):
    """The first line that a program prints; empty without that program."""
    try:
        done = subprocess.run(line, capture_output=True, text=True)
    except OSError:
        return ""
    return done.stdout.strip().split("\n")[0]


def kernel_version(path):
    """What a bzImage says of itself [Linux Documentation, x86 boot protocol, kernel_version]."""
    image = pathlib.Path(path).read_bytes()
    at = int.from_bytes(image[0x20e:0x210], "little") + 0x200
    return image[at:image.index(b"\0", at)].decode()


def versions(options):
    packages = version("dpkg-query", "-W", "-f", "${Version}", "qemu-system-x86")
    kernel = kernel_version(f"{options.build}/guests/kvm/vmlinuz")
    return {"date": datetime.date.today().isoformat(), "qemu": version("qemu-system-x86_64",
                                                                       "--version"),
            "qemu package": packages, "kernel": kernel,
            "rhizome": version("git", "-C", str(ROOT), "describe", "--always", "--dirty")}


def ahead(row):
    """The largest factor by which KVM needs fewer instructions than we do, of both pairs."""
    factors = [row[ours] / max(row[theirs], 1) for theirs, ours in PAIRS
               if theirs in row and ours in row]
    return max(factors, default=0)


def ordered(figure):
    """(row, {peer: ticks}): those where KVM is ahead first, by how much, then as measured."""
    rows = {}
    for peer, by_row in figure.items():
        for name, ticks in by_row.items():
            rows.setdefault(name, {})[peer] = ticks
    names = list(rows)
    names.sort(key=lambda name: -ahead(rows[name]) if ahead(rows[name]) > 1 else 0)
    return [(name, rows[name]) for name in names]


def ratio(row, theirs, ours):
    both = theirs in row and ours in row
    return f"{row[theirs] / max(row[ours], 1):,.2f}" if both else "-"


def write_page(result, path):
    """The table as a page; the text around it is above the mark, and stays."""
    figure, mark = result["figures"], "<!-- what follows is written by bench/peers.py -->"
    peers = [peer for peer in PEERS if peer in figure]
    page = pathlib.Path(path).read_text().split(mark)[0] + mark + "\n\n"
    page += "".join(f"- {key}: {value}\n" for key, value in result["versions"].items())
    page += "\n| | " + " | ".join(peers + ["npt: KVM / ours", "shadow: KVM / ours", ""]) + " |\n"
    page += "|---" + "|---:" * (len(peers) + 2) + "|---|\n"
    for name, row in ordered(figure):
        cells = [f"{row[peer]:,}" if peer in row else "-" for peer in peers]
        cells += [ratio(row, *pair) for pair in PAIRS]
        cells.append("KVM is ahead" if ahead(row) > 1 else "")
        page += f"| `{name}` | " + " | ".join(cells) + " |\n"
    pathlib.Path(path).write_text(page)


def print_table(figure):
    peers = [peer for peer in PEERS if peer in figure]
    heads = peers + [f"{ours.split('-')[1]} ratio" for theirs, ours in PAIRS
                     if theirs in figure and ours in figure]
    width = max(len(name) for by_row in figure.values() for name in by_row) + 2
    print("emulated instructions for each operation; a ratio is KVM's by ours of the same kind\n")
    print(" " * width + "".join(f"{head:>16}" for head in heads))
    for name, row in ordered(figure):
        line = f"{name:{width}}"
        line += "".join(f"{row[peer]:>16,}" if peer in row else f"{'-':>16}" for peer in peers)
        for pair in PAIRS:
            if all(peer in figure for peer in pair):
                line += f"{ratio(row, *pair):>16}"
        print(line + ("   KVM is ahead" if ahead(row) > 1 else ""))


def options_of(arguments):
    options = argparse.ArgumentParser(usage=__doc__.split("usage: ")[1])
    options.add_argument("--build", default=str(ROOT / "build"))
    options.add_argument("--only", default=",".join(PEERS))
    options.add_argument("--work", default="mark")
    options.add_argument("--rows", default="")
    for name in "--json", "--page", "--from":
        options.add_argument(name)
    options = options.parse_args(arguments)
    options.build = os.path.abspath(options.build)
    options.peers, options.works = options.only.split(","), options.work.split(",")
    for given, known in (options.peers, PEERS), (options.works, WORKS):
        for name in given:
            if name not in known:
                sys.exit(f"bench/peers.py: {name}: one of {', '.join(known)}")
    return options


def measure(options):
    """Every peer at every work, one after the other."""
    fetch = subprocess.run([ROOT / "guests/fetch", "--kvm", f"{options.build}/guests/kvm"])
    if fetch.returncode:
        sys.exit(fetch.returncode)
    result = {"versions": versions(options), "unit": "emulated instructions", "figures": {},
              "commands": {}}
    for peer in (peer for peer in PEERS if peer in options.peers):
        figure = result["figures"].setdefault(peer, {})
        for work in options.works:
            print(f"{peer}: {work}", file=sys.stderr, flush=True)
            try:
                lines, rows = WORKS[work](options, peer)
            except PeerError as error:
                sys.exit(f"bench/peers.py: {error}")
            result["commands"].setdefault(peer, []).extend(lines)
            figure.update(rows)
    return result


def main():
    options = options_of(sys.argv[1:])
    earlier = vars(options)["from"]
    result = json.loads(pathlib.Path(earlier).read_text()) if earlier else measure(options)
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps(result, indent=1) + "\n")
    if options.page:
        write_page(result, options.page)
    print_table(result["figures"])


if __name__ == "__main__":
    main()
