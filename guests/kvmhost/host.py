#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Boots a KVM host under QEMU TCG, runs a script in it, and brings back what that left in /out.
The script and further files are in /work; /guest/vmlinuz is a kernel for guests.

usage: host.py FOLDER SCRIPT OUT [--npt N] [--append WORDS] [--icount] [--plugin FILE,WORD=…]
               [--memory MIB] [--cpus N] [--timeout S] [--file NAME=PATH]… [--program NAME=PATH]…
       FOLDER has been filled by guests/fetch --kvm; OUT is a folder for the results.
"""
import argparse
import pathlib
import stat
import subprocess
import sys
import tarfile
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import tree  # noqa: E402 (its folder is named one line above)

DISK_MIB = 512  # sparse: what comes back may be that large


class HostError(Exception):
    """The host did not boot or did not end; the text ends with its console."""


def work(script, files=(), programs=()):
    """The archive that is laid over the host's own: files for /work, programs with their libraries
    for /bin. files and programs are pairs of name and path."""
    overlay = tree.Tree()
    overlay.add("work/run", stat.S_IFREG | 0o755, script.encode())
    for name, path in files:
        overlay.copy(path, f"work/{name}")
    for name, path in programs:
        overlay.program(path, f"bin/{name}")
    return overlay.archive()


def command(folder, initrd, disk, options):
    """QEMU's command line."""
    append = f"console=ttyS0 quiet panic=-1 npt={options.npt} {options.append}"
    line = ["qemu-system-x86_64", "-accel", "tcg", "-cpu", "max,+svm", "-m", f"{options.memory}M",
            "-smp", str(options.cpus), "-display", "none", "-nic", "none", "-no-reboot",
            "-serial", "stdio", "-monitor", "none", "-kernel", str(folder / "vmlinuz"),
            "-initrd", str(initrd), "-append", append.strip(),
            "-drive", f"file={disk},if=virtio,format=raw,cache=unsafe"]
    if options.icount:
        line += ["-icount", "shift=0,sleep=off"]
    if options.plugin:
        line += ["-plugin", options.plugin]
    return line


def run(folder, script, out, options=None, files=(), programs=()):
    """Runs script (text) on a host of its own; /out is in the folder out afterwards. Returns the
    console's text. Raises HostError when the machine does not come to its end."""
    options = options or defaults()
    folder = pathlib.Path(folder)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        initrd, disk = pathlib.Path(scratch, "initrd"), pathlib.Path(scratch, "disk")
        with open(initrd, "wb") as target:
            target.write((folder / "host.cpio").read_bytes())
            target.write(work(script, files, programs))
        with open(disk, "wb") as target:
            target.truncate(DISK_MIB << 20)
        line = command(folder, initrd, disk, options)
        done = subprocess.run(["timeout", "-k", "5", str(options.timeout), *line],
                              stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              errors="replace")
        console = done.stdout.replace("\r", "") + done.stderr
        if done.returncode != 0:
            raise HostError(f"QEMU's status is {done.returncode} (124: {options.timeout} s are "
                            f"over)\n{console}")
        try:
            with tarfile.open(disk, "r|", errorlevel=1) as tar:
                tar.extractall(out)
        except tarfile.TarError as error:
            raise HostError(f"the host's disk holds no results ({error})\n{console}") from error
    return console


def parser():
    options = argparse.ArgumentParser(usage=__doc__.split("usage: ")[1], add_help=True)
    options.add_argument("--npt", type=int, default=1, choices=(0, 1))
    options.add_argument("--append", default="")
    options.add_argument("--icount", action="store_true")
    options.add_argument("--plugin", default="", help="a TCG plugin with its arguments")
    options.add_argument("--memory", type=int, default=2048)
    options.add_argument("--cpus", type=int, default=1)
    options.add_argument("--timeout", type=int, default=300)
    return options


def defaults(**changes):
    """Options as the command line would give them."""
    options = parser().parse_args([])
    for name, value in changes.items():
        setattr(options, name, value)
    return options


def main():
    options = parser()
    options.add_argument("folder")
    options.add_argument("script")
    options.add_argument("out")
    for kind in "--file", "--program":
        options.add_argument(kind, action="append", default=[],
                             type=lambda text: tuple(text.split("=", 1)))
    options = options.parse_args()
    try:
        console = run(options.folder, pathlib.Path(options.script).read_text(), options.out,
                      options, options.file, options.program)
    except HostError as error:
        sys.exit(f"host.py: {error}")
    print(console, end="")


if __name__ == "__main__":
    main()
