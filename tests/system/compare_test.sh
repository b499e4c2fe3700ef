#!/bin/sh
# SPDX-License-Identifier: MIT
# Runs "rhizome compare" on traces, on JSON of both kinds, and on what is neither; and "rhizome
# replay" on a trace.dat as trace-cmd wrote it, held against trace-cmd's own text of it.
#
# Usage: compare_test.sh [PROGRAM]   (default build/lab/rhizome)
set -u

here=$(cd "$(dirname "$0")" && pwd)
program=${1:-${RHIZOME:-$here/../../build/lab/rhizome}}
data=$here/../../data
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
. "$here/checks.sh"

# trace.dat: plain, packed, through a pipe; and trace-cmd's text of it, which has no nanoseconds.
zstd -dqf "$data/kvm-roots.dat.zst" -o "$work/roots.dat"
trace-cmd report "$work/roots.dat" >"$work/roots.txt" 2>/dev/null
cat >"$work/figures.py" <<'PYTHON'
import json, sys
dat, text = (json.load(open(name)) for name in sys.argv[1:])
assert dat["requests"] == 6121 and dat["distinct"] == 7 and dat["lines"]["read"] == 48189
assert dat["kvm"] == text["kvm"] == {"mmu_load": 3077, "roots_new": 16, "roots_found": 3061,
    "sync_roots": 9201, "free_roots": 3092, "free_current": 3092}
check = dat["check"]
# Three of six roots fit: KVM and the pool miss the same, and KVM loads when the mode changes.
assert check == text["check"] and check["pool_misses"] == check["kvm_misses"] == 3061
assert check["kvm_misses"] + check["unasked"] == dat["kvm"]["mmu_load"]
assert check["frees_asked"] + check["frees_unasked"] == dat["kvm"]["free_roots"]
for key in "causes", "reuse_distances", "tags", "pti", "nested_transitions":
    assert dat[key] == text[key], key
keys = "policy", "capacity", "contexts", "current", "cached", "missed"
assert [[w[k] for k in keys] for w in dat["what_if"]] == [[w[k] for k in keys]
                                                          for w in text["what_if"]]
assert abs(dat["cost_ns"]["extra"] - text["cost_ns"]["extra"]) < 1000
assert dat["by_vcpu"][0]["vcpu"] == 0 and dat["by_vcpu"][0]["thread"] == 105
PYTHON
"$program" replay --json "$work/dat.json" "$work/roots.dat" >/dev/null
"$program" replay --json "$work/text.json" "$work/roots.txt" >/dev/null
check "trace.dat: the figures, and those of its text" \
	python3 "$work/figures.py" "$work/dat.json" "$work/text.json"
"$program" replay --csv "$work/roots.dat" >"$work/plain.csv"
"$program" replay --csv "$data/kvm-roots.dat.zst" >"$work/packed.csv"
"$program" replay --csv - <"$work/roots.dat" >"$work/pipe.csv"
cat "$work/roots.dat" | "$program" replay --csv - >"$work/pipe2.csv"
for name in packed pipe pipe2; do
	check "trace.dat: $name as plain" cmp "$work/plain.csv" "$work/$name.csv"
done
# Cut anywhere, it is read as far as trace-cmd's library can, or refused: never a crash.
for length in 11 100 5000 20000 60000 100000 500000 1500000; do
	head -c "$length" "$work/roots.dat" >"$work/cut.dat"
	run replay --csv "$work/cut.dat"
	check "trace.dat of $length bytes: read or refused" [ "$status" -eq 0 -o "$status" -eq 2 ]
	check "trace.dat of $length bytes: at most one line" [ "$(wc -l <"$work/err")" -le 1 ]
done

# Our own recording, of a guest with page-table isolation: KVM's loads explained to the last one.
cat >"$work/pti.py" <<'PYTHON'
import json, sys
whole = json.load(open(sys.argv[1]))
check, pti = whole["check"], whole["pti"]
assert whole["requests"] == 6748 and whole["whole"] and whole["lines"]["lost_events"] == 0
assert check["pool_misses"] + check["after_drop"] + check["after_hole"] - check["kept"] - \
    check["warm"] == check["kvm_misses"] == whole["kvm"]["mmu_load"] == 820
