/* SPDX-License-Identifier: MIT */
/*
 * A virtual machine's memory: RAM, slots, dirty log, what the host does to it, and the audit.
 *
 * Every function here takes the VM's lock, unless it says otherwise.
 */
#ifndef RHIZOME_VM_H
#define RHIZOME_VM_H

#include <rhizome/guest.h>
#include <rhizome/host.h>
#include <rhizome/stats.h>

struct rhz_vm;
struct rhz_ram;

/* How the VM's guests are translated. */
enum rhz_paging_kind {
	RHZ_SHADOW,      /* the processor walks our shadow tables */
	RHZ_NPT_4LEVEL,  /* it walks the guest's, and ours behind it: host CR4.LA57 = 0 */
	RHZ_NPT_5LEVEL,  /* ... host CR4.LA57 = 1 */
	RHZ_EPT_4LEVEL,
	RHZ_EPT_5LEVEL,
};

/* What the physical processor offers to the tables that we make. */
struct rhz_host_cpu {
	uint8_t maxphyaddr;
	bool pages_1g;
	bool nx;
	bool ept_execute_only, ept_ad;
};

/* The tricks. Each may be turned off at creation, so that the plain pager stays as an oracle. */
enum {
	RHZ_NO_PREFETCH = 1 << 0,    /* neighbours are not filled at a fault */
	RHZ_NO_UNSYNC = 1 << 1,      /* leaf tables stay write-protected: each write comes to us */
	RHZ_NO_ROOT_REUSE = 1 << 2,  /* as policy none */
	RHZ_NO_TAGS = 1 << 3,        /* every entry under another root flushes everything */
	RHZ_NO_LARGE_PAGES = 1 << 4, /* 4 KiB leaves only */
	RHZ_NO_MMIO_CACHE = 1 << 5,
	RHZ_NO_EXEC_LARGE = 1 << 6,  /* CVE-2018-12207: executable leaves are 4 KiB */
	RHZ_NO_LISTS = 1 << 7,       /* all out-of-sync tables are on the VM's shared list */
	RHZ_NO_QUICK_FILL = 1 << 8,  /* every fault goes the general way */
};

struct rhz_vm_config {
	enum rhz_paging_kind kind;
	/*
	 * What the processor walks for L1's own guests where L1 uses nested paging, and so what
	 * L1's nested tables are: RHZ_NPT_* or RHZ_EPT_*. RHZ_SHADOW: there is none of that. The
	 * same as 'kind', unless that is RHZ_SHADOW.
	 */
	enum rhz_paging_kind nested;
	struct rhz_host_cpu host_cpu;
	struct rhz_cpuid cpuid;       /* the guest's */
	uint32_t quota;               /* shadow pages, RHZ_MIN_ to RHZ_MAX_SHADOW_PAGES */
	uint32_t options;             /* RHZ_NO_* */
	const struct rhz_host *host;  /* copied */
};

/* Bytes for rhz_vm_create with this configuration, 0 if it is invalid. Takes no lock. */
size_t rhz_vm_size(const struct rhz_vm_config *config);

/*
 * Makes a VM in memory (16-byte aligned) of at least rhz_vm_size bytes. Allocates nothing.
 * RHZ_ERR_MEMORY_SIZE, _QUOTA, _FEATURE, _ARGUMENT. Takes no lock.
 */
enum rhz_status rhz_vm_create(void *memory, size_t size, const struct rhz_vm_config *config,
                              struct rhz_vm **vm);

/*
 * Gives back every page. The VM's vCPUs must have been destroyed; none may run. Afterwards the
 * memory of VM and RAMs is the embedder's again.
 */
void rhz_vm_destroy(struct rhz_vm *vm);

/* ---- RAM: contiguous host memory that slots refer to ---- */

/* Bytes of bookkeeping for so much RAM: 4 per frame and a little. 0 if the size is invalid. */
size_t rhz_ram_size(uint64_t bytes);

/*
 * Declares host memory: hpa is what the processor's tables hold, at is where we can read and write
 * it, both 4 KiB aligned. RAMs must not overlap. Frames mapped through different slots, address
 * spaces or guest addresses are one frame if they are one in RAM: write tracking follows that.
 * RHZ_ERR_ALIGNMENT, _RANGE, _OVERLAP, _TOO_MANY_RAMS, _TOO_MANY_FRAMES, _MEMORY_SIZE.
 */
enum rhz_status rhz_vm_add_ram(struct rhz_vm *vm, void *memory, size_t size, rhz_hpa hpa, void *at,
                               uint64_t bytes, unsigned *ram);

/* ---- slots: where guest-physical addresses lead ---- */

enum {
	RHZ_SLOT_READ_ONLY = 1 << 0, /* writes are handed to the embedder like MMIO */
	RHZ_SLOT_DIRTY_LOG = 1 << 1,
};

