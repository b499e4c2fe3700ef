#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Installs into an empty folder, then builds and runs examples/embed.c against that alone.

usage: install_test.py BUILD PREFIX LIBDIR
"""
import os
import pathlib
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "rules"))
import checks  # noqa: E402

BUILD, PREFIX, LIBDIR = sys.argv[1:]


def call(*command, **options):
    """Runs a command; its output, or SystemError with what it said."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          **options)
    if done.returncode:
        raise SystemError(f"{' '.join(command)}: status {done.returncode}\n{done.stdout}")
    return done.stdout


def installed(destination):
    """The folder of the prefix below a fresh DESTDIR, and the environment for pkg-config there."""
    environment = {**os.environ, "DESTDIR": destination}
    call("meson", "install", "-C", BUILD, "--no-rebuild", "--quiet", env=environment)
    environment["PKG_CONFIG_PATH"] = f"{destination}{PREFIX}/{LIBDIR}/pkgconfig"
    environment["PKG_CONFIG_SYSROOT_DIR"] = destination
    return pathlib.Path(destination + PREFIX), environment


def everything_is_there():
    """Headers, archives, pkg-config files, program, manual, hypervisor are there, no more."""
    with tempfile.TemporaryDirectory() as destination:
        prefix, _ = installed(destination)
        there = {p.relative_to(prefix).as_posix() for p in prefix.rglob("*") if p.is_file()}
        headers = {p.as_posix() for p in checks.files("include", suffixes={".h"})}
        wanted = headers | {f"{LIBDIR}/librhizome.a", f"{LIBDIR}/librhizome-freestanding.a",
                            f"{LIBDIR}/pkgconfig/rhizome.pc",
                            f"{LIBDIR}/pkgconfig/rhizome-freestanding.pc"}
        wanted |= {"bin/rhizome", "share/man/man1/rhizome.1",
                   "share/bash-completion/completions/rhizome", f"{LIBDIR}/rhizome/rhizome.elf"}
        yield from (f"missing: {name}" for name in sorted(wanted - there))
        yield from (f"not wanted: {name}" for name in sorted(there - wanted))


def example_builds_and_runs():
    """examples/embed.c, of at most 150 lines, builds by pkg-config alone and runs."""
    source = checks.ROOT / "examples/embed.c"
    lines = len(source.read_text().splitlines())
    if lines > 150:
        yield f"{source}: {lines} lines"
    for package in ("rhizome", "rhizome-freestanding"):
        with tempfile.TemporaryDirectory() as destination:
            _, environment = installed(destination)
            try:
                flags = call("pkg-config", "--cflags", "--libs", package, env=environment).split()
                program = f"{destination}/embed"
                call("gcc", "-std=c11", "-Wall", "-Wextra", "-Werror", "-no-pie", str(source),
                     "-o", program, *flags)
                output = call(program)
            except SystemError as error:
                yield str(error)
                continue
            if "current reused" not in output:
                yield f"{program} does not tell its statistics:\n{output}"


if __name__ == "__main__":
    checks.run([everything_is_there, example_builds_and_runs])
