#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Builds host.cpio, the initramfs of a KVM host: busybox, the modules of KVM and of a virtio disk,
this machine's QEMU with the libraries that it links and its firmware, kernel and initramfs for
guests, and the init beside this script. Not packed: unpacking costs an emulated machine more than
reading. vmlinuz and modules/ are where busybox is (guests/fetch --kvm).

usage: tree.py OUTPUT BUSYBOX [MARKS]
"""
import pathlib
import re
import shutil
import stat
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "initramfs"))
import build as initramfs  # noqa: E402 (its folder is named one line above)

QEMU = "qemu-system-x86_64"
MODULES = ("kvm-amd", "virtio_pci", "virtio_blk")
FIRMWARE = ("seabios/bios-256k.bin", "qemu/linuxboot_dma.bin", "qemu/multiboot_dma.bin",
            "qemu/kvmvapic.bin", "seabios/vgabios-stdvga.bin")


class Tree:
    """The files of an archive by name; parent folders come by themselves."""

    def __init__(self):
        self.files = {}

    def add(self, name, mode, data=b""):
        name = name.lstrip("/")
        for parent in reversed(pathlib.PurePath(name).parents):
            if str(parent) != ".":
                self.files.setdefault(str(parent), (stat.S_IFDIR | 0o755, b""))
        self.files[name] = (mode, data)

    def copy(self, path, name=None):
        """A file of this machine, links followed."""
        path = pathlib.Path(path)
        mode = stat.S_IFREG | (path.stat().st_mode & 0o777)
        self.add(name or str(path), mode, path.read_bytes())

    def program(self, path, name):
        """A program with the libraries that it links, where the loader looks for them."""
        self.copy(path, name)
        for library in libraries(path):
            self.copy(library)

    def archive(self):
        """The bytes of a cpio archive."""
        records = [initramfs.record(i, name, mode, data)
                   for i, (name, (mode, data)) in enumerate(self.files.items(), 1)]
        return b"".join(records) + initramfs.record(0, "TRAILER!!!", 0)


def libraries(program):
    """Paths of the shared libraries that the loader would map for a program."""
    done = subprocess.run(["ldd", program], capture_output=True, text=True)
    if "not found" in done.stdout:
        sys.exit(f"tree.py: {program} lacks a library:\n{done.stdout}")
    return re.findall(r"(/\S+) \(0x", done.stdout)


def module_order(folder, wanted):
    """The wanted modules after those that they depend on, as paths."""
    paths = {path.stem.replace("-", "_"): path for path in folder.rglob("*.ko")}
    order = []

    def visit(name):
        path = paths.get(name.replace("-", "_"))
        if path is None:
            sys.exit(f"tree.py: no module {name} in {folder}")
        if path in order:
            return
        depends = re.search(rb"\0depends=([^\0]*)\0", path.read_bytes())
        for other in depends[1].decode().split(",") if depends and depends[1] else ():
            visit(other)
        order.append(path)

    for name in wanted:
        visit(name)
    return order


def build(busybox, marks):
    """The host's archive; modules/ and vmlinuz are beside busybox."""
    tree = base(busybox, marks)
    qemu = shutil.which(QEMU)
    if not qemu:
        sys.exit(f"tree.py: no {QEMU} (package qemu-system-x86)")
    tree.program(qemu, f"usr/bin/{QEMU}")
    for name in FIRMWARE:
        tree.copy(f"/usr/share/{name}")
    return tree.archive()


def base(busybox, marks):
    """The host without QEMU."""
    folder = pathlib.Path(busybox).parent
    tree = Tree()
    for name in ("dev", "proc", "sys", "tmp", "out"):
        tree.add(name, stat.S_IFDIR | 0o755)
    tree.copy(HERE / "init", "init")
    tree.copy(HERE / "nested", "bin/nested")
    for name, mode, data in initramfs.shell(busybox):
        tree.add(name, mode, data)
    order = module_order(folder / "modules", MODULES)
    for path in order:
        tree.copy(path, f"modules/{path.name}")
    tree.add("modules/order", stat.S_IFREG | 0o644,
             "".join(f"{path.name}\n" for path in order).encode())
    tree.copy(folder / "vmlinuz", "guest/vmlinuz")
    tree.add("guest/initramfs", stat.S_IFREG | 0o644, initramfs.archive(busybox, marks))
    return tree


def main(arguments):
    if len(arguments) not in (2, 3):
        sys.exit(__doc__)
    output, busybox, *marks = arguments
    pathlib.Path(output).write_bytes(build(busybox, *(marks or [None])))


if __name__ == "__main__":
    main(sys.argv[1:])
