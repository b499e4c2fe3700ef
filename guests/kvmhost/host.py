#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Boots a KVM host under QEMU TCG, runs a script in it, and brings back what that left in /out.
The script and further files are in /work; /guest/vmlinuz is a kernel for guests.

usage: host.py FOLDER SCRIPT OUT [--npt N] [--append WORDS] [--icount] [--plugin FILE,WORD=…]
               [--memory MIB] [--cpus N] [--timeout S] [--silence S] [--file NAME=PATH]…
               [--program NAME=PATH]…
       FOLDER has been filled by guests/fetch --kvm; OUT is a folder for the results.
"""
import argparse
import pathlib
import re
import socket
import stat
import subprocess
import sys
import tarfile
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import tree  # noqa: E402 (its folder is named one line above)

DISK_MIB = 512  # sparse: what comes back may be that large


class HostError(Exception):
    """The host did not boot or did not end; the text ends with its console."""


class HostHung(HostError):
    """It did not end in time, or said nothing for too long; the text begins with where it was."""


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


def command(folder, initrd, disk, options, monitor="none"):
    """QEMU's command line."""
    append = f"console=ttyS0 quiet panic=-1 unknown_nmi_panic npt={options.npt} {options.append}"
    line = ["qemu-system-x86_64", "-accel", "tcg", "-cpu", "max,+svm", "-m", f"{options.memory}M",
            "-smp", str(options.cpus), "-display", "none", "-nic", "none", "-no-reboot",
            "-serial", "stdio", "-monitor", monitor, "-kernel", str(folder / "vmlinuz"),
            "-initrd", str(initrd), "-append", append.strip(),
            "-drive", f"file={disk},if=virtio,format=raw,cache=unsafe"]
    if options.icount:
        line += ["-icount", "shift=0,sleep=off"]
    if options.plugin:
        line += ["-plugin", options.plugin]
    return line


def ends(process, console, options):
    """Waits for the end of it. Why it was given up, if it was."""
    began = heard = time.monotonic()
    size = 0
    while True:
        try:
            process.wait(timeout=0.2)
            return None
        except subprocess.TimeoutExpired:
            now = time.monotonic()
        if console.stat().st_size > size:
            size, heard = console.stat().st_size, now
        if now - began > options.timeout:
            return f"did not end within {options.timeout} s"
        if options.silence and now - heard > options.silence:
            return f"said nothing for {options.silence} s"


def where(monitor):
    """What the machine's processor and its interrupt controllers are at, as QEMU's monitor says.
    The last word is an NMI: Linux, if it still hears it, says on the console where it was."""
    seen = ""
    try:
        with socket.socket(socket.AF_UNIX) as line:
            line.settimeout(2)
            line.connect(str(monitor))
            for asked in [*3 * ["info registers"], "info lapic", "info pic", "nmi"]:
                line.sendall(f"{asked}\n".encode())
                time.sleep(0.5)
                seen += line.recv(1 << 16).decode(errors="replace")
            time.sleep(3)
    except OSError as error:
        seen += f"({error})"
    return "\n".join(re.findall(r"^(?:RIP|CR0|LVTT\s|Timer|ISR|IRR|pic).*", seen, re.M))


def emulate(folder, initrd, disk, options):
    """Runs QEMU. Returns the console's text; raises HostError."""
    console, monitor = initrd.with_name("console"), initrd.with_name("monitor")
    line = command(folder, initrd, disk, options, f"unix:{monitor},server=on,wait=off")
    with open(console, "wb") as target:
        process = subprocess.Popen(["timeout", "-k", "5", str(options.timeout + 60), *line],
                                   stdin=subprocess.DEVNULL, stdout=target,
                                   stderr=subprocess.STDOUT)
        try:
            failure = ends(process, console, options)
            state = where(monitor) if failure else ""
        finally:
            process.terminate()
            process.wait()
    text = console.read_text(errors="replace").replace("\r", "")
    if failure:
        raise HostHung(f"the host {failure}\n{state}\n{text}")
    if process.returncode:
        raise HostError(f"QEMU's status is {process.returncode}\n{text}")
    return text


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
        console = emulate(folder, initrd, disk, options)
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
    options.add_argument("--silence", type=int, default=0, help="0: it may be silent")
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
