#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Breaks the library in one place at a time and sees that a test notices.

A mutant is one change of one file (see read.py). Its library is made by compiling what the file
concerns, linked as a shared one, and put under the test programs of a build directory. They run
in the order most likely to kill: the tests of its room, short random runs, then all the others.
Where a mutant names regression tests, each of those must fail too.

usage: run.py [--sample] [--only WORD]... [--all] [--keep] BUILD
  --sample     only those marked so
  --only WORD  those of this name, class or file; more than once: any of them
  --all        all tests, though one has killed it: tells which do
  --keep       leaves the mutants' libraries in BUILD/mutants
"""
import argparse
import concurrent.futures
import hashlib
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time

import read

CC = os.environ.get("MUTANTS_CC", "gcc")
FLAGS = ["-std=gnu11", "-O1", "-w", "-fPIC", "-fno-semantic-interposition", "-g0"]
# A test that includes the library's own headers has their inline functions in itself.
INTERNAL = re.compile(r'#include "(format|guest|core|root|shadow|direct|nested|api)/')
MODES = ("4", "pae", "32", "5", "mixed", "npt", "ept", "none")
NESTED_MODES = ("nnpt", "nept", "nsvm", "l2")
ENVIRONMENT = {**os.environ, "CCACHE_DISABLE": "1", "CMOCKA_MESSAGE_OUTPUT": "TAP"}


def command(words, **more):
    return subprocess.run([str(w) for w in words], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          errors="replace", **more)


def must(words):
    done = command(words, env=ENVIRONMENT)
    if done.returncode:
        raise RuntimeError(f"{' '.join(str(w) for w in words)}\n{done.stdout}")


class Base:
    """The library unbroken, object by object, and the test programs linked to it."""

    def __init__(self, build, workers):
        self.build = pathlib.Path(build).resolve()
        self.place = self.build / "mutants"
        self.objects = self.place / "base"
        self.sources = [p.relative_to(read.ROOT) for p in sorted(read.ROOT.glob("lib/**/*.c"))]
        self.make(workers)
        self.depends = {source: self.headers(source) for source in self.sources}

    def object_of(self, source):
        return self.objects / (str(source).replace("/", "_") + ".o")

    def headers(self, source):
        """The files of lib/ that a source depends on, itself included."""
        text = self.object_of(source).with_suffix(".d").read_text()
        return set(re.findall(r"\S*?(lib/[\w/]+\.[ch])\b", text))

    def key(self):
        sum_ = hashlib.sha256(" ".join(FLAGS).encode())
        for folder in ("lib", "include"):
            for path in sorted((read.ROOT / folder).rglob("*.[ch]")):
                sum_.update(path.as_posix().encode() + b"\0" + path.read_bytes())
        return sum_.hexdigest()

    def make(self, workers):
        stamp, key = self.objects / "key", self.key()
        if not stamp.is_file() or stamp.read_text() != key:
            shutil.rmtree(self.place, ignore_errors=True)
            self.objects.mkdir(parents=True)
            list(workers.map(lambda s: self.compile(s, self.object_of(s), []), self.sources))
            stamp.write_text(key)
        self.link(self.objects, {})
        self.programs = self.test_programs()
        list(workers.map(self.link_test, self.programs))

    def compile(self, source, target, overlay):
        folders = overlay + [read.ROOT / "lib", read.ROOT / "include"]
        path = next(f for f in [o.parent / source for o in overlay] + [read.ROOT / source]
                    if f.is_file())
        must([CC, *FLAGS, "-MMD", *(f"-I{f}" for f in folders), "-c", path, "-o", target])

    def link(self, folder, replaced):
        objects = [replaced.get(s, self.object_of(s)) for s in self.sources]
        must([CC, "-shared", "-Wl,-Bsymbolic-functions", *objects, "-o",
              folder / "librhizome-mutant.so"])

    def test_programs(self):
        """name -> objects, of the unit and regression tests of lib/ and the random ones."""
        tests = self.build / "tests"
        found = {}
        for kind, lower in (("unit", True), ("regress", False)):
            for path in sorted((read.ROOT / "tests" / kind).rglob("*_test.c")):
                name = path.relative_to(read.ROOT / "tests" / kind).as_posix()[:-len("_test.c")]
                if name.split("/")[0] in ("lab", "hv"):
                    continue
                program = f"{kind}_{name.replace('/', '_')}"
                found[f"{kind}/{name}"] = sorted((tests / f"{program}.p").glob("*.o")) + \
                    [tests / "libfixture.a"]
        found["property"] = sorted((tests / "property.p").glob("*.o")) + \
            [tests / "libproperty_world.a", tests / "libmodel.a"]
        found["small"] = sorted((tests / "small.p").glob("*.o"))
        found["threads"] = sorted((tests / "threads.p").glob("*.o"))
        return found

    def program(self, name):
        return self.objects / name.replace("/", "_")

    def test_source(self, name):
        """The source of a unit test that must be compiled anew for a mutant of a header."""
        path = read.ROOT / "tests" / f"{name}_test.c"
        wanted = name.startswith("unit/") and INTERNAL.search(path.read_text())
        return path if wanted else None

    def link_test(self, name):
        program, parts = self.program(name), self.programs[name]
        if program.is_file() and all(p.stat().st_mtime < program.stat().st_mtime for p in parts):
            return
        must([CC, *parts, f"-L{self.objects}", "-lrhizome-mutant", "-lcmocka",
              "-lpthread", "-o", program])


def room(name):
    """The room that a unit test is of, and the rooms whose tests are tried first for a file."""
    return name.split("/")[1]


def plan(base, mutant):
    """Tests in the order most likely to kill: (name, arguments, seconds of processor time)."""
    here = pathlib.Path(mutant.file).parts[1]
    nested = mutant.where.startswith("tests/mutants/nested")
    modes = NESTED_MODES + MODES if nested else MODES + NESTED_MODES
    stem = pathlib.Path(mutant.file).stem
    slow = ("unit/shadow/large", "unit/guest/access", "unit/direct/map", "unit/api/allocation")
    units = [n for n in base.programs if n.startswith("unit/")]
    own = [n for n in units if room(n) == here or nested and room(n) == "nested"]
    own.sort(key=lambda n: (nested and room(n) != "nested", n.split("/")[2] != stem, n in slow))
    regress = [n for n in base.programs if n.startswith("regress/")]
    linked = [f"regress/{n}" for n in mutant.regress]

    def random(steps, audit, seed):
        return [("property", ["--mode", m, "--seed", str(seed), "--audit", str(audit), "--steps",
                              str(steps), "--no-shrink"], 20) for m in modes]

    order = [(n, [], 6) for n in linked + [n for n in own if n not in slow]]
    order += random(2500, 1, 7)
    order += [(n, [], 6) for n in regress if n not in linked]
    order += [("small", ["--depth", "2"], 20)]
    order += [(n, [], 10) for n in own if n in slow]
    order += [(n, [], 10) for n in units if n not in own]
    order += random(60000, 16, 11)
    order += [("threads", ["--seed", "1", "--seconds", "2"], 20)]
    return order


def label(name, arguments):
    if name != "property":
        return name
    return f"property mode {arguments[1]} seed {arguments[3]}"


def reason(output, status):
    """One line of why a test failed."""
    for pattern in (r"FAILED: [^,]*, world \w+, (?:step|depth) \d+: (.*)",
                    r"^# (?!.*error:|not ok)(.+)", r"^(?:# )?(.*[eE]rror.*)"):
        match = re.search(pattern, output, re.M)
        if match:
            return match[1].strip()[:90]
    return f"status {status}"


def program_for(base, folder, mutant, name):
    """The test program: as it is, or with the mutant's header in it."""
    source = base.test_source(name) if mutant.file.endswith(".h") else None
    if source is None:
        return base.program(name)
    target = folder / name.replace("/", "_")
    where = [folder / "lib", read.ROOT / "lib", read.ROOT / "include", read.ROOT / "tests"]
    must([CC, *FLAGS, *(f"-I{f}" for f in where), source, *base.programs[name][-1:],
          f"-L{folder}", "-lrhizome-mutant", "-lcmocka", "-o", target])
    return target


