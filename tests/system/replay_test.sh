#!/bin/sh
# SPDX-License-Identifier: MIT
# Runs "rhizome replay" as a user would: on the shipped trace in all its packings, on other
# recorders' text, and on input that is broken in every way. Checks output and exit status.
#
# Usage: replay_test.sh [PROGRAM]   (default build/lab/rhizome)
set -u

here=$(cd "$(dirname "$0")" && pwd)
program=${1:-${RHIZOME:-$here/../../build/lab/rhizome}}
cut=$here/../../data/kvm-shadow-cut.txt.zst
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
LC_ALL=C.UTF-8
export LC_ALL
. "$here/checks.sh"

same() { cmp "$1" "$2"; }
fits() { # fits COLUMNS: all but the first line, which is the file's name
	grep -q "I would choose" "$work/out" || return
	tr -d '\r' <"$work/out" | sed 1d >"$work/fits"
	[ "$(wc -L <"$work/fits")" -le "$1" ]
}

# The shipped trace: the figures are known.
run replay "$cut"
check "cut: done" is_status 0
check "cut: requests and roots" prints "4,478 for 12 roots, from 1 vCPU"
check "cut: what KVM did" prints "1,817 MMU loads (236 roots built, 1,581 found again), 6,555 root"
check "cut: KVM's loads explained" prints ": 1,817, and it loaded an MMU 1,817 times for a request"
check "cut: why a root was asked for" prints "CR3 4,478, nested entry 0, nested exit 0, other 0"
check "cut: three miss 1,739 times" prints "^  *3 .* 2,739 *1,739  *38.83 "
check "cut: the advice" prints "I would choose 8 cached roots: under current-first"
check "cut: lines of at most 96 columns" [ "$(wc -L <"$work/out")" -le 96 ]
for columns in 60 72 80 100 140; do
	script -qec "stty cols $columns; COLUMNS=$columns '$program' replay '$cut'" /dev/null \
		>"$work/out" </dev/null
	check "a terminal of $columns columns" fits "$columns"
done

cat >"$work/figures.py" <<'PYTHON'
import json, sys
whole = json.load(open(sys.argv[1]))
assert whole["requests"] == 4478 and whole["distinct"] == 12 and whole["vcpus"] == 1
assert whole["source"] == "new_pgd" and whole["inferred"] is False
kvm, check = whole["kvm"], whole["check"]
assert kvm == {"mmu_load": 1817, "roots_new": 236, "roots_found": 1581, "sync_roots": 6555,
               "free_roots": 1877, "free_current": 1817}
# Every allocation that KVM made: the pool's misses, and why KVM had more.
assert check["pool_misses"] + check["after_drop"] + check["after_hole"] - check["kept"] == \
    check["array_misses"] == 1818
assert check["array_misses"] - check["warm"] == check["kvm_misses"] == kvm["mmu_load"]
assert check["unexplained"] == check["unasked"] == 0 and check["warm"] == 1
# Every call that freed a root: one for each miss, and the cached roots dropped one at a time.
assert kvm["free_current"] == check["frees_asked"] == check["kvm_misses"]
assert kvm["free_roots"] - kvm["free_current"] == check["dropped"] + check["dropped_unknown"] == 60
rows = {(w["policy"], w["capacity"], w["contexts"]): w for w in whole["what_if"]}
assert len(rows) == len(whole["what_if"]) == 6 * 65 * 2
for w in rows.values():
    assert w["current"] + w["cached"] + w["missed"] == 4478
    assert w["missed"] == rows[w["policy"], w["capacity"], "shared"]["missed"] # one context
rows = {key[:2]: w for key, w in rows.items() if key[2] == "shared"}
assert check["pool_misses"] == rows["current-first", 3]["missed"]
for capacity, missed in {3: 1739, 7: 179, 8: 92, 11: 12, 64: 12}.items():
    assert rows["current-first", capacity]["missed"] == missed
for capacity in range(64):
    for policy in "victim", "current-first", "at-creation":
        assert rows[policy, capacity + 1]["missed"] <= rows[policy, capacity]["missed"]
    # One vCPU, one context: the current root's slot is all that at-creation spends.
    assert rows["at-creation", capacity + 1]["missed"] == rows["current-first", capacity]["missed"]
    assert rows["pinned", capacity]["missed"] == 12
    assert rows["none", capacity]["missed"] == 4478
assert sum(whole["reuse_distances"]) == 4478 and whole["reuse_distances"][64] == 12
assert whole["causes"]["cr3"]["requests"] == 4478
assert whole["causes"]["cr3"]["cached_64"] == 4466
cost = whole["cost_ns"]
assert cost["missed"]["count"] + cost["cached"]["count"] == 4478
for times in cost["missed"], cost["cached"]:
    assert times["p10"] <= times["p25"] <= times["p50"] <= times["p75"] <= times["p90"]
