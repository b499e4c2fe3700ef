/* SPDX-License-Identifier: MIT */
/*
 * The small world: all sequences of events, to a depth, on the real library. Guest tables have
 * two entries that are ever used, at two levels, in frames that are table, directory and memory at
 * once; two CR3 values; one or two vCPUs. States are hashed, so that each is gone on from once.
 *
 *   explore.c   breadth first through the states; the command line
 *   event.c     what can happen, and what each event does
 *   hardware.c  host callbacks, entries, and all that a processor's TLB could hold
 *   oracle.c    what it may hold: docs/oracle.md for this world, as sets
 *   state.c     saving and restoring a state, and its name whatever the path to it
 *
 * The world's processor is the worst one: it loads every translation that it can as soon as it can
 * and forgets none until it must. So no choice of its own multiplies the states.
 */
#ifndef SMALL_H
#define SMALL_H

#include <setjmp.h>
#include <stdbool.h>
#include <stdint.h>

#include <rhizome/rhizome.h>

enum {
	FRAMES = 3,             /* of guest memory that changes; frame FRAMES is a hole */
	HOLE_FRAME = FRAMES,
	FIXED = 4,              /* frames of upper tables, which never change */
	ENTRIES = 2,            /* of each table */
	PLACES = ENTRIES * ENTRIES, /* addresses: place = directory entry * 2 + table entry */
	VCPUS = 2,
	CR3S = 2,
	TAGS = 8,               /* of each processor; a vCPU has one of its own */
	POOL = 64,              /* host pages */
	MODES = 3,
};

/* An entry: 0, or 1 + frame * 2 + writable. As a set of entries: bit value - 1. */
typedef uint8_t value;
enum { VALUES = 1 + (FRAMES + 1) * 2 };
#define FRAME_OF(v) ((unsigned)((v) - 1) / 2)
#define IS_WRITABLE(v) (!((v) & 1))
#define VALUE(frame, writable) ((value)(1 + (frame) * 2 + (writable)))
#define BIT(v) ((uint8_t)(1u << ((v) - 1)))

/* One of the worlds that are explored. */
struct plan {
	const char *name;
	enum rhz_paging mode;   /* 32-bit, PAE or 4-level */
	uint32_t options;       /* RHZ_NO_* */
	unsigned vcpus, depth, deep; /* deep: in soak */
	unsigned values;        /* entries take the first so many of 'value_order' */
	unsigned events;        /* set of enum kind */
	bool no_flush_by_tag;
	uint32_t quota;
};

enum kind { LOAD, READ, STORE, STALE_STORE, INVLPG, WROTE, INVALIDATE, UNSHADOW, SHRINK, FLUSH,
	    KINDS };

struct event {
	uint8_t kind, vcpu, place, index, value;
};

/* What one tag of a processor could hold. */
struct tag {
	uint8_t tlb[PLACES];     /* set of values */
	uint64_t tables[PLACES]; /* leaf tables, as a set of pool pages: cached upper levels */
	bool dangling;           /* one of them was freed since the last flush */
};

/* What the oracle knows of a vCPU: the values that its processor may have read. */
struct allowed {
	uint8_t upper[ENTRIES];  /* directory entries since the last invalidation */
	uint8_t leaf[PLACES];    /* translations */
};

struct seat {
	bool running;
	uint8_t cr3;
	struct rhz_entry entry;
	struct tag tag[TAGS];
	struct allowed allowed;
};

/* All that a state is, but for the library's own. Saved and restored as one. */
struct world {
	value memory[FRAMES][ENTRIES];
	struct seat seat[VCPUS];
	struct rhz_cpu cpu[VCPUS];
	uint64_t pages; /* set of pool pages that the library holds */
};

extern struct world world;
extern const struct plan *plan;
extern struct rhz_vm *vm;
extern struct rhz_vcpu *vcpu[VCPUS];
extern jmp_buf failed;
extern char reason[300];

/* Notes why, and leaves the event. */
void fail(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));

/* ---- hardware.c ---- */
extern uint8_t *pool, *ram;
void hardware_init(void); /* the VM of the plan, its vCPUs, and its first state */
void hardware_end(void);
uint64_t address_of(unsigned place);
uint64_t cr3_of(unsigned n);
/* The place in guest memory of an entry, and its value there. */
uint64_t entry_gpa(unsigned frame, unsigned index);
void memory_set(unsigned frame, unsigned index, value v);
/* What the shadow tables say of an address: the value, 0: nothing. */
value table_gives(unsigned v, unsigned place);
/* Everybody who is out of the guest goes in. */
void enter_all(void);
void flush_address(unsigned v, unsigned place);
/* All that the processors could hold is allowed. */
void check_all(void);

/* ---- oracle.c ---- */
void oracle_changed(void);             /* memory did */
void oracle_flush(unsigned v);
void oracle_invlpg(unsigned v, unsigned place);
/* Walks memory as it is: the translation, 0: not present. *writable: along the chain. */
value oracle_walk(unsigned v, unsigned place);

/* ---- event.c ---- */
unsigned event_list(struct event *events, unsigned most);
void event_perform(const struct event *event);
void event_print(const struct event *event);

/* ---- state.c ---- */
struct image;
struct image *image_make(void);
void image_save(struct image *image);
void image_restore(const struct image *image);
void image_free(struct image *image);
uint64_t state_hash(void);

#endif
