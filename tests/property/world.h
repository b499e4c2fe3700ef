/* SPDX-License-Identifier: MIT */
/*
 * A world of the property tests: virtual machines under the library, the model beside each, and
 * simulated processors whose TLBs hold what a real one might. One thread, all from one seed.
 *
 *   property.c  the command line       shrink.c  runs worlds, makes a failing one small
 *   world.c     makes and ends a world action.c  what can happen next, and how often
 *   host.c      the library's callbacks cpu.c    TLB, walks of the shadow tables, entries
 *   guest.c     accesses and faults     pick.c   random tables, entries and addresses
 *   load.c      registers, invalidation memory.c slots, dirty log, the host's doings
 *   nested.c    nested entries and exits
 *   check.c     what is checked after every step, and now and then
 */
#ifndef PROPERTY_WORLD_H
#define PROPERTY_WORLD_H

#include <setjmp.h>
#include <stdio.h>

#include <rhizome/rhizome.h>

#include "model/model.h"

enum {
	VMS = 2,
	VCPUS = 3,
	CPUS = 2,
	SLOTS = 8,
	TLB_ENTRIES = 24,
	TABLE_CACHE = 8,   /* paging-structure cache entries of a processor */
	POOL_LOW = 160,    /* host pages below 4 GiB */
	POOL = 1024,
	RAM_A_BYTES = 8 << 20,
	RAM_B_BYTES = 64 << 10,
	GROUPS = 9,
	RETRIES = 8,
	GUEST_ASIDS = 7,   /* L1's own, 0, and those of its guests */
	GONE = 8,
};

/* What a world is made of; printed when it fails. */
struct config {
	uint64_t seed;
	unsigned mode; /* enum mode */
	unsigned vms, vcpus, cpus;
	unsigned audit; /* full audit every so many steps, 0: never */
	unsigned check; /* walk all shadow tables every so many steps */
	uint32_t options_off, options; /* RHZ_NO_* forced off (~) and forced on */
	bool plain; /* no failing allocations, no kicks with stores */
};

/*
 * The last four have nested guests: by L2's own tables, by shadow NPT under L1's shadow and nested
 * paging, by shadow EPT under both.
 */
enum mode {
	MODE_NONE, MODE_32, MODE_PAE, MODE_4, MODE_5, MODE_MIXED, MODE_NPT, MODE_EPT,
	MODE_L2, MODE_NSVM, MODE_NNPT, MODE_NEPT, MODES,
};

struct action {
	uint32_t kind;
	uint64_t seed;
};

/* While there are bytes, each is the upper part of a draw: a fuzzer's choice in place of chance. */
struct random {
	uint64_t state;
	const uint8_t *byte, *byte_end;
};

struct translation {
	uint64_t gva, hpa; /* of the page */
	unsigned shift;
	bool write, user, nx, dirty;
	bool read;         /* EPT may give none */
	unsigned key, type;
};

struct tlb_entry {
	bool valid;
	uint32_t tag;
	struct translation to;
	uint64_t filled;               /* when, by the world's clock */
	unsigned context;              /* by whom: context and guest ASID */
	uint32_t guest_asid;
	uint64_t vm_epoch, vcpu_epoch; /* of the model, when it was last found allowed ... */
	const void *vcpu;              /* ... for this vCPU */
};

/* A cached upper level: where the tables of an address lead at a level. */
struct table_entry {
	bool valid;
	uint32_t tag;
	uint64_t prefix; /* gva above the table's reach */
	unsigned level;  /* of the table */
	uint64_t table;
	uint64_t serial; /* of the page when it was cached */
	bool write, user, nx, read;
};

struct vcpu;

struct cpu {
	struct rhz_cpu lib;
	struct tlb_entry tlb[TLB_ENTRIES];
	struct table_entry table[TABLE_CACHE];
	struct vcpu *running;
};

struct vcpu {
	struct vm *vm;
	struct rhz_vcpu *lib;
	void *memory;
	unsigned index; /* in the model */
	bool alive, running, entered;
	struct cpu *cpu;
	struct cpu *last_cpu; /* of the last entry */
	struct rhz_entry entry;
	uint64_t pdpte[4];    /* as the processor loaded them at the entry */
	bool keys_changed;
	bool known[3];        /* contexts that have registers */
	bool table;           /* the access is the processor's, to one of L2's tables */
	struct rhz_l1_exit exit; /* of the last fault */
	/* where the processor walks guest tables: the last flush by guest ASID, and of addresses */
	uint64_t flushed[GUEST_ASIDS];
	struct { uint64_t gva, time; uint32_t guest_asid; } gone[GONE];
	unsigned gone_next;
};

struct slot {
	bool used;
	unsigned id;
	struct rhz_slot lib;
	uint64_t dirty[RAM_A_BYTES / 4096 / 64];
};

