/* SPDX-License-Identifier: MIT */
/*
 * A host, a VM with one vCPU, and guest page tables, for the benchmarks. What is measured is not
 * here.
 *
 * Guest memory is one slot that starts at 0:
 *
 *   0 ..           tables, handed out by fixture_frame
 *   DATA_AT ..     what the guest maps; never a table
 *   after that     'echo' frames: a run of ECHO_FRAMES frames of memory seen again and again, so
 *                  that a million guest tables of the same contents take little memory
 *
 * A 4-level guest has all of it in its kernel half too, by 2 MiB pages from PHYSMAP on, as Linux
 * does: tables are written through that.
 */
#ifndef BENCH_FIXTURE_H
#define BENCH_FIXTURE_H

#include <rhizome/vcpu.h>

#include "bench.h"

#define PHYSMAP 0xffff888000000000ull
#define USER_AT 0x7f0000000000ull

enum {
	DATA_FRAMES = 1 << 16,
	TABLE_FRAMES = 1 << 16,
	ECHO_FRAMES = 4096,
	LEAF_TABLE_BYTES = 1 << 21, /* what a level-1 table maps, 8-byte entries */
};
#define DATA_AT ((uint64_t)TABLE_FRAMES * RHZ_PAGE_SIZE)
#define ECHO_AT (DATA_AT + (uint64_t)DATA_FRAMES * RHZ_PAGE_SIZE)

/* Entry bits: present, writable, user, accessed, dirty. */
#define GUEST_BITS 0x67ull
#define GUEST_WRITABLE 0x2ull

struct fixture_config {
	enum rhz_paging_kind kind;
	enum rhz_paging_kind nested; /* L2's, or RHZ_SHADOW: none */
	enum rhz_paging paging; /* the guest's */
	uint32_t options;       /* RHZ_NO_* */
	uint32_t quota;         /* 0: 8192 */
	unsigned cached_roots;
	unsigned echoes;        /* how often the echo frames are seen */
};

struct fixture {
	struct fixture_config config;
	struct rhz_vm *vm;
	struct rhz_vcpu *vcpu;
	const struct rhz_vcpu_stats *stats;
	const struct rhz_vm_stats *vm_stats;
	uint8_t *ram;
	uint64_t ram_bytes;
	unsigned ram_id, slot;
	uint64_t next_frame; /* the next table frame */
	uint64_t kernel;     /* the root whose kernel half all roots share */
	void *vm_memory, *vcpu_memory, *ram_memory;
	size_t vm_bytes, ram_book_bytes;
	/* the host's pages */
	struct {
		uint8_t *arena;
		uint64_t pages, used;
		void *free;
	} zone[2];
	uint64_t pages_out;  /* pages that the library has of us */
};

/* The one fixture, made anew: the one before is ended. Paging is on, the kernel's root loaded. */
struct fixture *fixture_make(const struct fixture_config *config);

/* A frame of guest memory, zeroed; its address. */
uint64_t fixture_frame(struct fixture *f);

/* Guest memory at an address. */
void *fixture_at(struct fixture *f, uint64_t gpa);

/* The n-th data frame's address. */
static inline uint64_t fixture_data(uint64_t n)
{
	return DATA_AT + n % DATA_FRAMES * RHZ_PAGE_SIZE;
}

/* A root of the guest's; 4-level: with the kernel's half. */
uint64_t guest_root(struct fixture *f);

/* The guest's entry for gva at a level, the tables above made as needed. 8-byte entries. */
uint64_t *guest_entry(struct fixture *f, uint64_t root, uint64_t gva, unsigned level);

/* The address of the guest's table of a level behind gva; it exists. */
uint64_t guest_table(struct fixture *f, uint64_t root, uint64_t gva, unsigned level);

/* Maps one page, all rights, A and D set. */
void guest_map(struct fixture *f, uint64_t root, uint64_t gva, uint64_t gpa);

/* Loads CR3, which must be right. */
void fixture_load(struct fixture *f, uint64_t root);

/* A read or write fault that must bring a mapping. */
void fixture_touch(struct fixture *f, uint64_t gva, bool write);

/* The guest writes to the frame of a leaf table: it must be out of sync afterwards. */
void fixture_unsync(struct fixture *f, uint64_t table);

/* The host takes pages away: the next access faults. */
void fixture_unmap(struct fixture *f, uint64_t gpa, uint64_t bytes);

#endif
