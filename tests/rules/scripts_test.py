#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The scripts tell the truth: what the runner counts, what set-up does when packages lack, what
the benchmarks count, what a soak has done, what the checks see.

usage: scripts_test.py PROBE      (a benchmark of operations whose cost is known)
"""
import importlib.machinery
import importlib.util
import os
import pathlib
import subprocess
import sys
import tempfile

import checks
import source_test
import stack_test

PROBE = sys.argv[1]


def load(path):
    """A script without the suffix .py, as a module."""
    sys.path.insert(0, str((checks.ROOT / path).parent)) # where it finds modules when it runs
    loader = importlib.machinery.SourceFileLoader("script", str(checks.ROOT / path))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("script", loader))
    loader.exec_module(module)
    return module


def runner_counts():
    """tests/run counts passes, failures and skips, and takes silence and crashes for failures."""
    count = load("tests/run").count
    tap = "1..3\nok 1 - a\nnot ok 2 - b\nbecause\nnot ok 3 # SKIP c\n"
    for output, status, wanted in (
            ("4 passed, 0 failed\n", 0, (4, 0, 0)),
            ("noise\n4 passed, 2 failed, 1 skipped\n", 1, (4, 2, 1)),
            ("4 passed, 0 failed\n", 1, (4, 1, 0)),
            ("4 passed, 0 failed\nSegmentation fault\n", -11, (0, 1, 0)),
            ("", 0, (0, 1, 0)),
            ("0 passed, 0 failed\n", 0, (0, 1, 0)),
            ("1..2\nok 1 - a\n", 0, (1, 1, 0)),
            ("1..2\nok 1 - a\nok 2 - b\n", 0, (2, 0, 0)),
            ("1..1\nok 1 - a\n1..1\nok 1 - a\n", 0, (2, 0, 0)),
            (tap, 1, (1, 1, 1))):
        if count(output, status)[:3] != wanted:
            yield f"{output!r}, {status}: {count(output, status)[:3]}, not {wanted}"
    if count(tap, 1)[3] != ["skip:  c: because"]:
        yield f"a skip does not say why: {count(tap, 1)[3]}"


def setup(dpkg, apt, root):
    """Status, output and apt-get's calls of scripts/setup on a machine made of stubs."""
    with tempfile.TemporaryDirectory() as folder:
        log = f"{folder}/log"
        stubs = {"dpkg-query": dpkg, "apt-get": f'echo "$*" >>{log}; {apt}',
                 "id": f"echo {0 if root else 1000}"}
        for name, body in stubs.items():
            with open(f"{folder}/{name}", "w") as file:
                file.write(f"#!/bin/sh\n{body}\n")
            os.chmod(f"{folder}/{name}", 0o755)
        os.symlink("/usr/bin/env", f"{folder}/env")
        done = subprocess.run(["/bin/sh", str(checks.ROOT / "scripts/setup")],
                              env={"PATH": folder}, capture_output=True, text=True)
        calls = open(log).read().splitlines() if os.path.exists(log) else []
    return done.returncode, done.stderr, calls


def setup_installs():
    """scripts/setup is silent when all is there, installs what lacks, else says so in one line."""
    # dpkg-query's arguments are: -W -f FORMAT PACKAGE...
    all_there = 'shift 3; for p; do printf "%s=installed " $p; done'
    no_clang = 'shift 3; for p; do [ $p = clang ] || printf "%s=installed " $p; done'
    if setup(all_there, "", True) != (0, "", []):
        yield "does something though all is there"
    status, _, calls = setup(no_clang, "", True)
    if status or len(calls) != 1 or not calls[0].endswith("install --no-install-recommends clang"):
        yield f"one package lacks: status {status}, {calls}"
    status, error, calls = setup(no_clang, "exit 100", True)
    if status != 2 or len(error.splitlines()) != 1 or "clang" not in error or len(calls) != 2:
        yield f"apt-get fails: status {status}, {error!r}, {calls}"
    status, error, calls = setup(no_clang, "", False)
    if status != 2 or len(error.splitlines()) != 1 or calls:
        yield f"neither root nor sudo: status {status}, {error!r}, {calls}"


