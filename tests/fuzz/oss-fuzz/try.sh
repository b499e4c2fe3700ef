#!/bin/bash
# SPDX-License-Identifier: MIT
# Does what OSS-Fuzz's builder does, here: build.sh in its environment, then each target that came
# out once over its zipped corpus, from a directory of its own, as OSS-Fuzz's runner has it.
# usage: tests/fuzz/oss-fuzz/try.sh DIRECTORY
set -euo pipefail
root=$(cd "$(dirname "$0")/../../.." && pwd)
mkdir -p "$1"
place=$(cd "$1" && pwd)
rm -rf "$place/out" "$place/src"
mkdir -p "$place/out" "$place/src"
ln -s "$root" "$place/src/rhizome"
sanitize="-O1 -gline-tables-only -fsanitize=address,undefined -fno-sanitize-recover=undefined"
export SRC=$place/src WORK=$place OUT=$place/out
export CC=clang CXX=clang++ LIB_FUZZING_ENGINE=-fsanitize=fuzzer
export CFLAGS="$sanitize -fsanitize=fuzzer-no-link" CXXFLAGS="$sanitize -fsanitize=fuzzer-no-link"
"$root/tests/fuzz/oss-fuzz/build.sh" >"$place/build.txt" 2>&1 || {
	tail -20 "$place/build.txt"
	exit 1
}
cd "$OUT"
passed=0 failed=0
for zip in *_seed_corpus.zip; do
	target=${zip%_seed_corpus.zip}
	seeds=$(mktemp -d "$place/seeds.XXXXXX")
	python3 -m zipfile -e "$zip" "$seeds"
	elsewhere=$(ldd "./$target" | grep -E 'lib(trace|zstd|z\.)' | grep -vF "$OUT/lib" || true)
	if [ -n "$elsewhere" ]; then
		failed=$((failed + 1))
		echo "$target: not from lib/: $elsewhere"
	elif "./$target" -runs=0 "$seeds" >"$place/$target.txt" 2>&1; then
		passed=$((passed + 1))
	else
		failed=$((failed + 1))
		tail -5 "$place/$target.txt"
	fi
	rm -r "$seeds"
done
echo "$passed passed, $failed failed"
[ $failed = 0 ]
