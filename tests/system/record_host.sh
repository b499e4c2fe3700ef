#!/bin/sh
# SPDX-License-Identifier: MIT
# Runs inside a KVM host (guests/kvmhost) for record_test.py: records a guest whose requests for a
# root are known, then ends recorders in every way. What was seen goes to /out.
tracefs=/sys/kernel/tracing
qemu="qemu-system-x86_64 -accel kvm -cpu host -m 64 -display none -nic none -monitor none"

# soon COMMAND: until it succeeds, at most 30 s.
soon() {
	n=0
	until eval "$1"; do
		n=$((n + 1))
		[ $n -lt 300 ] || { echo "kvmhost: never came: $1"; return 1; }
		sleep 0.1
	done
}
recording() { grep -qs 1 $tracefs/instances/rhizome-"$1"/tracing_on; }
# What recorders have made and not taken away.
left() { ls $tracefs/instances; cat $tracefs/kprobe_events; }
gone() { [ -z "$(left)" ]; }

# A guest that switches among 3 and among 6 roots and then stands still, so that KVM's own
# statistics can be read when it has no more exits. All VMs, and then it alone by its name.
rhizome record -q -o /out/mark.trace 2>/out/mark.err &
recorder=$!
soon "recording $recorder"
$qemu -name mark -serial file:/out/mark.out -kernel mark.elf \
	-append "rows=cr3_touch16 roots=3,6 detail=1" &
vm=$!
soon "grep -q '\"roots\": 6.*}' /out/mark.out"
sleep 0.5
for file in /sys/kernel/debug/kvm/*-*/*; do
	[ ! -f "$file" ] || echo "${file##*/} $(head -n 1 "$file")"
done >/out/mark.stats
kill -INT $recorder
wait $recorder
echo $? >/out/mark.status
left >/out/mark.left
rhizome record --list >/out/list
rhizome record -q --vm nobody >/out/nobody.out 2>/out/nobody.err
echo $? >/out/nobody.status

# Two recorders at once, one of them of a VM that ends.
rhizome record -q --vm mark -o /out/ends.trace 2>/dev/null &
recorder=$!
rhizome record -q -d 600 -o - 2>/dev/null >/out/term.trace &
other=$!
soon "recording $recorder && recording $other"
kill $vm
wait $recorder
echo $? >/out/ends.status
left >/out/ends.left # the other's
kill -TERM $other
wait $other
echo $? >/out/term.status
left >/out/term.left

# A count, into a pipe; the live line.
$qemu -serial none -kernel mark.elf -append "rows=cr3 roots=2" &
vm=$!
rhizome record -q -c 100 -o - 2>/out/count.err | cat >/out/count.trace
kill $vm

# A recorder that is killed; one that is killed with its cleaner, and the next.
rhizome record -q -o /out/killed.trace 2>/dev/null &
recorder=$!
soon "recording $recorder"
kill -KILL $recorder
soon gone
left >/out/killed.left
rhizome record -q -o /out/both.trace 2>/dev/null &
recorder=$!
soon "recording $recorder"
kill -KILL $(pidof rhizome)
wait $recorder
left >/out/both.left
rhizome record -q -d 1 -o /out/next.trace 2>/dev/null
left >/out/next.left

# What goes wrong: while it is being set up, at the output, for want of root, of KVM.
refuse() {
	name=$1
	shift
	"$@" >/out/"$name".out 2>/out/"$name".err
	echo $? >/out/"$name".status
	left >/out/"$name".left
}
refuse halfway rhizome record -q -b 1048576 -d 1 -o /out/halfway.trace
refuse output rhizome record -q -d 1 -o /nowhere/x
refuse full sh -c 'rhizome record -q -d 1 -o - >/dev/full'
mkdir -p /etc
echo nobody:x:65534:65534::/:/bin/sh >/etc/passwd
refuse user su nobody -c "rhizome record -q -d 1 -o /tmp/x"
rmmod kvm_amd kvm
refuse kvm rhizome record -q -d 1 -o /tmp/x
