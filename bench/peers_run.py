# SPDX-License-Identifier: MIT
"""The five systems, and work on them: bare, Linux' KVM and Rhizome, all under QEMU TCG with
-icount shift=0,sleep=off. A job is one boot of one system with one work; it returns its command
lines and a dictionary of rows. What is made of the figures is in peers_show.py."""
import json
import pathlib
import stat
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "guests/kvmhost"), str(ROOT / "guests/initramfs")]
import build as initramfs  # noqa: E402 (their folders are named one line above)
import host  # noqa: E402
import tree  # noqa: E402

PEERS = ("bare", "kvm-npt", "kvm-shadow", "rhizome-npt", "rhizome-shadow")
RHIZOME = {"bare": ["--bare"], "rhizome-npt": ["--paging", "nested"],
           "rhizome-shadow": ["--paging", "shadow"]}
LIMIT = 1500  # seconds for one boot; on an idle machine none takes 200
GUEST_LIMIT = 600  # of the KVM host's own: a guest that waits for ever is over at once
MEMORY_MIB, HOST_MEMORY_MIB = 512, 2048
L1_MEMORY_MIB, L2_MEMORY_MIB = 1024, 256
LINUX_APPEND = "console=ttyS0 quiet panic=-1"  # mitigations=off would undo pti=on
OPERATIONS = {"switchmark": 4096, "forkmark": 256}  # at least, in all rounds of one mark
LINUX_WORK = "; ".join(
    [f"{mark} {processes} {OPERATIONS[mark] // processes}"
     for mark, sizes in (("switchmark", (2, 4, 8, 16)), ("forkmark", (1, 8, 32)))
     for processes in sizes] + ["faultmark 256 32"])
# A mark's number in bench/window_plugin.c's file [guests/initramfs/marks.h].
ENTRY, BEGIN, END, SHELL = range(4)
ENTRY_BYTES = 16
ENTRY_64 = 0x200  # behind the 32-bit entry [Linux Documentation, x86 boot protocol, 64-bit]
# KVM refuses the entry to a guest's guest that turns to five levels while npt=0: no5lvl.
L1_SCRIPT = f"""#!/bin/sh
/work/vmm --memory {L2_MEMORY_MIB} --kernel /guest/vmlinuz --initrd /guest/initramfs \\
	--append "{LINUX_APPEND} no5lvl reboot=k rhizome.end=reboot rhizome.run=true" </dev/null
"""
NO_NPT_BELOW = "KVM without nested paging offers its guest none"


class PeerError(Exception):
    """A peer that did not do its work; the text has its console."""


def kernel(options):
    return pathlib.Path(options.build, "guests/kvm/vmlinuz")


def kernel_entry(path):
    """The first bytes of a bzImage's 64-bit entry [Linux Documentation, x86 boot protocol]."""
    image = path.read_bytes()
    at = (image[0x1f1] + 1) * 512 + ENTRY_64
    return image[at:at + ENTRY_BYTES].hex()


def plugin(options, scratch):
    """(the plugin as QEMU's argument, the file that it writes)."""
    out = pathlib.Path(scratch, "windows")
    return (f"{options.build}/bench/window.so,entry={kernel_entry(kernel(options))},out={out}", out)


def rhizome(options, peer, arguments, memory=MEMORY_MIB, counted=True):
    """One run of the program, bare or on the hypervisor; returns (its command line, console, marks
    that the plugin saw, if it is counted)."""
    with tempfile.TemporaryDirectory() as scratch:
        loaded, out = plugin(options, scratch)
        line = [f"{options.build}/lab/rhizome", "run", "--icount", *RHIZOME[peer], "--memory",
                str(memory), "--timeout", str(LIMIT), *arguments]
        line += ["--", "-plugin", loaded] if counted else []
        done = subprocess.run(line, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              errors="replace")
        console = done.stdout.replace("\r", "")
        if done.returncode not in (0, 1):  # 1: a Multiboot guest left with 0 by isa-debug-exit
            raise PeerError(f"{peer}: status {done.returncode}\n{console}{done.stderr}")
        return line, console, read_marks(out) if counted else []


def kvm(options, peer, arguments, files=(), memory=MEMORY_MIB, counted=True):
    """One guest on a KVM host; arguments are QEMU's further ones in the host's shell. Returns (the
    host's command line and script, the guest's console, marks)."""
    script = (f"#!/bin/sh\ntimeout -s KILL {GUEST_LIMIT} qemu-system-x86_64 -accel kvm -cpu host"
              f" -m {memory} -display none -nic none -monitor none -no-reboot"
              f" -serial file:/out/console -device isa-debug-exit,iobase=0xf4,iosize=4 {arguments}"
              " </dev/null\necho $? >/out/ended\n")
    with tempfile.TemporaryDirectory() as out:
        loaded, windows = plugin(options, out)
        flags = host.defaults(npt=int(peer == "kvm-npt"), icount=True, append="mitigations=off",
                              timeout=LIMIT, memory=HOST_MEMORY_MIB,
                              plugin=loaded if counted else "")
        try:
            about = host.run(f"{options.build}/guests/kvm", script, out, flags, files)
        except host.HostError as error:
            raise PeerError(f"{peer}: {error}") from error
        status = pathlib.Path(out, "ended").read_text().strip()
        console = pathlib.Path(out, "console").read_text(errors="replace").replace("\r", "")
        if status not in ("0", "1"):
            raise PeerError(f"{peer}: QEMU in the host ended with {status} (137: {GUEST_LIMIT} s of"
                            f" its time are over)\n{about}{console}")
        marks = read_marks(windows) if counted else []
    line = host.command(pathlib.Path(options.build, "guests/kvm"), "INITRD", "DISK", flags)
    return line + [script], console, marks


