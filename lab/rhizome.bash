# SPDX-License-Identifier: MIT
# bash completion for rhizome: sub-commands from "rhizome --help", options from each one's --help.

_rhizome() {
	local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}
	local program=${COMP_WORDS[0]} command=${COMP_WORDS[1]} words

	COMPREPLY=()
	if [ "$COMP_CWORD" -eq 1 ]; then
		words="--help --version $("$program" --help 2>/dev/null |
			sed -n 's/^  \([a-z]*\) .*/\1/p')"
		mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
		return
	fi
	case $before in
	--policy)
		words="none victim current-first at-creation random-4 pinned"
		;;
	--contexts)
		words="shared separate both"
		;;
	*)
		[ "${word#-}" != "$word" ] || return # a file, which bash completes by itself
		words=$("$program" "$command" --help 2>/dev/null | grep -o -- '--[a-z][a-z-]*' |
			sort -u)
		;;
	esac
	mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
}
complete -o default -F _rhizome rhizome
