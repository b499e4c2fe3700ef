#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Rules about the text of the sources: arrows between rooms, sizes, first lines, comments."""
import pathlib
import re

import checks

CODE = ("include", "lib", "lab", "hv", "tests", "guests", "bench", "examples")
COLUMNS, TAB, FUNCTION_LINES, FILE_LINES = 100, 8, 70, 600

# A room may include itself and what stands on a lower step; shadow and direct share one.
STEP = {"format": 0, "guest": 1, "core": 2, "root": 3, "shadow": 4, "direct": 4,
        "nested": 5, "api": 6}
FREESTANDING = {"stddef.h", "stdint.h", "stdbool.h", "stdarg.h"}
INCLUDE = re.compile(r'\s*#\s*include\s*([<"])([^>"]+)[>"]')


def includes(path, root=checks.ROOT):
    """(line, name as written, file of the project or None) for each #include of a file."""
    for number, line in enumerate((root / path).read_text().splitlines(), 1):
        match = INCLUDE.match(line)
        if not match:
            continue
        target = None
        beside = [path.parent] if match[1] == '"' else []
        for folder in beside + [pathlib.Path(f) for f in (path.parts[0], "include", "lib")]:
            candidate = root / folder / match[2]
            if candidate.is_file():
                target = candidate.resolve().relative_to(root.resolve())
                break
        yield number, match[2], target


def room(path):
    return path.parts[1] if path.parts[0] == "lib" and len(path.parts) > 2 else None


def allowed(path, name, target):
    """Whether the file at path may include `name`, which is the project's file `target`."""
    top = path.parts[0]
    to = target.parts[0] if target else None
    if top == "include":
        return name in FREESTANDING or to == "include"
    if top == "lib":
        if to == "lib":
            here, there = room(path), room(target)
            return here == there or STEP.get(here, -1) > STEP.get(there, 99)
        return name in FREESTANDING or to == "include"
    if path.parts[:2] == ("tests", "model") and not path.name.endswith("_test.c"):
        return target is None or target.parts[:2] == ("tests", "model")
    if top == "bench":
        return target is None or to in ("bench", "include", "lib")
    if top in ("lab", "hv", "examples"):
        return target is None or to in (top, "include")
    return True


def arrows():
    """Includes follow the arrows between rooms (docs/hacking.md)."""
    for path in checks.files(*CODE):
        for number, name, target in includes(path):
            if not allowed(path, name, target):
                yield f"{path}:{number}: must not include {name}"


def rooms():
    """Every file of lib/ lives in a known room."""
    for path in checks.files("lib"):
        if room(path) not in STEP:
            yield str(path)


def columns():
    """A line has at most 100 columns, a tab being 8."""
    for path in checks.files(*CODE, "scripts", suffixes=checks.CODE_SUFFIXES):
        for number, line in enumerate((checks.ROOT / path).read_text().splitlines(), 1):
            if len(line.expandtabs(TAB)) > COLUMNS:
                yield f"{path}:{number}: {len(line.expandtabs(TAB))} columns"


def file_lengths():
    """A file has at most 600 lines."""
    for path in checks.files(*CODE, suffixes=checks.CODE_SUFFIXES):
        lines = len((checks.ROOT / path).read_text().splitlines())
        if lines > FILE_LINES:
            yield f"{path}:1: {lines} lines"


def functions(text):
    """(line, name, lines) for each C function whose braces stand in the first column."""
    lines = checks.without_comments(text).splitlines()
    for i, line in enumerate(lines):
        opens = line.startswith("{") or re.match(r"\w[^=]*\)\s*\{\s*$", line)
        if not opens:
            continue
        first = i
        while first > 0 and lines[first - 1].strip() and lines[first - 1][0] not in "}#" \
                and not lines[first - 1].rstrip().endswith((";", "}")):
            first -= 1
        last = next((j for j in range(i, len(lines)) if lines[j].startswith("}")), len(lines) - 1)
        name = re.search(r"(\w+)\s*\(", " ".join(lines[first:i + 1]))
        if name:
            yield first + 1, name[1], last - first + 1


