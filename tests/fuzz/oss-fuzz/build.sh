#!/bin/bash -eu
# SPDX-License-Identifier: MIT
# Builds every fuzz target as OSS-Fuzz wants it: with $CC, $CXX, $CFLAGS, $CXXFLAGS and
# $LIB_FUZZING_ENGINE, from $SRC/rhizome into $OUT, and beside each its corpus as a zip. What a
# target needs of shared libraries goes to $OUT/lib: its image has no packages.
source=$SRC/rhizome
build=${WORK:-$source}/build-oss-fuzz

rm -rf "$build"
# The flags choose the sanitizer; meson is not to choose one too.
meson setup "$build" "$source" -Db_lundef=false -Dbuildtype=plain -Dwerror=false \
	-Dfuzz_engine="$LIB_FUZZING_ENGINE" -Dfuzz_rpath='$ORIGIN/lib'
ninja -C "$build" fuzzers

mkdir -p "$OUT/lib"
for target in "$source"/tests/fuzz/*_fuzz.c; do
	name=$(basename "$target" _fuzz.c)
	cp "$build/tests/fuzz/fuzz_$name" "$OUT/"
	(cd "$source/tests/fuzz/corpus/$name" &&
		python3 -m zipfile -c "$OUT/fuzz_${name}_seed_corpus.zip" *)
	printf '[libfuzzer]\nmax_len = %s\n' "$([ "$name" = dat ] && echo 16384 || echo 4096)" \
		>"$OUT/fuzz_$name.options"
	ldd "$OUT/fuzz_$name" | awk '/=> \// { print $3 }' |
		grep -E '/lib(trace|zstd|z\.)' | xargs -r cp -n -t "$OUT/lib"
done