struct rhz_slot {
	rhz_gpa gpa;            /* 4 KiB aligned, as are bytes and offset */
	uint64_t bytes;
	unsigned ram;           /* of rhz_vm_add_ram */
	uint64_t offset;        /* in that RAM */
	unsigned address_space; /* 0: ordinary */
	unsigned flags;
	uint64_t *dirty;        /* with RHZ_SLOT_DIRTY_LOG: one bit a page, the embedder's memory,
	                           (pages + 63) / 64 words; written by us */
};

/*
 * Adds a slot. Cached MMIO entries of its range die. *id names it until it is deleted.
 * RHZ_ERR_ALIGNMENT, _RANGE, _OVERLAP, _TOO_MANY_SLOTS, _NOT_FOUND (RAM), _ADDRESS_SPACE.
 */
enum rhz_status rhz_slot_add(struct rhz_vm *vm, const struct rhz_slot *slot, unsigned *id);

/* Deletes a slot. What maps its frames, and the shadow pages of tables in it, are dropped. */
enum rhz_status rhz_slot_delete(struct rhz_vm *vm, unsigned id);

/* Moves a slot to another guest-physical address. RHZ_ERR_OVERLAP leaves it where it was. */
enum rhz_status rhz_slot_move(struct rhz_vm *vm, unsigned id, rhz_gpa gpa);

/*
 * Changes flags and dirty bitmap. Read-only or dirty log turned on: writable mappings of its
 * frames lose that right. Dirty log turned off: small pages are let grow again (rhz_slot_collapse).
 */
enum rhz_status rhz_slot_set_flags(struct rhz_vm *vm, unsigned id, unsigned flags, uint64_t *dirty);

/* The slot as it is. RHZ_ERR_NOT_FOUND. */
enum rhz_status rhz_slot_get(struct rhz_vm *vm, unsigned id, struct rhz_slot *slot);

/*
 * Harvests the dirty log of pages first .. first + pages - 1 of the slot: copies the bits to out
 * (bit 0 of out[0] is page 'first', which is a multiple of 64), clears them, and takes write access
 * from what was dirty, so that the next write is logged anew. *found: how many were dirty.
 * RHZ_ERR_RANGE, _NOT_FOUND, _ARGUMENT (no log, or first no multiple of 64).
 */
enum rhz_status rhz_slot_harvest(struct rhz_vm *vm, unsigned id, uint64_t first, uint64_t pages,
                                 uint64_t *out, uint64_t *found);

/* Drops 4 KiB mappings in the slot that a large one could replace; faults bring that in. */
enum rhz_status rhz_slot_collapse(struct rhz_vm *vm, unsigned id);

/* Where a guest-physical address leads: our pointer and the bytes left in the slot; null: hole. */
void *rhz_vm_at(struct rhz_vm *vm, unsigned address_space, rhz_gpa gpa, uint64_t *bytes);

/* ---- what the embedder and the host do to the memory ---- */

/*
 * The embedder wrote len bytes of guest memory (an emulated store, a device): logs them dirty and
 * re-reads what shadows them. Called after the write. A range outside all slots is ignored.
 */
void rhz_vm_wrote(struct rhz_vm *vm, unsigned address_space, rhz_gpa gpa, uint64_t len);

/*
 * Gives up every shadow page of the table at gpa, if no vCPU has it as the current root of the
 * context that it is in; else nothing. True if it was given up (or there was none). For write
 * floods, and for what another context shadows and this one wants as ordinary memory.
 */
bool rhz_vm_unshadow(struct rhz_vm *vm, unsigned address_space, rhz_gpa gpa);

/*
 * The host is about to take or change a run of RAM: when this returns, nothing maps it, and no
 * vCPU's TLB does. Later faults may map it again.
 */
enum rhz_status rhz_ram_invalidate(struct rhz_vm *vm, unsigned ram, uint64_t offset,
                                   uint64_t bytes);

/*
 * Clears and reports the accessed bits of what maps the run: *young counts mappings that had been
 * used since the last call. TLBs are not flushed: ageing may be late, never wrong.
 */
enum rhz_status rhz_ram_age(struct rhz_vm *vm, unsigned ram, uint64_t offset, uint64_t bytes,
                            uint64_t *young);

/* Shrinks to 'pages' shadow pages or as near as can be; returns how many are in use then. */
uint32_t rhz_vm_shrink(struct rhz_vm *vm, uint32_t pages);

/* Statistics so far; takes no lock, so counters may be of slightly different moments. */
const struct rhz_vm_stats *rhz_vm_stats(const struct rhz_vm *vm);

/* ---- audit ---- */

struct rhz_audit {
	unsigned invariant;  /* of docs/invariants.md; 0: all hold */
	const char *what;    /* the broken one in a few words */
	rhz_gpa table;       /* of the shadow page concerned, if any */
	uint64_t role;
	unsigned index;      /* of its entry */
	uint64_t entry, expected;
};

/*
 * Checks every invariant over every shadow page, vCPU and tag known to the VM; writes the first
 * broken one to *audit and returns its number, 0 if all hold. Slow; changes nothing. No vCPU may be
 * entering meanwhile.
 */
unsigned rhz_vm_audit(struct rhz_vm *vm, struct rhz_audit *audit);

#endif