def runs(base, folder, mutant, test):
    """None if the test passes, else why not."""
    name, arguments, seconds = test
    environment = {**ENVIRONMENT, "LD_LIBRARY_PATH": str(folder)}
    try:
        program = program_for(base, folder, mutant, name)
        done = command(["prlimit", f"--cpu={seconds}", program, *arguments],
                       env=environment, timeout=20 * seconds)
    except subprocess.TimeoutExpired:
        return f"does not end in {20 * seconds} s"
    if done.returncode in (-signal.SIGXCPU, -signal.SIGKILL):
        return f"does not end in {seconds} s of the processor's time"
    return None if done.returncode == 0 else reason(done.stdout, done.returncode)


def build(base, mutant):
    """The mutant's library; returns its folder."""
    folder = base.place / re.sub(r"\W", "_", mutant.name)
    shutil.rmtree(folder, ignore_errors=True)
    target = folder / mutant.file
    target.parent.mkdir(parents=True)
    target.write_text(mutant.apply())
    replaced = {}
    for source in base.sources:
        if mutant.file in base.depends[source]:
            replaced[source] = folder / base.object_of(source).name
            base.compile(source, replaced[source], [folder / "lib"])
    base.link(folder, replaced)
    return folder


class Result:
    def __init__(self, mutant):
        self.mutant, self.killers, self.error, self.tests = mutant, [], None, 0
        self.built = self.seconds = 0.0

    @property
    def good(self):
        missed = [t for t in self.mutant.regress
                  if f"regress/{t}" not in (k[0] for k in self.killers)]
        if self.error is None and missed:
            self.error = f"not killed by {', '.join(missed)}"
        return self.error is None and bool(self.killers) != self.mutant.equivalent


