/* SPDX-License-Identifier: MIT */
/*
 * Runs one guest by /dev/kvm until it ends. KVM has the interrupt controllers and the timer; here
 * are the serial line, the keyboard controller's reset and isa-debug-exit's port.
 *
 * usage: vmm --memory MIB --kernel FILE [--initrd FILE] [--append STRING]
 *        vmm --memory MIB --multiboot FILE [--append STRING]
 *        vmm --mark N    marks the moment for a Rhizome below (rhizome run --marks)
 *
 * Exit status: 0 the guest reset or shut down, (v << 1) | 1 it wrote v to port F4h, 2 it cannot be
 * run, 3 KVM gave it up.
 */
#include <fcntl.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/io.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vmm.h"

enum { MARK_PORT = 0xe9, EXIT_PORT = 0xf4, KEYBOARD_COMMAND = 0x64, CLOCK_DATA = 0x71 };
enum { KEYBOARD_RESET = 0xfe, CPUID_MAX = 256 };
enum { STATUS_CANNOT = 2, STATUS_GIVEN_UP = 3 };

/* KVM has these, but says so by capabilities only. With them a guest need not measure clocks. */
#define LEAF1_C_DEADLINE (1u << 24)
#define LEAF1_C_HYPERVISOR (1u << 31)

void vmm_fail(const char *format, ...)
{
	va_list arguments;

	fflush(stdout);
	fputs("vmm: ", stderr);
	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fputc('\n', stderr);
	exit(STATUS_CANNOT);
}

uint8_t *vmm_read_file(const char *path, size_t *bytes)
{
	FILE *file = fopen(path, "rb");
	uint8_t *data = NULL;
	long size;

	if (!file || fseek(file, 0, SEEK_END) || (size = ftell(file)) < 0)
		vmm_fail("%s: %m", path);
	rewind(file);
	data = malloc((size_t)size + 1);
	if (!data || fread(data, 1, (size_t)size, file) != (size_t)size)
		vmm_fail("%s: cannot be read", path);
	fclose(file);
	*bytes = (size_t)size;
	return data;
}

void vmm_put(struct vmm *vmm, uint64_t at, const void *from, size_t bytes, const char *what)
{
	if (at > vmm->bytes || bytes > vmm->bytes - at)
		vmm_fail("%s: does not fit into the guest's memory", what);
	memcpy(vmm->memory + at, from, bytes);
}

static int control(int fd, unsigned long request, void *argument, const char *name)
{
	int result = ioctl(fd, request, argument);

	if (result < 0)
		vmm_fail("%s: %m", name);
	return result;
}

void vmm_set_flat(struct vmm *vmm, unsigned code, unsigned data, bool is_64bit)
{
	struct kvm_segment segment = { .limit = ~0u, .selector = (uint16_t)code, .type = 11,
		                       .present = 1, .s = 1, .g = 1, .db = !is_64bit,
		                       .l = is_64bit };

	vmm->sregs.cs = segment;
	segment.selector = (uint16_t)data;
	segment.type = 3;
	segment.db = 1;
	segment.l = 0;
	vmm->sregs.ds = vmm->sregs.es = vmm->sregs.fs = vmm->sregs.gs = vmm->sregs.ss = segment;
	vmm->sregs.cr0 |= 1;
	vmm->regs.rflags = 2;
}

static void set_cpuid(int kvm, int vcpu)
{
	struct kvm_cpuid2 *cpuid = calloc(1, sizeof(*cpuid) +
	                                         CPUID_MAX * sizeof(cpuid->entries[0]));

	if (!cpuid)
		vmm_fail("out of memory");
	cpuid->nent = CPUID_MAX;
	control(kvm, KVM_GET_SUPPORTED_CPUID, cpuid, "KVM_GET_SUPPORTED_CPUID");
	for (unsigned i = 0; i < cpuid->nent; i++) {
		struct kvm_cpuid_entry2 *entry = &cpuid->entries[i];

		if (entry->function == 1)
			entry->ecx |= LEAF1_C_DEADLINE | LEAF1_C_HYPERVISOR;
	}
	control(vcpu, KVM_SET_CPUID2, cpuid, "KVM_SET_CPUID2");
	free(cpuid);
}

