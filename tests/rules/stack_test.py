#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Rules about the stack of the freestanding library and of the hypervisor on it.

What a function takes is gcc's own figure (-fstack-usage); who calls whom is read off the machine
code. Calls through pointers cannot be read: TAKEN says of each function whose address is taken who
calls it that way.

usage: stack_test.py LIBRARY LIBRARY_OBJECTS [HYPERVISOR_OBJECTS]
"""
import collections
import pathlib
import re
import subprocess
import sys
import tempfile

import checks

FUNCTION_MOST = {"lib": 768, "hv": 2048}  # bytes of a function
DEPTH_MOST = {"lib": 3072, "hv": 8192}    # of the longest chain of calls; hv has 32 KiB
ASSEMBLY = 200                            # what an entry written in assembly may push

WALKERS = "rhz_vcpu_page_fault shadow_fault rhz_vcpu_translate rhz_vcpu_l2_fault nested_walk"
SLOTS = "rhz_slot_harvest rhz_slot_collapse rhz_slot_set_flags rhz_ram_age rhz_ram_invalidate"
TAKEN = {
    "lib": {
        "slot_walk_none slot_walk_32 slot_walk_pae slot_walk_4level slot_walk_5level": WALKERS,
        "slots_walk_32 slots_walk_pae slots_walk_4level slots_walk_5level": WALKERS + " walk_pae",
        "walk_ept walk_pae vcpu_set_ad_now set_ad_ept": WALKERS,
        "vcpu_slots_read": "rhz_guest_walk rhz_ept_walk",
        "read_composed": "rhz_guest_walk",
        "vcpu_slots_swap": "rhz_guest_set_ad rhz_ept_set_ad",
        "leaves_oldest leaves_random_4": "make_room rhz_root_cache_insert",
        "path_missing": "pages_reserve_path",
        "roots_give_up_one": "pages_reclaim",
        "entry_age entry_write_protect leaf_drop": "large_each",
    },
    "hv": {
        "page_alloc": "spare_add nodes_reserve",
        "page_free": "pages_free_dead pages_give_back pages_reserve_root nodes_give_back",
        "trace_event": "trace_emit",
        "read_entry": "rhz_guest_walk",
        "hv_main": "",
    },
}
PATTERNS = {
    r"exit_\w+": "exit_handle",
    r"op_\w+": "insn_perform",
    r"(boot|text)_\w+|exception_stubs": "", # of the assembly: data, and where the processor goes
}
# Those that go round, and how deep at most.
CYCLES = {
    # a table that nobody links any more goes with its parent; it has level 1 (core/entry.c)
    frozenset({"page_zap", "entry_clear"}): 2,
}


def command(*words):
    return subprocess.run([str(w) for w in words], check=True, capture_output=True,
                          text=True).stdout


def usages(folder):
    """(name, bytes, is that bounded, place) of all functions that were compiled into a folder."""
    for path in sorted(pathlib.Path(folder).glob("*.su")):
        for line in path.read_text().splitlines():
            place, size, kind = line.split("\t")
            yield place.split(":")[-1], int(size), kind in ("static", "dynamic,bounded"), place


class Code:
    """Functions of a relocatable object by place (section, address), and who calls whom."""

    def __init__(self, path):
        self.names, self.places = {}, {}
        self.calls = collections.defaultdict(set)
        self.taken = set()
        self.read_symbols(path)
        self.read_code(path)
        self.read_data(path)

    def read_symbols(self, path):
        found = re.findall(r"^ +\[ *(\d+)\] (\S+)", command("readelf", "-SW", path), re.M)
        sections = dict(found)
        for line in command("readelf", "-sW", path).splitlines():
            words = line.split()
            if len(words) < 8 or words[6] not in sections or words[3] not in ("FUNC", "NOTYPE"):
                continue
            place = sections[words[6]], int(words[1], 16)
            self.places[words[7]] = place
            if words[3] == "FUNC" or place[0] in (".text", ".boot"):
                self.names.setdefault(place, words[7])

    def place(self, text, more):
        """What a relocation means."""
        name, sign, offset = re.match(r"(.+?)(?:([+-])0x([0-9a-f]+))?$", text).groups()
        section, address = self.places.get(name, (name, 0))
        return section, address + int(offset or "0", 16) * (-1 if sign == "-" else 1) + more

    def read_code(self, path):
        section, inside, line_before, callee = "", None, "", None
        for line in command("objdump", "-dr", "--no-show-raw-insn", path).splitlines() + [""]:
            reloc = re.match(r"\t+[0-9a-f]+: R_X86_64_(\w+)\t(\S+)", line)
            if reloc and inside:
                place = self.place(reloc[2], 4 if reloc[1] in ("PLT32", "PC32") else 0)
                if callee:
                    callee = place
                elif place in self.names and not re.match(r"(call|j\w+) ", line_before):
                    self.taken.add(place)
                continue
            # a jump to one's own beginning is a loop
            if callee in self.names and (callee != inside or line_before.startswith("call")):
                self.calls[inside].add(callee)
            header = re.match(r"Disassembly of section (\S+):", line)
            label = re.match(r"([0-9a-f]+) <(.+)>:", line)
            code = re.match(r" *[0-9a-f]+:\t(.*)", line)
            line_before, callee = code[1] if code else "", None
            if header:
                section = header[1]
            elif label and (section, int(label[1], 16)) in self.names:
                inside = section, int(label[1], 16)
            target = re.match(r"(?:call|j\w+) +([0-9a-f]+)\b", line_before)
            if inside and target:
                callee = section, int(target[1], 16)

    def read_data(self, path):
        for part in command("readelf", "-rW", path).split("Relocation section '.rela")[1:]:
            if part.startswith((".text", ".debug", ".boot")):
                continue
            for name, sign, more in re.findall(r"R_X86_64_64 +[0-9a-f]+ (\S+) ([+-]) ([0-9a-f]+)",
                                               part):
                place = self.place(name, int(more, 16) * (-1 if sign == "-" else 1))
                if place in self.names:
                    self.taken.add(place)

    def all_named(self, name):
        """Static functions of different files may share a name, and gcc makes parts of them."""
        return {place for place, known in self.names.items()
                if known == name or known.split(".")[0] == name}

    def callers(self, name, tables):
        """Who calls the function through a pointer; None if nobody says."""
        for table in tables:
            for names, callers in table.items():
                if name in names.split():
                    return callers.split()
        return next((c.split() for p, c in PATTERNS.items() if re.fullmatch(p, name)), None)

    def connect(self, tables):
        """Adds the calls through pointers; yields what TAKEN lacks."""
        for place in self.taken:
            callers = self.callers(self.names[place], tables)
            if callers is None:
                yield f"{self.names[place]}: its address is taken, TAKEN does not say for whom"
            for caller in callers or ():
                for other in self.all_named(caller):
                    self.calls[other].add(place)

    def cycles(self):
        """Sets of functions that call each other (Tarjan)."""
        index, low, stack, found = {}, {}, [], []

        def visit(v):
            index[v] = low[v] = len(index)
            stack.append(v)
            for w in self.calls[v]:
                if w not in index:
                    visit(w)
                if w in stack:
                    low[v] = min(low[v], low[w])
            if low[v] == index[v]:
                at = stack.index(v)
                if len(stack) - at > 1 or v in self.calls[v]:
                    found.append(frozenset(stack[at:]))
                del stack[at:]

        for v in list(self.names):
            if v not in index:
                visit(v)
        return found


def load(room):
    """The code of the library, or of library and hypervisor, and what each function takes."""
    with tempfile.TemporaryDirectory() as folder:
        whole = pathlib.Path(folder) / "whole.o"
        objects = sorted(pathlib.Path(FOLDERS["hv"]).glob("*.o")) if room == "hv" else []
        command("ld", "-r", "-o", whole, *objects, "--whole-archive", LIBRARY)
        code = Code(whole)
    tables = [TAKEN["lib"]] + ([TAKEN["hv"]] if room == "hv" else [])
    code.untold = list(code.connect(tables))
    code.frames = collections.defaultdict(int)
    for folder in {FOLDERS["lib"], FOLDERS[room]}:
        for name, size, _, _ in usages(folder):
            code.frames[name] = max(code.frames[name], size)
    return code


def deepest(code):
    """(bytes, names) of the chain of calls that takes most; one of a cycle counts as often."""
    rounds = {place: CYCLES.get(frozenset(code.names[p] for p in cycle), 1)
              for cycle in code.cycles() for place in cycle}
    within = {place: cycle for cycle in code.cycles() for place in cycle}
    best = {}

    def visit(v):
        if v not in best:
            members = within.get(v, {v})
            own = sum(code.frames.get(code.names[p], ASSEMBLY) + 8 for p in members)
            below = [visit(w) for p in members for w in code.calls[p] if w not in members]
            size, names = max(below, default=(0, []))
            best[v] = size + own * rounds.get(v, 1), [code.names[v]] + names
        return best[v]

    return max(visit(v) for v in list(code.names))


def functions_are_small():
    """A function takes at most so much stack, a part that its input decides has a bound."""
    for room, folder in FOLDERS.items():
        found = list(usages(folder))
        if len(found) < 50:
            yield f"{folder}: {len(found)} functions were measured: is -fstack-usage there?"
        for name, size, bounded, place in found:
            if size > FUNCTION_MOST[room] or not bounded:
                yield f"{place}: {size} bytes{'' if bounded else ', unbounded'}"


def pointers_are_told():
    """Who calls a function through a pointer is told in TAKEN, and nothing stands there in vain."""
    for room, code in CODES.items():
        yield from code.untold
        for names in TAKEN[room]:
            for name in names.split():
                if not code.all_named(name) & code.taken:
                    yield f"{room}: nobody takes the address of {name}"


def nothing_recurs():
    """No function comes back to itself, but those of CYCLES."""
    for room, code in CODES.items():
        for cycle in code.cycles():
            names = frozenset(code.names[place] for place in cycle)
            if names not in CYCLES:
                yield f"{room}: {' '.join(sorted(names))}"


def chains_are_short():
    """The longest chain of calls fits."""
    for room, code in CODES.items():
        size, names = deepest(code)
        print(f"note: {room}: the deepest chain of calls takes {size} bytes: {len(names)} "
              f"functions from {names[0]} to {names[-1]}")
        if size > DEPTH_MOST[room]:
            yield f"{room}: {size} bytes, {DEPTH_MOST[room]} are allowed: {' '.join(names)}"


if __name__ == "__main__":
    LIBRARY = sys.argv[1]
    FOLDERS = dict(zip(("lib", "hv"), sys.argv[2:]))
    sys.setrecursionlimit(10000)
    CODES = {room: load(room) for room in FOLDERS}
    checks.run([functions_are_small, pointers_are_told, nothing_recurs, chains_are_short])
