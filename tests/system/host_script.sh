# SPDX-License-Identifier: MIT
# Stands at the head of each script that recorded.py runs inside a KVM host (guests/kvmhost), behind
# its patience=SECONDS. Nothing waits for ever: what does not come, or end, is killed and told of.
tracefs=/sys/kernel/tracing
bounded="timeout -s KILL $((patience * 3 / 2))"
record="$bounded rhizome record -q"
qemu="$bounded qemu-system-x86_64 -accel kvm -cpu host -display none -nic none -monitor none"
qemu="$qemu -no-reboot"

seconds() { cut -d . -f 1 /proc/uptime; }
# soon COMMAND: until it succeeds.
soon() {
	end=$(($(seconds) + patience))
	until eval "$1"; do
		[ "$(seconds)" -lt $end ] || { echo "kvmhost: never came: $1"; return 1; }
		sleep 0.1
	done
}
# KVM's own statistics.
stats() {
	for file in /sys/kernel/debug/kvm/*-*/*; do
		[ ! -f "$file" ] || echo "${file##*/} $(head -n 1 "$file")"
	done
}
# What recorders have made and not taken away.
left() { ls $tracefs/instances; cat $tracefs/kprobe_events; }