assert check["unexplained"] == check["unasked"] == 0 and check["frees_asked"] == 820
assert pti["seen"] and pti["flips"] == 6221 and pti["missed_without"][3] < check["pool_misses"]
PYTHON
"$program" replay --json "$work/pti.json" "$data/kvm-pti.trace.zst" >/dev/null
check "our own recording: the figures" python3 "$work/pti.py" "$work/pti.json"
zstd -dqf "$data/kvm-pti.trace.zst" -o "$work/pti.trace"
printf '\377' | dd of="$work/pti.trace" bs=1 seek=20000 conv=notrunc 2>/dev/null
refuses "damaged recording" "pti.trace: .*byte [0-9]*: a block whose check sum" \
	replay "$work/pti.trace"

# Two traces.
cut=$data/kvm-shadow-cut.txt.zst
run compare "$cut" "$work/roots.dat"
check "traces: done" is_status 0
check "traces: requests" prints "^requests  *4,478  *6,121  *+1643  *1.367$"
check "traces: KVM's misses" prints "^kvm.mmu_load  *1,817  *3,077 "
check "traces: a row" prints "^current-first 8 shared: missed  *92  *7  *-85 "
check "traces: both choices" [ "$(grep -c 'I would choose' "$work/out")" -eq 2 ]
run compare --csv "$cut" "$work/roots.dat"
check "CSV: a heading" [ "$(head -n 1 "$work/out")" = figure,a,b ]
check "CSV: a line" prints '^"requests",4478,6121$'
run compare --all --csv "$cut" "$work/roots.dat"
check "all: every row" [ "$(grep -c 'missed",' "$work/out")" -ge 780 ]
check "all: at-creation" prints '^"at-creation 7 shared: missed",402,7$'

# A trace and its own JSON are the same; packed JSON and standard input, too.
"$program" replay --json "$work/cut.json" "$cut" >/dev/null
run compare "$cut" "$work/cut.json"
check "JSON of the trace: done" is_status 0
check "JSON of the trace: no figure differs" [ "$(grep -c '[0-9]$' "$work/out")" -eq 0 ]
gzip -k "$work/cut.json"
run compare "$work/cut.json.gz" "$work/dat.json"
check "packed JSON" prints "^requests  *4,478  *6,121 "

# Two runs' statistics.
echo '{"exits": 100, "root_missed": 7, "tricks": [1, 2], "name": "a", "deep": {"x": 1.5}}' \
	>"$work/a.json"
echo ' {"exits": 150, "root_missed": 7, "only": 3, "deep": {"x": 3}}' >"$work/b.json"
run compare "$work/a.json" "$work/b.json"
check "runs: done" is_status 0
check "runs: a figure" prints "^exits  *100  *150  *+50  *1.500$"
check "runs: deep" prints "^deep.x  *1.500  *3  *+1.500  *2.000$"
check "runs: only one has it" prints "^only  *-  *3"
check "runs: the same is left out" [ "$(grep -c root_missed "$work/out")" -eq 0 ]
run compare --all - "$work/b.json" <"$work/a.json"
check "runs: standard input, all" prints "^root_missed  *7  *7 "

# A search for one figure does not go through all of them: quadratic, this took minutes.
seq 300000 | awk '{ printf "%s\"figure%d\":%d", NR == 1 ? "{" : ",", $1, $1 } END { print "}" }' \
	>"$work/many.json"
check "many figures" timeout 20 "$program" compare "$work/many.json" "$work/many.json"

# What is neither.
echo '{"a": 1,' >"$work/short.json"
echo '{"a" 1}' >"$work/bad.json"
echo '{}' >"$work/none.json"
{ printf '{"a":'; head -c 100000 /dev/zero | tr '\0' '['; } >"$work/deep.json"
refuses "one file" "two files are needed, 1 given" compare "$cut"
refuses "no such file" "nowhere: No such file" compare "$cut" "$work/nowhere"
refuses "short" "short.json: byte [0-9]*: this is no JSON" compare "$work/a.json" "$work/short.json"
refuses "bad" "bad.json: byte 5: this is no JSON" compare "$work/bad.json" "$work/a.json"
refuses "empty object" "none.json: there are no figures" compare "$work/none.json" "$work/a.json"
refuses "too deep" "deep.json: byte [0-9]*: this is no" compare "$work/deep.json" "$work/a.json"
refuses "unknown option" "no option \"--fast\"" compare --fast "$cut" "$cut"
run compare --help
check "help" prints "^Usage: rhizome compare"

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