struct vm {
	struct world *world;
	unsigned index;
	struct rhz_vm *lib;
	void *memory, *ram_memory[2];
	struct rhz_host host;
	struct rhz_vm_config lib_config;
	unsigned ram[2];
	struct vcpu vcpu[VCPUS];
	struct slot slot[SLOTS];
	struct model_vm *model;
	struct {
		struct vcpu *vcpu; /* null: none */
		uint64_t gva;
		unsigned access;
		const struct model_walk *before;
	} faulting; /* the fault that the library works on */
	bool locked;
	uint64_t locks, allocs; /* calls so far */
	unsigned pages;         /* held by the library */
	uint64_t stores;        /* to guest memory, by vCPUs */
	uint64_t invalidated[MODEL_FRAMES]; /* rhz_ram_invalidate, by the world's clock */
	uint64_t alias[MODEL_FRAMES];       /* a gva that led to this frame lately, 0: unknown */
	unsigned hot_count;
	uint64_t hot[128];      /* guest-physical addresses of known frames, address space 0 */
	uint8_t hot_frame[128];
};

struct pool_page {
	bool used;
	uint8_t vm;
	uint64_t serial; /* counts its allocations */
};

/* What was exercised, for the report. */
struct totals {
	uint64_t accesses, done, reflected, mmio, tracked, faults, checks, stale_stores;
	uint64_t searches, unknown; /* in the model */
	uint64_t entries, synced, reused, missed, large, prefetched, zapped; /* the library's */
};

struct world {
	struct config config;
	struct random random; /* of the current action */
	jmp_buf failed;
	char reason[800];
	bool verbose;
	unsigned step;
	uint64_t clock;
	int fail_alloc; /* the how-manieth allocation from now fails; -1: none */
	bool alloc_failed;
	unsigned quiet; /* no stores by kicked vCPUs while not 0 */
	bool calling;   /* inside a call into the library */
	bool table_cache, reload_on_fault, keep_on_fault, rom, shifted, pdpte_registers;
	unsigned vms, cpus;
	struct totals totals;
	struct vm vm[VMS];
	struct cpu cpu[CPUS];
	struct pool_page pool_page[POOL];
	uint64_t serial;
	unsigned pool_free;
};

/* ---- world.c ---- */
extern unsigned char *pool_memory, *ram_memory[VMS][2];
void world_memory_init(void);
/* Prints to the reason and leaves the world by longjmp. */
void fail(struct world *w, const char *format, ...)
	__attribute__((noreturn, format(printf, 2, 3)));
/* Tells what happens, when the world is verbose. */
void tell(struct world *w, const char *format, ...) __attribute__((format(printf, 2, 3)));
void world_create(struct world *w, const struct config *config);
void world_end(struct world *w);
/* After a failure: gives back our own memory; the library is not asked. */
void world_abandon(struct world *w);
void vcpu_create(struct vm *vm, unsigned index);
bool is_direct(const struct vm *vm);
/* The vCPU runs under the direct MMU: addresses are L1's physical ones. */
bool runs_direct(const struct vcpu *v);
/* ... by L1's nested tables: addresses are L2's physical ones. */
bool runs_nested(const struct vcpu *v);
/* The processor walks tables for it that the library does not know. */
bool runs_unseen(const struct vcpu *v);

/* ---- pick.c ---- */
uint64_t roll(struct random *r);
unsigned below(struct random *r, unsigned n);
bool chance(struct random *r, unsigned percent);
enum { GROUP_PDPT = 6, GROUP_PD32 = 7, GROUP_PT32 = 8 };
/* First and number of a group's frames: groups 1 to 5 are the levels of 64-bit tables. */
void group_range(unsigned group, unsigned *first, unsigned *count);
/* The group of a frame, 0 for data. */
unsigned group_of(unsigned frame);
uint64_t frame_hpa(unsigned vm, unsigned frame);
uint64_t pick_entry(struct vm *vm, unsigned group);
uint64_t pick_flip(struct vm *vm, uint64_t hpa, unsigned bytes);
uint64_t pick_gva(struct vm *vm, const struct model_regs *regs);
uint64_t pick_gpa(struct vm *vm);
/* The n-th of the addresses that are tried most; false: no more. */
bool hot_gva(const struct model_mode *mode, unsigned n, uint64_t *gva);
unsigned pick_offset(struct vm *vm, unsigned group);
uint64_t pick_root(struct vm *vm, enum model_paging paging);
void find_hot(struct vm *vm);
void fill_tables(struct vm *vm);

/* ---- host.c ---- */
void host_init(struct vm *vm);
void *pool_at(struct world *w, uint64_t hpa);
struct pool_page *pool_page_at(struct world *w, uint64_t hpa);
unsigned char *ram_at(struct vm *vm, uint64_t hpa);
/* Bytes of guest memory become those at data, in RAM and in the model. False: no such frame. */
bool guest_store(struct vm *vm, uint64_t hpa, unsigned bytes, const void *data);

