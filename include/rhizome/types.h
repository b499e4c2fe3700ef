/* SPDX-License-Identifier: MIT */
/* Addresses as types of their own, statuses, limits. No functions of the library live here. */
#ifndef RHIZOME_TYPES_H
#define RHIZOME_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Passing one kind of address for another must not compile, so each is a struct of one word. */
typedef struct { uint64_t v; } rhz_gva;  /* guest virtual: what a guest instruction uses */
typedef struct { uint64_t v; } rhz_gpa;  /* guest physical (of L1, the guest we run) */
typedef struct { uint64_t v; } rhz_ngpa; /* nested guest physical (of L2, the guest's guest) */
typedef struct { uint64_t v; } rhz_hpa;  /* host physical: what the processor's tables hold */

#define RHZ_PAGE_SHIFT 12u
#define RHZ_PAGE_SIZE 4096u

/* Limits. Each has its reason beside it; passing one is an error with a name, never a crash. */
enum {
	RHZ_MAX_LEVELS = 5,          /* 5-level paging is the deepest that x86 defines */
	RHZ_MAX_SLOTS = 512,         /* what QEMU asks of KVM; slots are found by binary search */
	RHZ_MAX_RAMS = 16,           /* runs of host memory: one per NUMA node or BAR is plenty */
	RHZ_MAX_VCPUS = 64,          /* vCPU sets are one 64-bit word */
	RHZ_MAX_CACHED_ROOTS = 64,   /* its order is two 64-bit words: 64 live of 128 places */
	RHZ_MAX_ADDRESS_SPACES = 4,  /* ordinary, SMM, room for two more; two bits of the role */
	RHZ_MAX_SHADOW_PAGES = 1 << 20, /* 20 bits of page, 9 of entry and 2 flags fill 32 bits */
	RHZ_MIN_SHADOW_PAGES = 16,   /* a fault needs at most 5 beside root and what it replaces */
};

/* What a call that can fail for reasons of the embedder's returns. Never mixed with errno. */
enum rhz_status {
	RHZ_OK = 0,
	RHZ_ERR_NO_MEMORY,       /* an allocation callback returned nothing */
	RHZ_ERR_MEMORY_SIZE,     /* the memory handed over is smaller than its size function says */
	RHZ_ERR_ALIGNMENT,       /* an address or a size is not a multiple of 4 KiB */
	RHZ_ERR_RANGE,           /* an address range wraps, is empty or passes the physical width */
	RHZ_ERR_OVERLAP,         /* a slot would overlap another of its address space */
	RHZ_ERR_NOT_FOUND,       /* no such slot, RAM or vCPU */
	RHZ_ERR_BUSY,            /* what should go is still in use (RAM under a slot) */
	RHZ_ERR_TOO_MANY_SLOTS,  /* RHZ_MAX_SLOTS */
	RHZ_ERR_TOO_MANY_RAMS,   /* RHZ_MAX_RAMS */
	RHZ_ERR_TOO_MANY_VCPUS,  /* RHZ_MAX_VCPUS */
	RHZ_ERR_TOO_MANY_ROOTS,  /* RHZ_MAX_CACHED_ROOTS */
	RHZ_ERR_TOO_MANY_FRAMES, /* the frames of all RAMs must be countable in 32 bits */
	RHZ_ERR_ADDRESS_SPACE,   /* RHZ_MAX_ADDRESS_SPACES */
	RHZ_ERR_QUOTA,           /* page quota below RHZ_MIN_ or above RHZ_MAX_SHADOW_PAGES */
	RHZ_ERR_POLICY,          /* no such root policy */
	RHZ_ERR_FEATURE,         /* a combination of features that no processor has */
	RHZ_ERR_ARGUMENT,        /* a null pointer or a value outside its enum */
};

/* The status's name ("RHZ_ERR_QUOTA"); never null. */
const char *rhz_status_name(enum rhz_status status);

#endif
