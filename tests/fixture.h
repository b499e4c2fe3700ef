/* SPDX-License-Identifier: MIT */
/*
 * What the unit and regression tests stand on: a host, a VM with vCPUs, guest tables in any mode,
 * and processors that walk the library's tables and keep translations in a TLB by tag.
 *
 * A test says "a user write to this address reaches that frame" or "faults with this code". Behind
 * it the guest's access runs as on hardware: enter, TLB or walk, fault to the library, again. After
 * every step the audit must be clean. Nothing here knows the library's inside.
 */
#ifndef FIXTURE_H
#define FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <rhizome/rhizome.h>

/* Bits of guest entries; the same in all formats. */
enum { P = 1 << 0, W = 1 << 1, U = 1 << 2, PWT = 1 << 3, PCD = 1 << 4, A = 1 << 5, D = 1 << 6,
       PS = 1 << 7, PAT = 1 << 7, G = 1 << 8, PAT_LARGE = 1 << 12 };
#define NX (1ull << 63)
#define KEY(n) ((uint64_t)(n) << 59)
#define PWU (P | W | U)
#define FRAME 0x000ffffffffff000ull

/* Shorter names of accesses. */
enum { READ = 0, WRITE = RHZ_ACCESS_WRITE, FETCH = RHZ_ACCESS_FETCH, USER = RHZ_ACCESS_USER,
       AC = RHZ_ACCESS_AC, IMPLICIT = RHZ_ACCESS_IMPLICIT, TABLE = RHZ_ACCESS_TABLE };

enum {
	VCPUS = 64,
	CPUS = 4,
	HOST_PAGES = 4096,
	LOW_PAGES = 512,           /* of these, as many lie below 4 GiB */
	TLB = 512,
	RAM = 8 << 20,             /* guest memory, unless the test wants another size */
	TABLES = 0x100000,         /* guest tables are taken from here up to TABLES_LAST; the */
	TABLES_END = 0x200000,     /* window shows them up to here */
	TABLES_LAST = 0x400000,
};
#define RAM_HPA 0x200000000ull     /* 1 GiB aligned, above 4 GiB */
#define RAM2_HPA 0x300000000ull
#define HOLE 0xd0000000ull         /* guest-physical, no slot there */
#define WINDOW 0x40000000ull       /* where map_window puts the guest's tables */

struct setup {
	enum rhz_paging_kind kind;
	enum rhz_paging mode;      /* of the guest; NONE: paging off */
	uint32_t options, quota;   /* quota 0: 512 */
	unsigned vcpus;            /* 0: 1 */
	enum rhz_root_policy policy;
	unsigned cached_roots;     /* with given_roots */
	bool given_roots;          /* else: current-first, the default capacity */
	unsigned tags;             /* with given_tags */
	bool given_tags, no_flush_by_tag; /* else: 15 tags, flush by tag */
	uint64_t ram;              /* bytes, 0: RAM */
	bool bare;                 /* no slot, no vCPU */
	bool no_audit;             /* the test audits by itself: large RAM */
	uint8_t maxphyaddr;        /* of the guest, 0: 40 */
	bool ept_ad, no_1g;
	bool no_lock;
	enum rhz_paging_kind nested; /* what L2 has: RHZ_NPT_*, RHZ_EPT_* */
	bool amd, no_execute_only;
};

struct translation {
	bool valid;
	uint32_t tag;
	uint64_t page, hpa;        /* page numbers */
	bool w, u, nx, r;
	unsigned key;
};

struct processor {
	struct rhz_cpu cpu;
	struct translation tlb[TLB];
	unsigned next;
};

struct place {
	unsigned cpu;              /* which processor it runs on */
	bool running;
	bool hides_implicit;       /* the embedder cannot tell implicit accesses */
	bool ept_ad;               /* of L1's EPTP */
	struct rhz_entry entry;    /* of the last entry */
	unsigned entries;          /* how often it entered */
	unsigned flushes[4];       /* told, by enum rhz_flush */
};

struct world {
	struct setup setup;
	struct rhz_host host;
	struct rhz_vm_config config;
	struct rhz_vm *vm;
	void *vm_memory;
	struct rhz_vcpu *vcpu[VCPUS];
	void *vcpu_memory[VCPUS];
	struct place at[VCPUS];
	struct processor cpu[CPUS];

