# SPDX-License-Identifier: MIT
"""Reads the mutants of this directory: *.mutants, a room each.

    ## name                     one mutant; the name says what is wrong with it
    file: lib/shadow/sync.c
    class: sync                 of CLASSES
    breaks: what goes wrong     one line
    regress: xsa_480            regression tests that must be among those that kill it (optional)
    sample: yes                 one of those that `make test` runs (optional)
    - text of the file          found there exactly once; how its lines are indented does not matter
    + what stands there then    nothing at all if the text is only taken out

A mutant with `equivalent:` instead of `breaks:` argues in one line why no test can kill it.
"""
import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parents[2]
CLASSES = ("sync", "flush", "role", "fit", "reference", "right", "reserved", "reclaim", "free",
           "statistic", "walk", "slot", "tag", "log")
KEYS = ("file", "class", "breaks", "equivalent", "regress", "sample")
MOST_EQUIVALENT = 5


class Mutant:
    """One of them; where: its file and line, for messages."""

    def __init__(self, name, where):
        self.name, self.where = name, where
        self.fields, self.old, self.new = {}, [], []

    @property
    def file(self):
        return self.fields.get("file", "")

    @property
    def regress(self):
        return self.fields.get("regress", "").split()

    @property
    def equivalent(self):
        return "equivalent" in self.fields

    def pattern(self):
        """The old text, whatever its indentation."""
        return re.compile(r"\s*\n\s*".join(re.escape(line.strip()) for line in self.old))

    def errors(self):
        """What is wrong with the entry itself, or with its file."""
        for key in ("file", "class"):
            if key not in self.fields:
                yield f"no '{key}:'"
        if ("breaks" in self.fields) == self.equivalent:
            yield "one of 'breaks:' and 'equivalent:' is wanted"
        if self.fields.get("class") not in CLASSES:
            yield f"class '{self.fields.get('class')}' is none of {', '.join(CLASSES)}"
        if not self.old or self.old == self.new:
            yield "changes nothing"
            return
        path = ROOT / self.file
        if not self.file.startswith("lib/") or not path.is_file():
            yield f"no file '{self.file}' in lib/"
            return
        count = len(self.pattern().findall(path.read_text()))
        if count != 1:
            yield f"its text is found {count} times in {self.file}"
        for test in self.regress:
            if not (ROOT / f"tests/regress/{test}_test.c").is_file():
                yield f"no regression test '{test}'"

    def apply(self):
        """The file's text with the mutation."""
        text = (ROOT / self.file).read_text()
        new = "\n".join(self.new)
        return self.pattern().sub(lambda _: new, text)


def parse(path):
    """The mutants of one file. ValueError: a line that is none of the forms above."""
    found = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        where = f"{path.relative_to(ROOT)}:{number}"
        key, colon, value = line.partition(":")
        if line.startswith("## "):
            found.append(Mutant(line[3:].strip(), where))
        elif not line.strip() or line.startswith("# "):
            continue
        elif not found:
            raise ValueError(f"{where}: before the first '## name'")
        elif line[:2] in ("- ", "-"):
            found[-1].old.append(line[2:])
        elif line[:2] in ("+ ", "+"):
            found[-1].new.append(line[2:])
        elif colon and key in KEYS and key not in found[-1].fields:
            found[-1].fields[key] = value.strip()
        else:
            raise ValueError(f"{where}: what is '{line}'?")
    return found


def read():
    """All mutants, in the order of their files."""
    folder = pathlib.Path(__file__).resolve().parent
    return [m for path in sorted(folder.glob("*.mutants")) for m in parse(path)]


def stale(mutants):
    """A line for each entry that cannot be applied, or names that are used twice."""
    seen = set()
    for mutant in mutants:
        if mutant.name in seen:
            yield f"{mutant.where}: {mutant.name}: the name is taken"
        seen.add(mutant.name)
        for error in mutant.errors():
            yield f"{mutant.where}: {mutant.name}: {error}"
