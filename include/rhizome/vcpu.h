/* SPDX-License-Identifier: MIT */
/*
 * A virtual processor: loads of its control registers, faults, invalidations, and entries.
 *
 * The life of a vCPU: the embedder tells us what the guest does (rhz_vcpu_load_*, _invlpg, ...) or
 * suffers (rhz_vcpu_page_fault), we answer what to do; before it runs the guest it asks
 * rhz_vcpu_enter for root, tag and flush.
 */
#ifndef RHIZOME_VCPU_H
#define RHIZOME_VCPU_H

#include <rhizome/vm.h>

struct rhz_vcpu;

struct rhz_vcpu_config {
	enum rhz_root_policy policy; /* RHZ_ROOTS_CURRENT_FIRST */
	unsigned cached_roots;       /* beside the current ones, 0 to RHZ_MAX_CACHED_ROOTS */
	uint64_t seed;               /* for the policy random-4 */
};

/* A default that docs/performance.md argues: measured, not guessed. */
enum { RHZ_DEFAULT_CACHED_ROOTS = 32 };

/* Bytes for rhz_vcpu_create. Takes no lock. */
size_t rhz_vcpu_size(void);

/*
 * Makes a vCPU in memory (16-byte aligned) of rhz_vcpu_size bytes, in the state after reset:
 * paging off, context L1, no root yet. *id: its number, the bit in kick()'s set.
 * RHZ_ERR_TOO_MANY_VCPUS, _TOO_MANY_ROOTS, _POLICY, _MEMORY_SIZE. Takes the lock.
 */
enum rhz_status rhz_vcpu_create(struct rhz_vm *vm, void *memory, size_t size,
                                const struct rhz_vcpu_config *config, struct rhz_vcpu **vcpu);
unsigned rhz_vcpu_id(const struct rhz_vcpu *vcpu);
/* Drops its roots. Takes the lock. */
void rhz_vcpu_destroy(struct rhz_vcpu *vcpu);

/* ---- loads ---- */

enum rhz_load_result {
	RHZ_LOAD_OK,        /* done: rhz_vcpu_enter has the root */
	RHZ_LOAD_GP,        /* #GP(0) to the guest; nothing changed */
	RHZ_LOAD_NO_MEMORY, /* nothing changed; may be repeated */
};

/*
 * MOV to CR3 in the current context. Bit 63 asks for no flush if CR4.PCIDE. Reloads the PDPTEs
 * under PAE [SDM3 4.4.1]. A guest flush of the PCID loaded, otherwise.
 * Takes the lock only if something must be built or synced; a hit allocates nothing.
 */
enum rhz_load_result rhz_vcpu_load_cr3(struct rhz_vcpu *vcpu, uint64_t cr3);

/*
 * Any other register change (CR0, CR4, EFER, with CR3 and PKRU/PKRS as they then are): all of the
 * new values. regs->pdpte is ignored: under PAE we read the PDPTEs where the manual says so. Flush
 * semantics follow from what changed [SDM3 4.10.4.1]. A root switch like any other.
 */
enum rhz_load_result rhz_vcpu_load_regs(struct rhz_vcpu *vcpu, const struct rhz_regs *regs);

/*
 * Registers as the current context has them; pdpte as loaded. In RHZ_CONTEXT_L2_NESTED: those of
 * L1's nested tables.
 */
const struct rhz_regs *rhz_vcpu_regs(const struct rhz_vcpu *vcpu);

/* PKRU and PKRS change without us where hardware has them: to be told before a fault. */
void rhz_vcpu_set_keys(struct rhz_vcpu *vcpu, uint32_t pkru, uint32_t pkrs);

/*
 * What the entry or exit invalidates of what the vCPU's guests may have cached: nothing, one guest
 * ASID, or everything that any of them has, L1 itself included [APM2 15.16.2: TLB_CONTROL].
 */
enum rhz_guest_flush { RHZ_GUEST_KEEP, RHZ_GUEST_FLUSH_ASID, RHZ_GUEST_FLUSH_ALL };

