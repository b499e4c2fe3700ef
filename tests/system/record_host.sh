# SPDX-License-Identifier: MIT
# Runs inside a KVM host, behind host_script.sh, for record_test.py: records a guest whose requests
# for a root are known, then ends recorders in every way. What was seen goes to /out.
qemu="$qemu -m 64"

step() { echo "kvmhost: at $(seconds) s: $1"; }
recording() { grep -qs 1 $tracefs/instances/rhizome-"$1"/tracing_on; }
gone() { [ -z "$(left)" ]; }

# A guest that switches among 3 and among 6 roots and then stands still, so that KVM's own
# statistics can be read when it has no more exits. All VMs, and then it alone by its name.
step "a guest"
$record -o /out/mark.trace 2>/out/mark.err &
recorder=$!
soon "recording $recorder"
$qemu -name mark -serial file:/out/mark.out -kernel mark.elf \
	-append "rows=cr3_touch16 roots=3,6 detail=1" &
vm=$!
soon "grep -qs '\"roots\": 6.*}' /out/mark.out"
sleep 0.5
stats >/out/mark.stats
kill -INT $recorder
wait $recorder
echo $? >/out/mark.status
left >/out/mark.left
rhizome record --list >/out/list
$record --vm nobody >/out/nobody.out 2>/out/nobody.err
echo $? >/out/nobody.status

# Two recorders at once, one of them of a VM that ends.
step "two recorders"
$record --vm mark -o /out/ends.trace 2>/dev/null &
recorder=$!
$record -d 600 -o - 2>/dev/null >/out/term.trace &
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
step "a count"
$qemu -serial none -kernel mark.elf -append "rows=cr3 roots=2" &
vm=$!
$record -c 100 -o - 2>/out/count.err | cat >/out/count.trace
kill $vm

# A recorder that is killed; one that is killed with its cleaner, and the next.
step "killed recorders"
$record -o /out/killed.trace 2>/dev/null &
recorder=$!
soon "recording $recorder"
kill -KILL $recorder
soon gone
left >/out/killed.left
$record -o /out/both.trace 2>/dev/null &
recorder=$!
soon "recording $recorder"
kill -KILL $(pidof rhizome)
wait $recorder
left >/out/both.left
$record -d 1 -o /out/next.trace 2>/dev/null
left >/out/next.left

# What goes wrong: while it is being set up, at the output, for want of root, of KVM.
step "what goes wrong"
refuse() {
	name=$1
	shift
	"$@" >/out/"$name".out 2>/out/"$name".err
	echo $? >/out/"$name".status
	left >/out/"$name".left
}
refuse halfway $record -b 1048576 -d 1 -o /out/halfway.trace
refuse output $record -d 1 -o /nowhere/x
refuse full sh -c "$record -d 1 -o - >/dev/full"
mkdir -p /etc
echo nobody:x:65534:65534::/:/bin/sh >/etc/passwd
refuse user su nobody -c "rhizome record -q -d 1 -o /tmp/x"
rmmod kvm_amd kvm
refuse kvm $record -d 1 -o /tmp/x
