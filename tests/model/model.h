/* SPDX-License-Identifier: MIT */
/*
 * The model of one virtual machine: its memory with the history of every table entry, its slots,
 * and for each vCPU which contexts were current when and what was invalidated when. On that stands
 * the oracle: what a processor may have cached (docs/oracle.md).
 *
 * Time counts events. A value or a context holds from one time (included) to another (excluded).
 */
#ifndef MODEL_MODEL_H
#define MODEL_MODEL_H

#include "mmu.h"

enum {
	MODEL_FRAMES = 64,     /* frames that may ever be written: the rest of memory stays zero */
	MODEL_FRAME_HASH = 256,
	MODEL_SLOTS = 16,
	MODEL_VCPUS = 4,
	MODEL_KEYS = 80,       /* (context, guest ASID, PCID, address space) on one vCPU */
	MODEL_ASIDS = 16,      /* (context, guest ASID) on one vCPU */
	MODEL_INTERVALS = 24,  /* of one key; older ones are forgotten, which is stricter */
	MODEL_ADDRESSES = 24,  /* address invalidations; older ones are forgotten: laxer */
	MODEL_OLD_VALUES = 40, /* of one entry; past that the oracle says "unknown" */
	MODEL_HISTORY = 1 << 15,
};
static const uint64_t MODEL_FOREVER = ~0ull;

enum { MODEL_SLOT_READ_ONLY = 1, MODEL_SLOT_DIRTY_LOG = 2 };

struct model_slot {
	bool used;
	uint64_t gpa, bytes, hpa;
	unsigned space, flags;
	uint64_t logged; /* by frame index: written since the last harvest */
};

struct model_old {
	uint64_t value, from, to;
	uint32_t older;
};

struct model_frame {
	uint64_t hpa;
	bool rom;            /* was in a read-only slot once: A and D cannot be relied upon */
	uint64_t value[512]; /* now */
	uint64_t since[512];
	uint32_t old[512];   /* newest older value, 0 if none */
	uint8_t olds[512];
};

/* A stretch of time in which a key was current. */
struct model_interval {
	uint64_t from, to;
	uint64_t cr3;
	uint64_t pdpte[4];
	struct model_mode mode;
};

struct model_key {
	unsigned asid; /* index into the vCPU's asids */
	unsigned pcid, space;
	uint64_t flushed; /* last invalidation of all of it, globals apart */
	unsigned intervals;
	struct model_interval interval[MODEL_INTERVALS];
};

struct model_address {
	uint64_t gva, time;
	unsigned pcid;
	bool globals; /* INVLPG takes global entries of all PCIDs too */
};

struct model_asid {
	unsigned context;
	uint32_t guest_asid;
	uint64_t flushed; /* last invalidation of everything, globals included */
	unsigned addresses;
	struct model_address address[MODEL_ADDRESSES];
};

struct model_vcpu {
	struct model_regs regs[3]; /* by context: L1, L2, L2 by L1's nested tables */
	uint32_t guest_asid[3];    /* as last given */
	unsigned context, space;
	unsigned key;              /* the current one */
	unsigned keys, asids;
	struct model_key key_of[MODEL_KEYS];
	struct model_asid asid_of[MODEL_ASIDS];
	uint64_t epoch;            /* counts what may shrink what is allowed here */
};

struct model_vm {
	struct model_cpuid cpuid;
	uint64_t time;
	uint64_t epoch;     /* counts changes of slots */
	uint64_t unknown;   /* checks that the history was too short for */
	uint64_t searches;  /* checks that memory now did not answer */
	unsigned frames;
	struct model_frame frame[MODEL_FRAMES];
	uint8_t hash[MODEL_FRAME_HASH]; /* frame index + 1, open addressing by hpa */
	struct model_slot slot[MODEL_SLOTS];
	struct model_vcpu vcpu[MODEL_VCPUS];
	uint32_t old_free, old_next;
	struct model_old old[MODEL_HISTORY];
};

/* ---- memory.c ---- */