static struct kvm_run *make(struct vmm *vmm, size_t mib)
{
	struct kvm_userspace_memory_region region = { 0 };
	struct kvm_pit_config pit = { .flags = KVM_PIT_SPEAKER_DUMMY }; /* port 61h too */
	struct kvm_reinject_control ticks = { .pit_reinject = 0 }; /* a lost tick stays lost */
	struct kvm_run *run;
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC), size;

	if (kvm < 0)
		vmm_fail("/dev/kvm: %m");
	vmm->bytes = mib << 20;
	vmm->memory = mmap(NULL, vmm->bytes, PROT_READ | PROT_WRITE,
	                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (vmm->memory == MAP_FAILED)
		vmm_fail("no memory for the guest");
	vmm->vm = control(kvm, KVM_CREATE_VM, NULL, "KVM_CREATE_VM");
	control(vmm->vm, KVM_CREATE_IRQCHIP, NULL, "KVM_CREATE_IRQCHIP");
	control(vmm->vm, KVM_CREATE_PIT2, &pit, "KVM_CREATE_PIT2");
	control(vmm->vm, KVM_REINJECT_CONTROL, &ticks, "KVM_REINJECT_CONTROL");
	region.memory_size = vmm->bytes;
	region.userspace_addr = (uintptr_t)vmm->memory;
	control(vmm->vm, KVM_SET_USER_MEMORY_REGION, &region, "KVM_SET_USER_MEMORY_REGION");
	vmm->vcpu = control(vmm->vm, KVM_CREATE_VCPU, NULL, "KVM_CREATE_VCPU");
	set_cpuid(kvm, vmm->vcpu);
	control(vmm->vcpu, KVM_GET_SREGS, &vmm->sregs, "KVM_GET_SREGS");
	size = control(kvm, KVM_GET_VCPU_MMAP_SIZE, NULL, "KVM_GET_VCPU_MMAP_SIZE");
	run = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, vmm->vcpu, 0);
	if (run == MAP_FAILED)
		vmm_fail("the vCPU's page: %m");
	return run;
}

static void port_write(struct vmm *vmm, unsigned port, uint8_t value)
{
	if (port - UART_PORT < UART_PORTS)
		uart_write(vmm, port - UART_PORT, value);
	else if (port == EXIT_PORT || (port == KEYBOARD_COMMAND && value == KEYBOARD_RESET)) {
		fflush(stdout);
		exit(port == EXIT_PORT ? value << 1 | 1 : 0);
	}
}

static uint8_t port_read(struct vmm *vmm, unsigned port)
{
	if (port - UART_PORT < UART_PORTS)
		return uart_read(vmm, port - UART_PORT);
	/* Neither keyboard controller nor clock is ever busy; nothing else is there. */
	return port == KEYBOARD_COMMAND || port == CLOCK_DATA ? 0 : 0xff;
}

static void do_io(struct vmm *vmm, struct kvm_run *run)
{
	uint8_t *data = (uint8_t *)run + run->io.data_offset;

	for (unsigned i = 0; i < run->io.count; i++, data += run->io.size) {
		for (unsigned byte = 0; byte < run->io.size; byte++) {
			const unsigned port = run->io.port + byte;

			if (run->io.direction == KVM_EXIT_IO_OUT)
				port_write(vmm, port, data[byte]);
			else
				data[byte] = port_read(vmm, port);
		}
	}
}

static int loop(struct vmm *vmm, struct kvm_run *run)
{
	for (;;) {
		control(vmm->vcpu, KVM_RUN, NULL, "KVM_RUN");
		switch (run->exit_reason) {
		case KVM_EXIT_IO:
			do_io(vmm, run);
			break;
		case KVM_EXIT_MMIO: /* no device has memory: it reads as ones */
			if (!run->mmio.is_write)
				memset(run->mmio.data, 0xff, sizeof(run->mmio.data));
			break;
		case KVM_EXIT_SHUTDOWN:
			fflush(stdout);
			return 0;
		default:
			fflush(stdout);
			fprintf(stderr, "vmm: KVM gave the guest up: exit reason %u, %llx\n",
			        run->exit_reason,
			        (unsigned long long)run->hw.hardware_exit_reason);
			return STATUS_GIVEN_UP;
		}
	}
}

static void mark(uint8_t number)
{
	if (ioperm(MARK_PORT, 1, 1))
		vmm_fail("ioperm: %m");
	outb(number, MARK_PORT);
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "memory", required_argument, NULL, 'm' },
		{ "kernel", required_argument, NULL, 'k' },
		{ "multiboot", required_argument, NULL, 'b' },
		{ "initrd", required_argument, NULL, 'i' },
		{ "append", required_argument, NULL, 'a' },
		{ "mark", required_argument, NULL, 'n' },
		{ NULL, 0, NULL, 0 },
	};
	const char *kernel = NULL, *multiboot = NULL, *initrd = NULL, *arguments = "";
	unsigned long mib = 64;
	struct vmm vmm = { 0 };
	struct kvm_run *run;
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (option) {
		case 'm': mib = strtoul(optarg, NULL, 10); break;
		case 'k': kernel = optarg; break;
		case 'b': multiboot = optarg; break;
		case 'i': initrd = optarg; break;
		case 'a': arguments = optarg; break;
		case 'n': mark((uint8_t)strtoul(optarg, NULL, 10)); return 0;
		default: return STATUS_CANNOT;
		}
	}
	if (!kernel == !multiboot || optind < argc || mib < 16 || mib > 3072)
		vmm_fail("one of --kernel and --multiboot, and --memory of 16 to 3072 MiB");
	run = make(&vmm, mib);
	if (kernel)
		linux_load(&vmm, kernel, initrd, arguments);
	else
		multiboot_load(&vmm, multiboot, arguments);
	control(vmm.vcpu, KVM_SET_SREGS, &vmm.sregs, "KVM_SET_SREGS");
	control(vmm.vcpu, KVM_SET_REGS, &vmm.regs, "KVM_SET_REGS");
	return loop(&vmm, run);
}