def bench_counts():
    """scripts/bench counts the instructions of operations of known cost exactly."""
    rows = list(load("scripts/bench").measure(PROBE))
    for (row, value, unit, _), (wanted, wanted_unit) in zip(rows, (
            (10, "instructions"), (10, "instructions"), ((12, 20), "instructions"),
            (42, "bytes")), strict=True):
        low, high = wanted if isinstance(wanted, tuple) else (wanted, wanted)
        if not low <= value <= high or unit != wanted_unit:
            yield f"{row['op']}: {value} {unit}, not {wanted} {wanted_unit}"


def soak(arguments, ends=""):
    """Status and output of scripts/soak with programs that say what was asked of them."""
    programs = {"property": '[ "$1" = --modes ] && echo "a\nb" && exit\n'
                            f'[ "$2$4" = {ends or "-"} ] && echo FAILED: apart && exit 1\n'
                            'echo "mode $2   $6 steps in    3 worlds, 500 steps/s"\n',
                "small": '[ "$1" = --help ] && echo "                w-1" && exit\n'
                         'echo "world $3    depth 4:  70 states,  900 events,  1.0 s"\n'}
    with tempfile.TemporaryDirectory() as folder:
        os.mkdir(f"{folder}/tests")
        for name, body in programs.items():
            with open(f"{folder}/tests/{name}", "w") as file:
                file.write(f"#!/bin/sh\n{body}")
            os.chmod(f"{folder}/tests/{name}", 0o755)
        done = subprocess.run([str(checks.ROOT / "scripts/soak"), *arguments, folder],
                              capture_output=True, text=True)
        if open(f"{folder}/soak.txt").read() != done.stdout:
            return done.returncode, f"the log differs from: {done.stdout}"
    return done.returncode, done.stdout


def soak_adds_up():
    """scripts/soak does the steps it was told, adds up, and tells where something failed."""
    status, output = soak(["--seed", "5", "--steps", "500000"])
    for wanted in ("commit", "seed 5", "no divergence in 500,000 steps, 18 worlds of 2 modes",
                   "(500 steps/s per core), 70 states and 900 events of 1 small worlds",
                   "mode b: 250,000 steps in 9 worlds", "world w-1 to depth 4: 70 states"):
        if status or wanted not in output:
            yield f"status {status}, not '{wanted}': {output}"
    status, output = soak(["--seed", "5", "--steps", "500000", "--no-small"], "b7")
    for wanted in ("A DIVERGENCE in", "FAILED: apart", "--mode b --seed 7 --steps 50000"):
        if status != 1 or wanted not in output:
            yield f"status {status}, not '{wanted}': {output}"


def fuzz_tells():
    """scripts/fuzz says what a target did; what one found, how to see it again, in its status."""
    fine = "echo 'stat::number_of_executed_units: 1234'; echo '#9 DONE cov: 5 ft: 6 corp: 1'"
    found = "echo 'WRONG: x.c:1: it is so'; echo 'Test unit written to /there/crash-1'; exit 77"
    for body, status, wanted in (
            (fine, 0, "walk: 1,234 executions, 5 edges and 6 features covered, 0 inputs new\n"),
            (found, 1, "FOUND walk: 0 executions, 0 inputs new\n  WRONG: x.c:1: it is so\n"
                       "  again: {0}/tests/fuzz/fuzz_walk /there/crash-1\n")):
        with tempfile.TemporaryDirectory() as build:
            program = pathlib.Path(build) / "tests/fuzz/fuzz_walk"
            program.parent.mkdir(parents=True)
            program.write_text(f"#!/bin/sh\n{body}\n")
            program.chmod(0o755)
            done = subprocess.run([checks.ROOT / "scripts/fuzz", build, "1", "walk"],
                                  capture_output=True, text=True)
            if (done.returncode, done.stdout) != (status, wanted.format(build)):
                yield f"status {done.returncode}, {done.stdout!r}, {done.stderr!r}"