void model_init(struct model_vm *vm, const struct model_cpuid *cpuid);
/* Declares a frame that may be written. Zero at first. */
void model_add_frame(struct model_vm *vm, uint64_t hpa);
/* The frame's index, or -1. */
int model_frame(const struct model_vm *vm, uint64_t hpa);
/* Bytes at hpa become those at data. May cross into the next frame if that is known. */
void model_store(struct model_vm *vm, uint64_t hpa, unsigned bytes, const void *data);
uint64_t model_peek(const struct model_vm *vm, uint64_t hpa, unsigned bytes);
/* The slot of a guest-physical address, or null. */
struct model_slot *model_slot_at(struct model_vm *vm, unsigned space, uint64_t gpa);
/* Where a guest-physical address leads; false: nowhere. */
bool model_hpa(const struct model_vm *vm, unsigned space, uint64_t gpa, uint64_t *hpa,
               unsigned *flags);
/* Slots have changed: to be called after each change. */
void model_slots_changed(struct model_vm *vm);
/* The guest or the embedder wrote through this guest-physical address. */
void model_log(struct model_vm *vm, unsigned space, uint64_t gpa);

/* ---- context.c: what the guest does to its registers and TLB ---- */

void model_vcpu_reset(struct model_vm *vm, unsigned vcpu);
const struct model_regs *model_vcpu_regs(const struct model_vm *vm, unsigned vcpu);

/* An event begins: its time. What the processor read before has an earlier one. */
uint64_t model_tick(struct model_vm *vm);

/*
 * All of these: 'start' is the time when the instruction began, of model_tick. They return false
 * for #GP, and then nothing has changed.
 */
bool model_cr3(struct model_vm *vm, unsigned vcpu, uint64_t cr3, uint64_t start);
bool model_load(struct model_vm *vm, unsigned vcpu, const struct model_regs *next, uint64_t start);
/* What a nested entry or exit invalidates [APM2 15.16.2]. */
enum model_flush { MODEL_KEEP, MODEL_FLUSH_ASID, MODEL_FLUSH_ALL };
bool model_switch(struct model_vm *vm, unsigned vcpu, unsigned context,
                  const struct model_regs *regs, uint32_t guest_asid, enum model_flush flush,
                  uint64_t start);
/* What L1 invalidates of its guests: an address, all of one ASID, all, all by one nested table. */
void model_invlpga(struct model_vm *vm, unsigned vcpu, uint64_t gva, uint32_t guest_asid,
                   uint64_t start);
void model_flush_asid(struct model_vm *vm, unsigned vcpu, uint32_t guest_asid, uint64_t start);
void model_flush_l2(struct model_vm *vm, unsigned vcpu, uint64_t start);
void model_flush_table(struct model_vm *vm, unsigned vcpu, uint64_t table, uint64_t start);
bool model_invpcid(struct model_vm *vm, unsigned vcpu, uint64_t type, uint64_t pcid, uint64_t gva,
                   uint64_t start);
bool model_set_space(struct model_vm *vm, unsigned vcpu, unsigned space, uint64_t start);
void model_invlpg(struct model_vm *vm, unsigned vcpu, uint64_t gva, uint64_t start);
void model_flush(struct model_vm *vm, unsigned vcpu, uint64_t start);
void model_keys(struct model_vm *vm, unsigned vcpu, uint32_t pkru, uint32_t pkrs);

/* ---- oracle.c ---- */

/* Walks memory as it is now. */
void model_walk(struct model_vm *vm, unsigned vcpu, uint64_t gva, unsigned access,
                struct model_walk *walk);

struct model_question {
	uint64_t gva;
	bool to_gpa;      /* target is a guest-physical address, else a host-physical one */
	bool any_type;    /* the memory type does not matter */
	uint64_t target;
	unsigned type;    /* PWT, PCD, PAT as bits 0, 1, 2 */
	unsigned need;    /* abilities that the processor has by this translation */
	/* the answer's detail */
	unsigned got;     /* abilities that are allowed */
	uint64_t gpa;     /* where the chain leads */
};

/* May the processor use this translation of gva on this vCPU in its current context now? */
bool model_allowed(struct model_vm *vm, unsigned vcpu, struct model_question *question);

#endif
