#!/bin/sh
# SPDX-License-Identifier: MIT
# How kvm-pti.trace was recorded; see README.md. Runs inside a KVM host:
#
#     guests/fetch --kvm build/guests/kvm
#     guests/kvmhost/host.py build/guests/kvm data/record-pti.sh OUT --npt 0 \
#             --program rhizome=build/lab/rhizome
#     zstd --ultra -22 OUT/kvm-pti.trace
run='sleep 2; echo begin;
	i=0; while [ $i -lt 8 ]; do echo $i | sed s/1/2/ | cat | wc -c; i=$((i+1)); done >/dev/null;
	echo end; sleep 100'
qemu-system-x86_64 -name pti -accel kvm -cpu host -m 128 -display none -nic none -monitor none \
	-serial file:/out/console -kernel /guest/vmlinuz -initrd /guest/initramfs \
	-append "console=ttyS0 quiet pti=on rhizome.run=\"$(echo $run)\"" &
until grep -q 'up after' /out/console; do sleep 0.1; done
rhizome record --vm pti --output /out/kvm-pti.trace &
recorder=$!
until grep -q '^end' /out/console; do sleep 0.1; done
kill -INT $recorder
wait $recorder
kill %1