	uint8_t *ram;
	uint64_t ram_bytes;
	void *ram_memory[RHZ_MAX_RAMS];
	unsigned ram_id, slot;
	uint64_t next_table;       /* guest-physical */

	/* the host's pages */
	uint8_t *pages;
	bool page_live[HOST_PAGES];
	unsigned live, allocated, freed;
	unsigned fail_at;          /* the N-th allocation from now on fails; 0: none does */
	bool fail_on;              /* ... and all after it */
	bool no_memory;            /* every allocation fails */
	unsigned locked, locks, kicks;
	uint64_t kicked;           /* the last set */
	void (*on_kick)(struct world *world); /* before the kicked vCPUs leave */
	unsigned events[16];       /* traced, by kind */
};

/* ---- making and ending ---- */

struct world *world_make(const struct setup *setup);
/* Destroys all, and checks that every page came back. */
void world_end(struct world *world);
void world_vcpu_add(struct world *world, unsigned vcpu);
void world_vcpu_remove(struct world *world, unsigned vcpu);
void world_default_config(const struct setup *setup, struct rhz_vm_config *config);

/* The audit must find nothing. */
void world_audit(struct world *world, const char *file, int line);
#define audit(world) world_audit(world, __FILE__, __LINE__)

/* ---- guest memory and tables ---- */

void *guest_at(struct world *world, uint64_t gpa);
uint64_t guest_get(struct world *world, uint64_t gpa, unsigned bytes);
/* Writes memory behind the library's back: only where nothing is shadowed, or a guest could. */
void guest_put(struct world *world, uint64_t gpa, unsigned bytes, uint64_t value);
/* The embedder's write: memory, then rhz_vm_wrote. */
void guest_poke(struct world *world, uint64_t gpa, unsigned bytes, uint64_t value);

/* A new, empty table (any format); its gpa. */
uint64_t table_new(struct world *world);
unsigned entry_bytes(const struct world *world);
unsigned mode_levels(const struct world *world);
/* The gpa of the entry of this level for gva; the tables above it exist. */
uint64_t entry_at(struct world *world, uint64_t root, uint64_t gva, unsigned level);
/* Maps a page of this level; tables on the way are made with P, W, U. Writes memory directly. */
void map_at(struct world *world, uint64_t root, uint64_t gva, uint64_t gpa, uint64_t bits,
            unsigned level);
void map(struct world *world, uint64_t root, uint64_t gva, uint64_t gpa, uint64_t bits);
/* Maps the guest's tables at WINDOW (supervisor, writable), as kernels do. */
void map_window(struct world *world, uint64_t root);
/* Changes the entry of this level by an embedder's write, or by the guest through the window. */
void entry_poke(struct world *world, uint64_t root, uint64_t gva, unsigned level, uint64_t value);
void entry_store(struct world *world, unsigned vcpu, uint64_t root, uint64_t gva, unsigned level,
                 uint64_t value);
uint64_t entry_get(struct world *world, uint64_t root, uint64_t gva, unsigned level);

/* Registers of a mode: WP, NXE, PSE on, CR3 = root; the rest off. */
struct rhz_regs regs_of(enum rhz_paging mode, uint64_t root);
/* Sets the vCPU's registers through the legal steps (via paging off if need be). */
void start(struct world *world, unsigned vcpu, uint64_t root);
void load_ok(struct world *world, unsigned vcpu, uint64_t cr3);
void regs_ok(struct world *world, unsigned vcpu, const struct rhz_regs *regs);
/* A switch of context that goes through. */
void switch_ok(struct world *world, unsigned vcpu, enum rhz_context context,
               const struct rhz_regs *regs, uint32_t guest_asid, enum rhz_guest_flush flush);
/* A nested entry by L1's nested tables: 'l1' governs them, its CR3 is their address. */
enum rhz_load_result nested_entry(struct world *world, unsigned vcpu, const struct rhz_regs *l1,
                                  uint32_t guest_asid, enum rhz_guest_flush flush);
void nested_ok(struct world *world, unsigned vcpu, const struct rhz_regs *l1, uint32_t guest_asid,
               enum rhz_guest_flush flush);
/* ... by EPT. */
void ept_ok(struct world *world, unsigned vcpu, uint64_t eptp, uint32_t vpid,
            enum rhz_guest_flush flush);