def try_mutant(base, mutant, every, keep):
    result, start = Result(mutant), time.monotonic()
    try:
        folder = build(base, mutant)
    except RuntimeError as error:
        result.error = f"does not compile: {error}"
        return result
    result.built = time.monotonic() - start
    wanted = {f"regress/{t}" for t in mutant.regress}
    for test in plan(base, mutant):
        name, arguments, _ = test
        if result.killers and not every and name not in wanted:
            break
        why = runs(base, folder, mutant, test)
        result.tests += 1
        if why is not None:
            result.killers.append((label(name, arguments), time.monotonic() - start, why))
    result.seconds = time.monotonic() - start
    if not keep:
        shutil.rmtree(folder)
    return result


def tell(result, every):
    mutant = result.mutant
    if result.good and not mutant.equivalent:
        by, seconds, why = result.killers[0]
        line = f"killed    {mutant.name}: {by}, {seconds:.1f} s ({why})"
        if every:
            line += "".join(f"\n            {by}" for by, _, _ in result.killers[1:])
    elif result.good:
        line = f"lives     {mutant.name}: as it should: {mutant.fields['equivalent']}"
    elif result.error:
        line = f"FAILED    {mutant.name} ({mutant.where}): {result.error}"
    elif mutant.equivalent:
        line = f"FAILED    {mutant.name}: argued to be equivalent, and killed by " \
               f"{result.killers[0][0]} ({result.killers[0][2]})"
    else:
        line = f"SURVIVED  {mutant.name} ({mutant.where}): {mutant.fields['breaks']}"
    print(line, flush=True)


def chosen(mutants, arguments):
    if arguments.sample:
        mutants = [m for m in mutants if "sample" in m.fields]
    if arguments.only:
        mutants = [m for m in mutants if any(
            w in (m.name, m.fields["class"], m.file)
            for w in arguments.only)]
    return mutants


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--sample", action="store_true")
    parser.add_argument("--only", action="append")
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("build")
    arguments = parser.parse_args()
    os.nice(5)
    start = time.monotonic()
    mutants = read.read()
    errors = list(read.stale(mutants))
    if errors:
        print("\n".join(errors))
        print(f"0 passed, {len(errors)} failed")
        sys.exit(1)
    failed = 0
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as workers:
        base = Base(arguments.build, workers)
        mutants = chosen(mutants, arguments)
        work = [workers.submit(try_mutant, base, m, arguments.all, arguments.keep)
                for m in mutants]
        for done in concurrent.futures.as_completed(work):
            result = done.result()
            failed += not result.good
            tell(result, arguments.all)
    print(f"note: {len(mutants)} mutants in {time.monotonic() - start:.0f} s")
    print(f"{len(mutants) - failed} passed, {failed} failed")
    sys.exit(failed != 0 or not mutants)


if __name__ == "__main__":
    main()