saved = rows["current-first", 8]["saved_ms_per_s"]
assert abs(saved - (1739 - 92) * cost["extra"] / 1e6 / whole["seconds"]) < 0.001
assert len(whole["by_vcpu"]) == len(whole["by_vm"]) == 1
assert whole["by_vcpu"][0]["chosen"]["missed"] == 92 and whole["by_vcpu"][0]["thread"] == 117
assert whole["choice"]["capacity"] == 8 and whole["choice"]["best"] == 11
assert whole["tags"]["switches"] == 4478 and whole["tags"]["flushes"][4] == 1739
PYTHON
run replay --all-capacities --json "$work/out.json" "$cut"
check "JSON: done" is_status 0
check "JSON: table as well" prints "current-first"
check "JSON: figures" python3 "$work/figures.py" "$work/out.json"
run replay --all-capacities --json - "$cut"
sed "s|$cut|x|" "$work/out" >"$work/a"
sed "s|$cut|x|" "$work/out.json" >"$work/b"
check "JSON: the same on standard output" same "$work/a" "$work/b"

odd=$(printf 'a "b"\\c\td \303\244 \377.txt')
zstd -dqc "$cut" >"$work/$odd"
run replay --policy pinned --json "$work/out.json" "$work/$odd"
cat >"$work/name.py" <<'PYTHON'
import json, sys
assert json.load(open(sys.argv[1]))["files"] == [sys.argv[2] + '/a "b"\\c\td \u00e4 \ufffd.txt']
PYTHON
check "JSON: an odd file name" python3 "$work/name.py" "$work/out.json" "$work"

run replay --csv --policy current-first,victim --capacity 3,7-8 "$cut"
cp "$work/out" "$work/plain.csv"
check "CSV: a heading and twelve rows" [ "$(wc -l <"$work/out")" -eq 13 ]
check "CSV: a row" prints "^current-first,7,shared,4478,0,4299,179,3.9973,0,"
check "CSV: its separate one" prints "^current-first,7,separate,4478,0,4299,179,3.9973,0,"

# The same trace, packed otherwise, through a pipe, in pieces, and as other recorders print it.
zstd -dqc "$cut" >"$work/plain"
gzip -c "$work/plain" >"$work/trace.gz"
head -n 15000 "$work/plain" >"$work/head"
tail -n +15001 "$work/plain" >"$work/tail"
{ gzip -c "$work/head"; gzip -c "$work/tail"; } >"$work/members.gz"
{ zstd -qc "$work/head"; zstd -qc "$work/tail"; } >"$work/frames.zst"
event='^ (qemu-system-x86)-(117) +(\[...\]) [^ ]+ +([0-9.]+): ([a-z0-9_]+): '
sed -E "s/$event/\\1   \\2 \\3 \\4: kmmu:\\5: /" "$work/plain" >"$work/perf"
sed -E "s/$event/\\1-\\2 \\3 \\4: \\5:      /" "$work/plain" >"$work/trace-cmd"
sed 's/qemu-system-x86-117/CPU 0: a[1]-117/' "$work/plain" >"$work/odd-name"
sed 's/$/\r/' "$work/plain" >"$work/crlf"
for file in plain trace.gz members.gz frames.zst perf trace-cmd odd-name crlf; do
	run replay --csv --policy current-first,victim --capacity 3,7-8 "$work/$file"
	check "$file: as the cut" same "$work/out" "$work/plain.csv"
done
zstd -dqc "$cut" | dd bs=7 2>/dev/null |
	"$program" replay --csv --policy current-first,victim --capacity 3,7-8 - >"$work/out"
check "pipe: as the cut" same "$work/out" "$work/plain.csv"

# Lines that are no events do no harm; they are counted and the first is named.
{ echo garbage; cat "$work/plain"; echo more; head -c 3000000 /dev/zero; } >"$work/mixed"
run replay "$work/mixed"
check "mixed: done" is_status 0
check "mixed: counted and named" prints "left out  3 lines .* first: $work/mixed:1$"
run replay --csv --policy current-first,victim --capacity 3,7-8 "$work/mixed"
check "mixed: figures as the cut" same "$work/out" "$work/plain.csv"

cat >"$work/nested" <<'TRACE'
 q-7 [000] ..... 1.000001: kvm_nested_vmexit_inject: reason: msr
 q-7 [000] ..... 1.000002: kvm_nested_vmenter: rip: 0xf nested_npt=y nested_cr3: 0x5000
 q-7 [000] ..... 1.000003: kvm_nested_vmexit_inject: reason: msr