/*
 * The vCPU goes to L1 or to L2 by L2's own tables (a nested entry or exit without nested paging):
 * regs as for rhz_vcpu_load_regs, or null to go on with that context's own as they were left.
 * guest_asid: L1's ASID or VPID for its guest; 0 in L1.
 * A root switch like any other: without flush, and with nothing changed, it is a hit.
 * RHZ_LOAD_GP: registers that no processor takes, or a context that has none yet.
 */
enum rhz_load_result rhz_vcpu_switch_context(struct rhz_vcpu *vcpu, enum rhz_context context,
                                             const struct rhz_regs *regs, uint32_t guest_asid,
                                             enum rhz_guest_flush flush);

/* L1's nested tables, as a nested entry names them. */
struct rhz_nested {
	uint64_t table;          /* AMD: nCR3; Intel: EPTP with its flags */
	uint64_t cr0, cr4, efer; /* AMD: L1's own at its VMRUN, which the tables' format follows */
};

/*
 * A nested entry to L2 by L1's nested tables: context RHZ_CONTEXT_L2_NESTED. L2's registers are
 * the processor's alone; the context's are the ones above. nested null: as it was left.
 * A root switch like any other. Takes the lock only if something must be built, synced or flushed.
 * RHZ_LOAD_GP: no processor takes these (VMEXIT_INVALID, or a VM-entry failure), the VM has no
 * nested paging (rhz_vm_config.nested), or there is nothing to go on with. docs/nested.md has the
 * whole story.
 */
enum rhz_load_result rhz_vcpu_switch_nested(struct rhz_vcpu *vcpu,
                                            const struct rhz_nested *nested, uint32_t guest_asid,
                                            enum rhz_guest_flush flush);

/* The context that the vCPU is in. */
enum rhz_context rhz_vcpu_context(const struct rhz_vcpu *vcpu);

/* The address space of all following accesses (SMM). A root switch. */
enum rhz_load_result rhz_vcpu_set_address_space(struct rhz_vcpu *vcpu, unsigned address_space);

/* ---- entry ---- */

enum rhz_flush {
	RHZ_FLUSH_NONE,
	RHZ_FLUSH_ADDRESS, /* one address under the current tag (INVLPGA, INVVPID 0) */
	RHZ_FLUSH_TAG,     /* everything under this tag */
	RHZ_FLUSH_ALL,     /* every tag of this processor */
};

struct rhz_entry {
	rhz_hpa root;         /* for CR3, nCR3 or EPTP (without EPTP's flags) */
	uint8_t levels;       /* of the tables at root: 3 (PAE), 4 or 5 */
	uint32_t tag;         /* ASID or VPID; 0 if the processor has none */
	enum rhz_flush flush; /* NONE, TAG or ALL, before the guest runs */
};

enum rhz_enter_result {
	RHZ_ENTER_OK,
	RHZ_ENTER_PREPARE, /* withdraw the announcement, call rhz_vcpu_prepare, then enter again */
};

/*
 * Root, tag and flush for the entry that follows at once on this processor. Called after the vCPU
 * announced itself (host.h). The flush told must be done before the guest runs; it is told once.
 * Never takes the lock.
 */
enum rhz_enter_result rhz_vcpu_enter(struct rhz_vcpu *vcpu, struct rhz_cpu *cpu,
                                     struct rhz_entry *entry);

/*
 * Honours what was asked of this vCPU meanwhile, and builds the current context's root if it has
 * none (before the first load, or because it was taken away). RHZ_LOAD_NO_MEMORY: it cannot be
 * built now; may be repeated. Takes the lock; not to be called while announced.
 */
enum rhz_load_result rhz_vcpu_prepare(struct rhz_vcpu *vcpu);

/* ---- faults ---- */

