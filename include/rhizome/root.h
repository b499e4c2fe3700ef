/* SPDX-License-Identifier: MIT */
/*
 * The root cache: which roots a vCPU keeps, and in which order they are tried.
 *
 * This is the data structure alone. It knows keys, not page tables, so that a vCPU and the lab's
 * replay run the very same code. One thread at a time; no locks; nothing is allocated.
 *
 * Each context (L1, L2, nested tables) has a current root of its own. Behind them is one pool of
 * cached roots for all contexts. A root enters the pool when it stops being current (except under
 * the policy at-creation, where the pool holds the current roots too).
 */
#ifndef RHIZOME_ROOT_H
#define RHIZOME_ROOT_H

#include <rhizome/types.h>

/* Whose translations a root serves. */
enum rhz_context {
	RHZ_CONTEXT_L1 = 0,        /* the guest itself */
	RHZ_CONTEXT_L2 = 1,        /* the guest's guest, by its own page tables */
	RHZ_CONTEXT_L2_NESTED = 2, /* the guest's guest, by L1's nested tables (NPT, EPT) */
};
enum { RHZ_CONTEXTS = 3 };

enum rhz_root_policy {
	RHZ_ROOTS_NONE,          /* every load builds anew */
	RHZ_ROOTS_VICTIM,        /* KVM before 2020: the current root is rotated out unseen */
	RHZ_ROOTS_CURRENT_FIRST, /* the 2020 patch: the current root, then the cached; default */
	RHZ_ROOTS_AT_CREATION,   /* a root enters the pool when created; the current costs a slot */
	RHZ_ROOTS_RANDOM_4,      /* as current-first; evicts the oldest of four drawn at random */
	RHZ_ROOTS_PINNED,        /* as current-first, but capacity is the limit of the house: only
	                            memory pressure gives a root up */
};
enum { RHZ_ROOT_POLICIES = 6 };

/* The policy's name as the command line has it ("current-first"), or null if there is none. */
const char *rhz_root_policy_name(enum rhz_root_policy policy);
/* The policy of that name into *policy; RHZ_ERR_POLICY if there is none. */
enum rhz_status rhz_root_policy_find(const char *name, enum rhz_root_policy *policy);

/* What a root translates. Two roots are the same if and only if all four are the same. */
struct rhz_root_key {
	uint64_t table;      /* the guest's table: CR3 or nested CR3 without flags; 0 if direct */
	uint64_t role;       /* everything else that its entries depend on */
	uint32_t guest_asid; /* L1's ASID or VPID for its guest; 0 in context L1 */
	uint32_t context;    /* enum rhz_context */
};

enum rhz_root_found {
	RHZ_ROOT_CURRENT, /* the current root of the key's context fits: nothing was moved */
	RHZ_ROOT_CACHED,  /* a cached root fits and is current now; the old one took its place */
	RHZ_ROOT_MISSED,  /* none fits: build one, then rhz_root_cache_insert */
};

/* A cached root's hardware TLB tag; root/tag.c alone reads and writes it. */
struct rhz_tag_lease {
	uint64_t generation; /* of the processor's tags when leased; 0: none leased */
	uint64_t stamp;      /* the VM's removal count that its TLB entries reflect */
	uint32_t cpu;        /* the physical processor's number */
	uint32_t tag;        /* ASID or VPID; never 0, which is the host's */
};

struct rhz_root_entry {
	struct rhz_root_key key;
	struct rhz_tag_lease lease;
	uint32_t page;   /* the owner's handle: the library's shadow page, or anything */
	uint8_t next;    /* next entry of the same hash bucket, or of the free ones */
	uint8_t pad;     /* to 64 bytes: one cache line, and an index is a shift away from it */
	uint16_t flushes; /* the owner's, to tell old leases by; 0 at insertion */
	void *owned;     /* what the handle stands for, for its owner to note; null at insertion */
};

enum {
	/* every cached root, a current one per context, and one more for the root being inserted */
	RHZ_ROOT_ENTRIES = RHZ_MAX_CACHED_ROOTS + RHZ_CONTEXTS + 1,
	RHZ_ROOT_PLACES = 128,
	RHZ_ROOT_BUCKETS = 128,
	RHZ_ROOT_NO_ENTRY = 255,
};

/* All fields are root/cache.c's; the struct is public so that its owner can place it. */
struct rhz_root_cache {
	uint64_t gone[RHZ_ROOT_PLACES / 64];       /* bit set: the place was given up */
	uint64_t gone_above[RHZ_ROOT_PLACES / 64]; /* byte n: bits of gone above its byte n */
	uint64_t random;
	uint32_t capacity; /* of the pool, the policy applied */
	uint32_t cached;   /* entries in the pool now */
	uint32_t next_place;
	enum rhz_root_policy policy;
	bool plain; /* the policy tries the current root first and never pools it */
	uint8_t current[RHZ_CONTEXTS];
	uint8_t free_head;
	uint8_t bucket[RHZ_ROOT_BUCKETS];
	uint8_t at_place[RHZ_ROOT_PLACES];  /* which entry holds a place that is not gone */
	uint8_t place_of[RHZ_ROOT_ENTRIES + 4]; /* which place an entry holds, or what it is
	                                           instead; whole 64-bit words */
	struct rhz_root_entry entry[RHZ_ROOT_ENTRIES];
};

/*
 * Makes an empty cache. capacity: cached roots beside the current ones, 0 to RHZ_MAX_CACHED_ROOTS.
 * seed: for random-4 only; the same seed gives the same choices.
 * RHZ_ERR_TOO_MANY_ROOTS, RHZ_ERR_POLICY.
 */
enum rhz_status rhz_root_cache_init(struct rhz_root_cache *cache, enum rhz_root_policy policy,
                                    unsigned capacity, uint64_t seed);

/*
 * Looks for a root and, if it is cached, makes it current for its context. *position, if not
 * null, is set for RHZ_ROOT_CACHED: 0 for the most recently cached, counted over all contexts.
 * The order of trial is the policy's.
 */
enum rhz_root_found rhz_root_cache_find(struct rhz_root_cache *cache,
                                        const struct rhz_root_key *key, unsigned *position);

/*
 * After a miss: makes 'page' the current root of key's context; the old current root goes to the
 * pool, and what the pool cannot hold leaves. Returns how many left (0, 1 or 2) and writes their
 * pages to evicted[]: their owner drops its references.
 */
unsigned rhz_root_cache_insert(struct rhz_root_cache *cache, const struct rhz_root_key *key,
                               uint32_t page, uint32_t evicted[2]);

/*
 * Removes the entry with this index, current or cached, and returns its page. For the owner that
 * walks entry[] and finds one that must go (memory pressure, a slot change).
 */
uint32_t rhz_root_cache_remove(struct rhz_root_cache *cache, unsigned index);

/* The index of the least recently used cached root, or RHZ_ROOT_NO_ENTRY. */
unsigned rhz_root_cache_oldest(const struct rhz_root_cache *cache);

/* True if entry[index] holds a root, current or cached. */
bool rhz_root_cache_holds(const struct rhz_root_cache *cache, unsigned index);

#endif