/* ---- cpu.c ---- */
void cpu_flush(struct cpu *cpu, bool all, uint32_t tag);
void cpu_flush_address(struct cpu *cpu, uint32_t tag, uint64_t gva);
struct tlb_entry *tlb_find(struct cpu *cpu, uint32_t tag, uint64_t gva);
void tlb_insert(struct vcpu *v, const struct translation *to);
void tlb_insert_unchecked(struct vcpu *v, const struct translation *to);
/* Walks the tables at the entry's root. False: *error says why. set_ad: as the processor does. */
bool cpu_walk(struct vcpu *v, uint64_t gva, unsigned access, bool set_ad, struct translation *to,
              uint32_t *error);
/* Is the access allowed by a cached translation? The bits of the error code if not. */
bool cpu_allows(struct vcpu *v, const struct translation *to, unsigned access, uint32_t *error);
unsigned cpu_abilities(struct vcpu *v, const struct translation *to);

/* ---- entry.c ---- */
void vcpu_enter(struct vcpu *v);
void vcpu_leave(struct vcpu *v);
/* A page goes: nothing that runs may reach it. */
void check_freed(struct world *w, struct vm *vm, uint64_t hpa);

/* ---- guest.c ---- */
enum access_end { ACCESS_DONE, ACCESS_FAULT, ACCESS_MMIO };
/* One access of the guest; data: what a write stores. */
enum access_end guest_access(struct vcpu *v, uint64_t gva, unsigned access, unsigned bytes,
                             const void *data);
const char *describe(struct vcpu *v, uint64_t gva, unsigned access);
void log_store(struct vcpu *v, const struct translation *to, uint64_t gva, uint64_t hpa);
void speculate(struct vcpu *v);
/* Before and after every call into the library on behalf of an action. */
void call_begin(struct vm *vm);
void call_end(struct vm *vm);

bool call_again(struct vm *vm, unsigned *tries);
void absorb(struct vcpu *v, uint64_t gva, unsigned access, const struct model_walk *before);

/* ---- check.c ---- */
void check_translation(struct vcpu *v, const struct translation *to, bool cached, uint64_t filled,
                       const char *where);
void check_tlb(struct vcpu *v);
void check_running(struct world *w);
void check_tables(struct vcpu *v);
void check_memory(struct vm *vm);
void check_log(struct vm *vm);
void check_stats(struct vm *vm);
void count_stats(struct vm *vm);
void count_vcpu_stats(struct vcpu *v);
void check_audit(struct vm *vm);

/* ---- action.c ---- */
uint32_t pick_kind(unsigned mode, struct random *r);
void pick_actions(struct config *config, struct action *actions, unsigned count);
void perform(struct world *w, const struct action *action);

/* ---- nested.c: entries, exits, and what L1 invalidates ---- */
void act_context(struct vcpu *v);
void act_invlpga(struct vcpu *v);
void act_flush_nested(struct vcpu *v);
void act_translate_l2(struct vcpu *v);
/* No translation of this address and guest ASID outlives this moment. */
void note_gone(struct vcpu *v, uint64_t gva, uint32_t guest_asid);

/* ---- load.c ---- */
void act_cr3(struct vcpu *v);
void act_regs(struct vcpu *v);
void act_mode(struct vcpu *v);
void act_keys(struct vcpu *v);
void act_invlpg(struct vcpu *v);
void act_invpcid(struct vcpu *v);
void act_flush(struct vcpu *v);
void act_space(struct vcpu *v);
void act_translate(struct vcpu *v);
void enter_mode(struct vcpu *v, enum model_paging paging);
const struct model_regs *regs_of(struct vcpu *v);
enum model_paging paging_of(struct vcpu *v, const struct model_regs *regs);
struct rhz_regs to_lib(const struct model_regs *m);
struct model_regs regs_for(struct vcpu *v, enum model_paging paging);
unsigned pick_pcid(struct random *r);
uint64_t pick_known_gva(struct vcpu *v);
/* Around a call that changes registers: pae if it reads PDPTEs; both must agree afterwards. */
void load_begin(struct vcpu *v, bool pae);
void load_end(struct vcpu *v, bool pae, enum rhz_load_result result, bool fine, const char *what);
enum model_paging pick_paging(struct vm *vm);

/* ---- memory.c ---- */
void slot_create(struct vm *vm, unsigned n);
void act_host_write(struct vm *vm);
void act_slot(struct vm *vm);
void act_harvest(struct vm *vm);
void act_invalidate(struct vm *vm);
void act_age(struct vm *vm);
void act_shrink(struct vm *vm);
void act_unshadow(struct vm *vm);

/* ---- shrink.c ---- */
struct outcome {
	int step; /* that failed, -1: none */
	char reason[800];
	struct totals totals;
};
void run_world(const struct config *config, const struct action *actions, unsigned count,
               bool verbose, struct outcome *outcome);
/* Makes the failing sequence shorter and its world simpler, in place; returns the length. */
unsigned shrink(struct config *config, struct action *actions, unsigned count,
                const struct outcome *outcome);

#endif
