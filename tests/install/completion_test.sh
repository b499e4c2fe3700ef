#!/bin/bash
# SPDX-License-Identifier: MIT
# What bash offers after "rhizome ...": asked of the completion as bash would.
#
# Usage: completion_test.sh PROGRAM
here=$(cd "$(dirname "$0")" && pwd)
PATH=$(dirname "$1"):$PATH
. "$here/../../lab/rhizome.bash"
passed=0
failed=0

# offers WANTED WORD...: the last word is the one being typed
offers() {
	local wanted=$1
	shift
	COMP_WORDS=("$@")
	COMP_CWORD=$(($# - 1))
	_rhizome
	if [ "${COMPREPLY[*]}" = "$wanted" ]; then
		passed=$((passed + 1))
	else
		failed=$((failed + 1))
		echo "not ok: $*: \"${COMPREPLY[*]}\", should be \"$wanted\""
	fi
}

offers "record replay" rhizome re
offers "compare" rhizome com
offers "--version" rhizome --v
offers "--csv" rhizome replay --cs
offers "--capacity" rhizome replay --cap
offers "--html" rhizome replay --ht
offers "--all" rhizome compare --a
offers "--multiboot" rhizome run --mu
offers "--duration" rhizome record --du
offers "random-4" rhizome replay --policy r
offers "separate" rhizome replay --contexts se
offers "" rhizome replay trace
offers "" rhizome nonsense --x

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