CPU:0 [LOST 77 EVENTS]
TRACE
run replay "$work/nested"
check "nested: inferred, and said so" prints "inferred .* loads of CR3 are missing"
check "nested: lost events" prints "77 events"

# Input that cannot be used.
: >"$work/empty"
head -c 100000 /dev/urandom >"$work/binary"
printf '\377\376no newline at the end' >"$work/binary2"
head -c 50000 "$cut" >"$work/short.zst"
head -c 3 "$cut" >"$work/tiny.zst"
{ head -c 40000 "$cut"; head -c 100 /dev/zero; tail -c +40101 "$cut"; } >"$work/damaged.zst"
head -c 50000 "$work/trace.gz" >"$work/short.gz"
{ head -c 40000 "$work/trace.gz"; head -c 9000 /dev/zero; } >"$work/damaged.gz"
grep -Ev 'new_pgd|set_cr3' "$work/plain" >"$work/useless"
printf '\027\010\104tracing6\000' >"$work/trace.dat"
printf 'PERFILE2xxxxxxxxxxxxxxxxxxx' >"$work/perf.data"
refuses "missing file" "$work/nowhere: No such file" replay "$work/nowhere"
refuses "directory" "$work: Is a directory" replay "$work"
refuses "empty file" "$work/empty: line 0: the file is empty" replay "$work/empty"
refuses "binary" "$work/binary: lines 1 to .*not one trace event" replay "$work/binary"
refuses "binary line" "lines 1 to 1: not one trace event" replay "$work/binary2"
refuses "short zstd" "$work/short.zst: after line [0-9]*: the zstd data end" \
	replay "$work/short.zst"
refuses "tiny zstd" "lines 1 to 1: not one" replay "$work/tiny.zst"
refuses "damaged zstd" "$work/damaged.zst: .*the zstd data" replay "$work/damaged.zst"
refuses "short gzip" "$work/short.gz: after line [0-9]*: the gzip data end" replay "$work/short.gz"
refuses "damaged gzip" "$work/damaged.gz: .*the gzip data" replay "$work/damaged.gz"
refuses "no requests" "no request for a root among .*needed: a kprobe" replay "$work/useless"
refuses "trace.dat" "trace-cmd's library cannot open this trace.dat" replay "$work/trace.dat"
refuses "perf.data" "perf script" replay "$work/perf.data"
refuses "one good, one bad" "$work/empty: " replay "$cut" "$work/empty"

# Arguments that cannot be used.
refuses "no command" "no command given"
refuses "unknown command" "no command \"fly\"" fly
refuses "no file" "no file given" replay
refuses "unknown option" "no option \"--fast\"" replay --fast "$cut"
refuses "missing value" "needs a value" replay "$cut" --capacity
for list in 65 -1 3- 5-3 1,,2 "" 3x 99999999999999999999; do
	refuses "capacity \"$list\"" "no value for --capacity" replay "--capacity=$list" "$cut"
done
refuses "unknown policy" "\"lru\" is no value for --policy" replay --policy lru "$cut"
refuses "empty policy" "no value for --policy" replay --policy victim, "$cut"
refuses "bad seed" "no value for --seed" replay --seed x "$cut"
refuses "two outputs" "would both print" replay --csv --json - "$cut"

# Help, version, and readers that leave.
for arguments in --help "replay --help" "replay -h"; do
	# shellcheck disable=SC2086
	run $arguments
	check "$arguments: done" is_status 0
	check "$arguments: usage" prints "^Usage: rhizome"
done
run --version
check "version" prints "^rhizome [0-9]"
for lines in 0 1 100; do
	{
		"$program" replay --csv --all-capacities "$cut" 2>"$work/err"
		echo $? >"$work/status"
	} | head -n $lines >"$work/out"
	check "reader of $lines lines: no failure" [ "$(cat "$work/status")" -eq 0 ]
	check "reader of $lines lines: no complaint" [ ! -s "$work/err" ]
	check "reader of $lines lines: has them" [ "$(wc -l <"$work/out")" -eq $lines ]
done
for form in "" --csv "--json -" --all-capacities; do
	# shellcheck disable=SC2086
	"$program" replay $form "$cut" >/dev/full 2>"$work/err"
	status=$?
	check "full disk $form: exit status 1" is_status 1
	check "full disk $form: said so" one_line "cannot write the output"
done
run replay --json "$work/no/where.json" "$cut"
check "JSON that cannot be written: exit status 1" is_status 1
run replay --json /dev/full "$cut"
check "JSON on a full disk: exit status 1" is_status 1

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