enum rhz_fault_result {
	RHZ_FAULT_RESUME,    /* fixed (or spurious): run on; fault->flush may be ADDRESS */
	RHZ_FAULT_REFLECT,   /* inject #PF with fault->error_code, CR2 the address; or 'vector' */
	RHZ_FAULT_MMIO,      /* emulate: no RAM at fault->gpa, or a write to a read-only slot */
	RHZ_FAULT_TRACKED,   /* emulate or single-step a write to a guest table (or one that only
	                        emulation can do right); then rhz_vm_wrote */
	RHZ_FAULT_RETRY,     /* the guest's tables changed under us: run on, it will fault again */
	RHZ_FAULT_NO_MEMORY, /* nothing changed; may be repeated */
};

struct rhz_fault {
	uint32_t error_code; /* for REFLECT */
	uint8_t vector;      /* for REFLECT: 14 (#PF), or 13 (#GP) for a non-canonical address */
	uint8_t level;       /* of the guest leaf, or where the guest's walk stopped */
	rhz_gpa gpa;         /* for MMIO and TRACKED: where the access goes */
	bool read_only;      /* for MMIO: a slot is there, but not for writing */
	enum rhz_flush flush; /* NONE or ADDRESS: a stale TLB entry may be the cause */
};

/*
 * A #PF that the processor raised under the shadow tables. error_code: as pushed. access: only
 * RHZ_ACCESS_AC and RHZ_ACCESS_IMPLICIT are looked at, the rest follows from error_code.
 * Takes the lock.
 */
enum rhz_fault_result rhz_vcpu_page_fault(struct rhz_vcpu *vcpu, rhz_gva gva, uint32_t error_code,
                                          unsigned access, struct rhz_fault *fault);

/*
 * A nested page fault or EPT violation under the direct MMU: L1's, or L2's by L2's own tables.
 * access: RHZ_ACCESS_WRITE and _FETCH. Never REFLECT. Takes the lock.
 */
enum rhz_fault_result rhz_vcpu_nested_fault(struct rhz_vcpu *vcpu, rhz_gpa gpa, unsigned access,
                                            struct rhz_fault *fault);

/* What L1 is to see when its nested tables forbid an access of L2. */
enum rhz_l1_exit_kind {
	RHZ_L1_NPF,           /* VMEXIT_NPF: info is EXITINFO1, ngpa EXITINFO2 [APM2 15.25.6] */
	RHZ_L1_EPT_VIOLATION, /* info is the exit qualification [SDM3 27.2.1] */
	RHZ_L1_EPT_MISCONFIG, /* ngpa alone */
};

struct rhz_l1_exit {
	enum rhz_l1_exit_kind kind;
	uint64_t info;
	rhz_ngpa ngpa;
};

/*
 * A nested page fault or EPT violation of L2, in RHZ_CONTEXT_L2_NESTED. info: EXITINFO1 or the
 * exit qualification, as the processor gave it.
 * REFLECT: an exit to L1, as *exit says, which is not written otherwise. MMIO and TRACKED: L0's own
 * affair; fault->gpa is where the access goes. The others as for rhz_vcpu_page_fault, but
 * fault->flush is NONE: if a stale translation was the cause the next entry flushes the tag.
 * Takes the lock.
 */
enum rhz_fault_result rhz_vcpu_l2_fault(struct rhz_vcpu *vcpu, rhz_ngpa ngpa, uint64_t info,
                                        struct rhz_fault *fault, struct rhz_l1_exit *exit);

/* ---- invalidation by the guest ---- */

/*
 * INVLPG. The answer: RHZ_FLUSH_NONE, or RHZ_FLUSH_ADDRESS to be done under the tag of the last
 * entry before the guest runs. Takes the lock if a shadow table may have to change.
 */
enum rhz_flush rhz_vcpu_invlpg(struct rhz_vcpu *vcpu, rhz_gva gva);

enum rhz_invpcid {
	RHZ_INVPCID_ADDRESS = 0,
	RHZ_INVPCID_SINGLE = 1,
	RHZ_INVPCID_ALL_GLOBAL = 2, /* all, globals included */
	RHZ_INVPCID_ALL = 3,        /* all but globals */
};