/* Back to L1 as it was left. */
void exit_ok(struct world *world, unsigned vcpu);
/* Changes bits of CR0, CR4, EFER of a running vCPU. */
void cr_change(struct world *world, unsigned vcpu, uint64_t cr0_flip, uint64_t cr4_flip,
               uint64_t efer_flip);

/* ---- accesses ---- */

enum how { REACHED, FAULTED, WAS_GP, WAS_MMIO, WAS_TRACKED, WAS_NO_MEMORY, WAS_EXIT };

struct seen {
	enum how how;
	uint64_t gpa;        /* REACHED: by RAM; MMIO, TRACKED: as told */
	uint64_t hpa;
	uint32_t error_code; /* FAULTED */
	bool read_only;
	unsigned faults;     /* handed to the library on the way */
	struct rhz_fault fault;
	struct rhz_l1_exit exit; /* EXIT: of L2, to L1 */
};

/*
 * An access of the guest, to its end. Audits after each step. A livelock fails the test. In the
 * context of L1's nested tables the address is L2's physical one, and TABLE says that the processor
 * reads one of L2's tables.
 */
struct seen touch(struct world *world, unsigned vcpu, uint64_t gva, unsigned access);
/* A store of the guest, emulated where the library asks for it. */
struct seen store(struct world *world, unsigned vcpu, uint64_t gva, unsigned bytes,
                  uint64_t value);
/* The TLB has this translation, usable under the vCPU's tag of its last entry. */
const struct translation *tlb_find(struct world *world, unsigned vcpu, uint64_t gva);
/* Flushes one address under that tag. */
void tlb_drop(struct world *world, unsigned vcpu, uint64_t gva);
/* Enters as often as it takes. False: no memory. */
bool enter(struct world *world, unsigned vcpu);
/* What the library's tables alone say now, no fault, no TLB: the leaf, 0 if none. */
uint64_t leaf_of(struct world *world, unsigned vcpu, uint64_t addr, unsigned *level);
void invlpg(struct world *world, unsigned vcpu, uint64_t gva);

void check_reaches(struct world *world, unsigned vcpu, uint64_t gva, unsigned access, uint64_t gpa,
                   const char *file, int line);
void check_faults(struct world *world, unsigned vcpu, uint64_t gva, unsigned access,
                  uint32_t error_code, const char *file, int line);
void check_ends(struct world *world, unsigned vcpu, uint64_t gva, unsigned access, enum how how,
                uint64_t gpa, const char *file, int line);
#define reaches_on(world, vcpu, gva, access, gpa) \
	check_reaches(world, vcpu, gva, access, gpa, __FILE__, __LINE__)
#define reaches(world, gva, access, gpa) reaches_on(world, 0, gva, access, gpa)
#define faults_on(world, vcpu, gva, access, code) \
	check_faults(world, vcpu, gva, access, code, __FILE__, __LINE__)
#define faults(world, gva, access, code) faults_on(world, 0, gva, access, code)
void check_exits(struct world *world, unsigned vcpu, uint64_t ngpa, unsigned access,
                 enum rhz_l1_exit_kind kind, uint64_t info, const char *file, int line);
/* L2's access is forbidden by L1's nested tables: the exit that L1 gets. */
#define exits_on(world, vcpu, ngpa, access, kind, info) \
	check_exits(world, vcpu, ngpa, access, kind, info, __FILE__, __LINE__)
#define npf(world, ngpa, access, info) exits_on(world, 0, ngpa, access, RHZ_L1_NPF, info)
#define is_mmio(world, gva, access, gpa) \
	check_ends(world, 0, gva, access, WAS_MMIO, gpa, __FILE__, __LINE__)
#define is_tracked(world, gva, access, gpa) \
	check_ends(world, 0, gva, access, WAS_TRACKED, gpa, __FILE__, __LINE__)

/* A status by its name, so that a failure says which it was. */
#define assert_status(status, expected) \
	assert_string_equal(rhz_status_name(status), #expected)

/* Statistics of vCPU 0, and of the VM. */
#define STAT(world, field) (rhz_vcpu_stats((world)->vcpu[0])->field)
#define VM_STAT(world, field) (rhz_vm_stats((world)->vm)->field)

#endif