def function_lengths():
    """A function has at most 70 lines, from its type to its closing brace."""
    for path in checks.files(*CODE, suffixes={".c", ".h"}):
        for line, name, length in functions((checks.ROOT / path).read_text()):
            if length > FUNCTION_LINES:
                yield f"{path}:{line}: {name} has {length} lines"


def licences():
    """The first line (of a script, the second) names the licence."""
    build = [p.relative_to(checks.ROOT) for p in checks.ROOT.rglob("meson.build")]
    scripts = [p.relative_to(checks.ROOT) for p in (checks.ROOT / "scripts").glob("*")
               if p.is_file()]
    for path in checks.files(*CODE, suffixes=checks.CODE_SUFFIXES) + build + scripts:
        head = (checks.ROOT / path).read_text().splitlines()[:2] + ["", ""]
        line = head[1] if head[0].startswith("#!") else head[0]
        if "SPDX-License-Identifier: MIT" not in line:
            yield f"{path}:1"


def undocumented(text):
    """The (line, name) of each function declared in a header with no comment over its group."""
    lines = text.splitlines()
    bare = checks.without_comments(text).splitlines()
    declaration = re.compile(r"(?!typedef|static_assert|_Static_assert)\w[\w\s*]*?\b(rhz_\w+)\(")
    for i, line in enumerate(bare):
        match = declaration.match(line)
        if not match:
            continue
        first = i
        while first > 0 and bare[first - 1].strip():
            first -= 1
        if not lines[first - 1].rstrip().endswith("*/"):
            yield i + 1, match[1]


def comments():
    """A comment stands before each public function (or its group without empty lines)."""
    for path in checks.files("include"):
        for line, name in undocumented((checks.ROOT / path).read_text()):
            yield f"{path}:{line}: {name}"


def unlisted(listing, folder, pattern):
    """Files below folder that match the pattern and whose names the meson.build lacks."""
    text = (checks.ROOT / listing).read_text()
    for path in sorted((checks.ROOT / folder).rglob(pattern)):
        name = path.relative_to(checks.ROOT / folder).as_posix()
        short = re.sub(r"_(test|bench|fuzz)\.c$", "", name)
        if not re.search(rf"['/]{re.escape(short)}'", text):
            yield f"{path.relative_to(checks.ROOT)}: not in {listing}"


def listed():
    """Every source of the library and every test is built."""
    yield from unlisted("lib/meson.build", "lib", "*.c")
    for folder in ("unit", "regress", "model", "property"):
        yield from unlisted("tests/meson.build", f"tests/{folder}", "*_test.c")
    yield from unlisted("tests/meson.build", "tests/property", "*.c")
    yield from unlisted("tests/meson.build", "tests/small", "*.c")
    yield from unlisted("tests/meson.build", "tests/model", "*.c")
    yield from unlisted("tests/fuzz/meson.build", "tests/fuzz", "*_fuzz.c")
    for folder in ("rules", "install", "system"):
        for pattern in ("*_test.py", "*_test.sh"):
            yield from unlisted("tests/meson.build", f"tests/{folder}", pattern)
    yield from unlisted("bench/meson.build", "bench", "*_bench.c")


def audit_is_provoked():
    """Each thing that the audit can find is broken once in tests/unit/api/audit_test.c."""
    tried = (checks.ROOT / "tests/unit/api/audit_test.c").read_text()
    for path in checks.files("lib/api"):
        for what in re.findall(r'audit_fails\(\s*audit,\s*\d+,\s*"([^"]+)"',
                               (checks.ROOT / path).read_text()):
            if f'"{what}"' not in tried:
                yield f"{path}: {what}"


if __name__ == "__main__":
    checks.run([arrows, rooms, columns, file_lengths, function_lengths, licences, comments, listed,
                audit_is_provoked])