/*
 * INVPCID. type and the descriptor as the guest gave them [SDM2 INVPCID]; defined with paging
 * off too. RHZ_LOAD_GP for what the manual forbids. *flush as for INVLPG. Not in
 * RHZ_CONTEXT_L2_NESTED, where it is between L2 and the processor. Takes the lock.
 */
enum rhz_load_result rhz_vcpu_invpcid(struct rhz_vcpu *vcpu, uint64_t type, uint64_t pcid,
                                      rhz_gva gva, enum rhz_flush *flush);

/*
 * Everything that the current context's guest ASID may have cached is to be forgotten, cached roots
 * included: task switches and the like. Takes the lock.
 */
void rhz_vcpu_flush_guest(struct rhz_vcpu *vcpu);

/*
 * INVLPGA by L1 [APM2 15.16.2], or INVVPID of one address. guest_asid 0: L1's own, as INVLPG. The
 * answer: RHZ_FLUSH_NONE, or RHZ_FLUSH_ADDRESS to be done at once under *tag, on the processor cpu,
 * where we run. Takes the lock if something must change.
 */
enum rhz_flush rhz_vcpu_invlpga(struct rhz_vcpu *vcpu, const struct rhz_cpu *cpu, rhz_gva gva,
                                uint32_t guest_asid, uint32_t *tag);

/*
 * L1 forgets all that one of its guest ASIDs, not 0, may have cached, cached roots included:
 * INVVPID of one context. Takes the lock.
 */
void rhz_vcpu_flush_asid(struct rhz_vcpu *vcpu, uint32_t guest_asid);

/*
 * ... or all of them, RHZ_GUEST_FLUSH_ALL without L1's own: INVVPID of all contexts, INVEPT of all.
 * Takes the lock.
 */
void rhz_vcpu_flush_l2(struct rhz_vcpu *vcpu);

/* ... or what was cached by the nested tables of this EPTP or nCR3: INVEPT of one context. */
void rhz_vcpu_flush_table(struct rhz_vcpu *vcpu, uint64_t table);

/* ---- translation for the embedder's own needs ---- */

/*
 * Walks the guest's tables as they are now; sets no A or D bits. Takes the lock.
 * Paging off: gpa = gva.
 */
enum rhz_walk_outcome rhz_vcpu_translate(struct rhz_vcpu *vcpu, rhz_gva gva, unsigned access,
                                         struct rhz_walk *walk);

enum rhz_l2_outcome {
	RHZ_L2_OK,
	RHZ_L2_EXCEPTION, /* L2's own tables: walk.outcome and walk.error_code say what L2 sees */
	RHZ_L2_EXIT,      /* L1's nested tables: an exit to L1, as 'exit' says */
};

struct rhz_l2_walk {
	enum rhz_l2_outcome outcome;
	struct rhz_walk walk;    /* of L2's tables: its addresses are L2's physical ones */
	rhz_ngpa ngpa;           /* OK, and EXIT of the final address: L2's physical address */
	rhz_gpa gpa;             /* OK: where that leads */
	struct rhz_l1_exit exit; /* EXIT */
};

/*
 * An address of L2 through both levels, in RHZ_CONTEXT_L2_NESTED: by L2's tables, which regs names,
 * each of them found by L1's nested tables, and these as they are now; sets no A or D bits. PDPTEs
 * are read from memory. RHZ_ERR_FEATURE: registers that no processor can hold. RHZ_ERR_ARGUMENT:
 * the vCPU is in another context. Takes the lock.
 */
enum rhz_status rhz_vcpu_translate_l2(struct rhz_vcpu *vcpu, const struct rhz_regs *regs,
                                      rhz_gva gva, unsigned access, struct rhz_l2_walk *walk);

/* Statistics so far; takes no lock. Valid as long as the vCPU. */
const struct rhz_vcpu_stats *rhz_vcpu_stats(const struct rhz_vcpu *vcpu);

#endif
