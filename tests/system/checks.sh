# SPDX-License-Identifier: MIT
# What the shell tests of the lab share. They set $program and $work, a folder of their own.
passed=0
failed=0

check() { # check NAME COMMAND...: the command's status decides
	name=$1
	shift
	if "$@" >"$work/check" 2>&1; then
		passed=$((passed + 1))
	else
		failed=$((failed + 1))
		echo "not ok: $name"
		sed 's/^/    /' "$work/check"
	fi
}

run() { # run ARGUMENTS...: leaves out, err and status
	"$program" "$@" >"$work/out" 2>"$work/err"
	status=$?
}

is_status() { [ "$status" -eq "$1" ] || { echo "exit status $status"; cat "$work/err"; false; }; }
prints() { grep -q -- "$1" "$work/out" || { echo "no \"$1\" in:"; cat "$work/out"; false; }; }
one_line() {
	[ "$(wc -l <"$work/err")" -eq 1 ] && grep -q -- "$1" "$work/err" && return
	cat "$work/err"
	false
}

# refuses NAME PATTERN ARGUMENTS...: exit status 2, nothing on stdout, one line on stderr
refuses() {
	what=$1
	pattern=$2
	shift 2
	run "$@"
	check "$what: exit status 2" is_status 2
	check "$what: nothing printed" [ ! -s "$work/out" ]
	check "$what: one line, \"$pattern\"" one_line "$pattern"
}