def long_functions_are_found():
    """The check of function lengths sees functions, and sees them whole."""
    text = ("struct s {\n\tint a;\n};\n\n/* One. */\nstatic int\nf(int a,\n  int b)\n{\n"
            "\tif (a) {\n\t}\n\treturn b;\n}\nint g(void) {\n\treturn 1;\n}\n"
            "static const int t[] = {\n\t1,\n};\n")
    found = list(source_test.functions(text))
    if found != [(6, "f", 8), (14, "g", 3)]:
        yield str(found)


def bare_functions_are_found():
    """The check of comments sees a public function without one."""
    text = ("/* Makes. */\nint rhz_a(int x,\n          int y);\nint rhz_b(void);\n\n"
            "int rhz_c(void);\n/* Not before. */\n")
    found = list(source_test.undocumented(text))
    if found != [(6, "rhz_c")]:
        yield str(found)


def recursion_is_seen():
    """The check of the stack sees functions that call each other, also through a pointer."""
    text = ("int g(int); int h(int n) { return n; } int (*p)(int);\n"
            "int f(int n) { return n ? g(n - 1) + 1 : p(n); }\n"
            "int g(int n) { return f(n) + 1; } void s(void) { p = h; }\n")
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["gcc", "-x", "c", "-O0", "-fno-pic", "-c", "-", "-o", f"{folder}/x.o"],
                       input=text, text=True, check=True)
        code = stack_test.Code(f"{folder}/x.o")
    told = list(code.connect([]))
    cycles = [sorted(code.names[p] for p in cycle) for cycle in code.cycles()]
    if cycles != [["f", "g"]] or len(told) != 1 or not told[0].startswith("h:"):
        yield f"{cycles}, {told}"
    list(code.connect([{"h": "g"}]))
    code.calls[code.places["h"]].add(code.places["f"])
    if [len(cycle) for cycle in code.cycles()] != [3]:
        yield "a way through a pointer is not followed"


def arrows_are_seen():
    """The check of arrows refuses what it should and nothing else."""
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        for name in ("include/rhizome/a.h", "lib/core/b.h", "lib/shadow/c.h", "lib/direct/d.h",
                     "lab/e.h", "tests/model/f.h"):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text("")
        for path, line, wanted in (
                ("lib/shadow/x.c", '"core/b.h"', True),
                ("lib/shadow/x.c", '"c.h"', True),
                ("lib/shadow/x.c", "<rhizome/a.h>", True),
                ("lib/shadow/x.c", '"direct/d.h"', False),
                ("lib/core/x.c", '"../shadow/c.h"', False),
                ("lib/core/x.c", "<string.h>", False),
                ("lib/core/x.c", '"lab/e.h"', False),
                ("include/rhizome/x.h", '"core/b.h"', False),
                ("lab/x.c", '"core/b.h"', False),
                ("lab/x.c", "<stdio.h>", True),
                ("tests/model/x.c", "<rhizome/a.h>", False),
                ("tests/model/x.c", '"f.h"', True),
                ("tests/unit/x.c", '"core/b.h"', True)):
            file = root / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f"#include {line}\n")
            (_, name, target), = source_test.includes(pathlib.Path(path), root)
            if source_test.allowed(pathlib.Path(path), name, target) != wanted:
                yield f"{path} includes {line}: should be {'allowed' if wanted else 'refused'}"


if __name__ == "__main__":
    checks.run([runner_counts, setup_installs, bench_counts, soak_adds_up, fuzz_tells,
                long_functions_are_found, bare_functions_are_found, recursion_is_seen,
                arrows_are_seen])