def read_marks(path):
    """[(number, instructions, those of guests, exits)] as bench/window_plugin.c writes them."""
    if not path.exists():
        raise PeerError("QEMU did not load the plugin that counts")
    return [tuple(map(int, line.split())) for line in path.read_text().splitlines()]


def window(begin, end, operations=1):
    """What ran between two marks, each operation's share; a machine without a hypervisor has no
    instructions of guests."""
    total, guest, exits = (end[i] - begin[i] for i in (1, 2, 3))
    row = {"total": round(total / operations), "instructions": total, "operations": operations}
    if guest:
        row |= {"hypervisor": round((total - guest) / operations),
                "exits": round(exits / operations, 3)}
    return row


def parsed(console):
    """The lines of JSON that marks print."""
    return [json.loads(line) for line in console.splitlines() if line.startswith("{")]


def row_name(mark):
    name = mark["op"]
    for key, value in mark.items():
        if key == "npt":
            name += f" npt={value}"
        elif key not in ("op", "ticks", "ops", "operations", "skip"):
            name += f" {value}"
    return name


def run_mark(options, peer):
    """The rows of guests/mark: its own ticks, which are instructions, as it never waits."""
    append = f"rows={options.rows}" if options.rows else ""
    guest = f"{options.build}/guests/mark.elf"
    if peer.startswith("kvm"):
        line, console, _ = kvm(options, peer, f'-kernel mark.elf -append "{append}"',
                               [("mark.elf", guest)], counted=False)
    else:
        line, console, _ = rhizome(options, peer, ["--multiboot", guest, "--append", append],
                                   counted=False)
    rows = {}
    for mark in parsed(console):
        if "skip" in mark:
            rows[row_name(mark)] = {"skip": mark["skip"]}
        elif "ticks" in mark:
            rows[row_name(mark)] = {"total": mark["ticks"]}
        else:
            raise PeerError(f"{peer}: a mark says {mark}\n{console}")
    if not rows:
        raise PeerError(f"{peer}: no row\n{console}")
    return [line], rows


def boot_row(peer, marks, console):
    """From the last kernel's entry before the shell, which is the innermost one's, to the shell."""
    shells = [i for i, mark in enumerate(marks) if mark[0] == SHELL]
    entries = [mark for mark in marks[:shells[0]] if mark[0] == ENTRY] if shells else []
    if not entries:
        raise PeerError(f"{peer}: Linux came to no shell\n{console}")
    return window(entries[-1], marks[shells[0]])


def run_linux(options, peer, pti):
    """Debian's Linux: its boot, and processes in it."""
    append = f'{LINUX_APPEND} pti={pti} rhizome.run="{LINUX_WORK}"'
    if peer.startswith("kvm"):
        line, console, marks = kvm(options, peer, "-kernel /guest/vmlinuz -initrd /guest/initramfs"
                                   f" -append '{append}'")
    else:
        folder = pathlib.Path(options.build, "guests")
        with tempfile.NamedTemporaryFile() as image:
            image.write(initramfs.archive(folder / "kvm/busybox", folder / "marks"))
            image.flush()
            line, console, marks = rhizome(options, peer, [
                "--kernel", str(kernel(options)), "--initrd", image.name, "--append", append])
    rows = {f"linux pti={pti} boot": boot_row(peer, marks, console)}
    begins, ends = ([mark for mark in marks if mark[0] == number] for number in (BEGIN, END))
    said = parsed(console)
    if not len(said) == len(begins) == len(ends) == len(LINUX_WORK.split(";")):
        raise PeerError(f"{peer}: a mark did not end\n{console}")
    for mark, begin, end in zip(said, begins, ends):
        rows[f"linux pti={pti} {row_name(mark)}"] = window(begin, end, mark["operations"])
    return [line], rows


def l1_image(options):
    """The initramfs of a Linux that is itself a KVM host, with guests/vmm for its guest."""
    folder = pathlib.Path(options.build, "guests")
    image = tree.base(folder / "kvm/busybox", folder / "marks")
    image.add("work/run", stat.S_IFREG | 0o755, L1_SCRIPT.encode())
    image.copy(folder / "vmm", "work/vmm")
    return image.archive()


def run_l2(options, peer, npt):
    """Debian's Linux as a guest of Debian's Linux as a guest; npt is the inner KVM's."""
    name = f"l2 boot npt={npt}"
    if peer == "kvm-shadow" and npt:
        return [], {name: {"skip": NO_NPT_BELOW}}
    append = f"{LINUX_APPEND} mitigations=off npt={npt}"
    with tempfile.NamedTemporaryFile() as image:
        image.write(l1_image(options))
        image.flush()
        if peer.startswith("kvm"):
            line, console, marks = kvm(
                options, peer, f"-kernel /guest/vmlinuz -initrd l1 -append '{append}'",
                [("l1", image.name)], L1_MEMORY_MIB)
        else:
            line, console, marks = rhizome(options, peer, [
                "--kernel", str(kernel(options)), "--initrd", image.name, "--append", append],
                L1_MEMORY_MIB)
    if "rhizome guest: status 0" not in console:
        raise PeerError(f"{peer}: L2 did not end\n{console}")
    return [line], {name: boot_row(peer, marks, console)}


# Each work's jobs: what is told to the function besides options and peer.
WORKS = {"mark": (run_mark, ((),)), "linux": (run_linux, (("off",), ("on",))),
         "l2": (run_l2, ((1,), (0,)))}
