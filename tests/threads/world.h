/* SPDX-License-Identifier: MIT */
/*
 * The library's contract on concurrency under real threads: what the parts of the test share.
 *
 *   host.c    the embedder's callbacks: lock, kick, pages; making and ending the VM
 *   guest.c   the guest's memory and tables, and what each vCPU may see of them at any moment
 *   cpu.c     processors: entries, a TLB by tag, the walk of the library's tables, accesses
 *   work.c    what the vCPU threads and the host's thread do
 *   threads.c the command line, the watchdog
 *
 * A frame is counted over both RAMs: 0 .. RAM_PAGES - 1 is the guest's memory, what follows the
 * spare slot's.
 */
#ifndef THREADS_WORLD_H
#define THREADS_WORLD_H

#include <pthread.h>
#include <rhizome/rhizome.h>

enum { P = 1 << 0, W = 1 << 1, U = 1 << 2, A = 1 << 5, D = 1 << 6 };
#define FRAME 0x000ffffffffff000ull

enum {
	VCPUS = 3,
	ROOTS = 6,
	CELLS = 64,        /* at most */
	RAM_PAGES = 1024,
	SPARE_PAGES = 16,
	FRAMES = RAM_PAGES + SPARE_PAGES,
	WINDOW_PAGES = 512, /* of RAM, shown at WINDOW: all tables are in it */
	HOST_PAGES = 2048,
	TLB = 256,
	TAGS = 5,
	HISTORY = 64,
	KINDS = 4,
	NO_FRAME = -1,
};
#define PAGES_HPA 0x10000000ull
#define RAM_HPA 0x200000000ull
#define SPARE_HPA 0x300000000ull
#define SPARE_GPA 0x10000000ull
#define PRIVATE 0x600000ull      /* a leaf table of this root's own */
#define LINKED 0x800000ull       /* behind a level-2 entry that changes */
#define SHARED 0x40000000ull     /* behind a level-2 table that all roots share */
#define SPARE (SHARED + 0x1000000ull)
#define WINDOW 0x8000000000ull

/* What is checked; each must have happened. */
enum check {
	CHECK_REACHED,     /* an access got what a version of its entry since the last flush says */
	CHECK_REFLECTED,   /* ... or a fault that one of them justifies */
	CHECK_TLB,         /* a TLB entry outlived no invalidation of its frame */
	CHECK_TLB_WRITE,   /* a writable one no harvest */
	CHECK_GONE,        /* nothing reached a frame that the host had just taken */
	CHECK_LOGGED,      /* a page stored to is in the next harvest */
	CHECK_FREED,       /* a page given back was walked by no vCPU in the guest */
	CHECK_WALK,        /* a walk met only pages of the library's */
	CHECK_AUDIT,
	CHECK_PROGRESS,
	CHECKS,
};

/* A guest entry that one vCPU changes and all use. Kind n of it leads to frame[n]. */
struct cell {
	uint64_t gva, entry; /* gpa of the entry */
	int root;            /* the only one that has it, -1: all */
	unsigned owner;
	uint64_t value[KINDS];
	int frame[KINDS];    /* NO_FRAME: not present */
	bool writable[KINDS];
	/* versions: history[n % HISTORY] is the kind of version n; 'done' ones are in memory */
	uint8_t history[HISTORY];
	uint64_t started, done;
};

struct translation {
	bool valid, w, u;
	uint32_t tag;
	uint64_t page;
	int frame;
	uint64_t taken, protected; /* of the frame, when this was read from the tables */
};

struct thread {
	pthread_t thread;
	uint64_t random;
	uint64_t progress;
	uint64_t checks[CHECKS];
	bool keep;       /* the next unlock keeps the mutex */
	int wrote;       /* a frame to be noted as stored to when the lock is given back, or -1 */
};

struct cpu {
	struct thread thread; /* of the vCPU */
	unsigned number;
	struct rhz_vcpu *vcpu;
	void *memory;
	struct rhz_cpu cpu;
	struct rhz_entry entry;
	struct translation tlb[TLB];
	int root;
	uint64_t since[CELLS]; /* the oldest version that translations may show */
	uint64_t stay;         /* odd: announced */
	bool leave;            /* the kick's request */
	uint64_t walked[HOST_PAGES]; /* the stay in which the page was walked last */
	uint64_t faults, kicks_seen;
};

struct world {
	uint64_t seed;
	struct rhz_host host;
	struct rhz_vm *vm;
	void *vm_memory, *ram_memory[2];
	uint32_t quota, options;
	uint8_t *ram, *spare;
	unsigned ram_id, spare_id, slot, spare_slot;
	bool spare_there;
	uint64_t pml4[ROOTS];
	struct cell cell[CELLS];
	unsigned cells, next_table, next_data;

	pthread_mutex_t lock;
	bool locked, host_waits;
	uint8_t *pages;
	bool page_live[HOST_PAGES];
	unsigned live;

	/* by frame */
	uint64_t taken[FRAMES];     /* invalidations */
	uint64_t protected[FRAMES]; /* harvests */
	bool gone[FRAMES];          /* the host has it at this moment */
	bool stored[FRAMES];        /* since the last harvest */

	struct cpu cpu[VCPUS];
	struct thread host_thread;
	bool stop, end;             /* park; finish */
	unsigned parked;
	uint64_t kicks, stops, lost_log;
};

extern struct world world;
extern __thread struct thread *self;

#define LOAD(at) __atomic_load_n(at, __ATOMIC_ACQUIRE)
#define LOAD_SEQ(at) __atomic_load_n(at, __ATOMIC_SEQ_CST)
#define STORE(at, value) __atomic_store_n(at, value, __ATOMIC_RELEASE)
#define STORE_SEQ(at, value) __atomic_store_n(at, value, __ATOMIC_SEQ_CST)

/* Says what is wrong and ends the program. */
__attribute__((noreturn, format(printf, 1, 2))) void broken(const char *format, ...);

static inline void checked(enum check check)
{
	self->checks[check]++;
}

static inline void expect(bool holds, enum check check, const char *what)
{
	checked(check);
	if (!holds)
		broken("%s", what);
}

static inline uint64_t random_next(void)
{
	self->random ^= self->random << 13;
	self->random ^= self->random >> 7;
	self->random ^= self->random << 17;
	return self->random * 0x2545f4914f6cdd1dull >> 16;
}

static inline unsigned pick(unsigned n)
{
	return (unsigned)(random_next() % n);
}

/* ---- host.c ---- */
void world_make(uint64_t seed);
void world_end(void);
/* Gives back the mutex that 'keep' kept. */
void lock_release(void);

/* ---- guest.c ---- */
void guest_make(void);
uint64_t *guest_at(uint64_t gpa);
/* From here on the cell's owner may have stored this kind; until here another. */
void cell_start(struct cell *cell, unsigned kind);
void cell_finish(struct cell *cell);
/* The vCPU is about to flush: what it sees afterwards is no older than now. */
void cells_flush(struct cpu *cpu);
void cell_flush(struct cpu *cpu, unsigned cell);
/* Did a version since the last flush lead there? NO_FRAME: a page fault. */
void cell_judge(const struct cpu *cpu, unsigned cell, int frame, bool write);

/* ---- cpu.c ---- */
enum how { REACHED, REFLECTED, NO_RAM };
struct access {
	uint64_t gva, value; /* value: what a store stores, or a read has read */
	bool write, user;
	int frame;           /* where it went */
};
enum how cpu_access(struct cpu *cpu, struct access *access);
void cpu_leave(struct cpu *cpu);
void cpu_load(struct cpu *cpu, int root);
void cpu_invlpg(struct cpu *cpu, uint64_t gva);
void cpu_drop(struct cpu *cpu, uint64_t gva);

/* ---- work.c ---- */
void *cpu_work(void *cpu);
void *host_work(void *unused);

#endif
