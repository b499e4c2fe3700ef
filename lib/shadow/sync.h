/* SPDX-License-Identifier: MIT */
/*
 * Keeping shadow tables in step with the guest's: out-of-sync tables, re-reading, tracked writes.
 *
 * A leaf table (level 1) may go out of sync: then the guest writes it freely, and it stands on a
 * list until something that the guest must do for its changes to count (a load, an invalidation)
 * has it synced. All other tables are always in sync: every write to them comes to us. Roots that
 * are not current owe nothing at an invalidation, since every load empties the lists first.
 */
#ifndef RHZ_SHADOW_SYNC_H
#define RHZ_SHADOW_SYNC_H

#include "root/roots.h"

/* Empties the root's own list and the shared one. With the lock. */
void sync_lists(struct rhz_vcpu *vcpu, struct page *root);

/*
 * The page, of level 2 or more and made long ago, is going to be linked: syncs the tables below it
 * that may be out of sync. From not present to present the guest need not flush.
 */
void sync_below(struct rhz_vcpu *vcpu, struct page *page);

/* Syncs every page of this frame that is on a list: they are going to be linked or looked at. */
void sync_frame(struct rhz_vcpu *vcpu, uint32_t frame);

/* Re-reads the guest entry behind one entry of ours; true if ours differed. */
bool sync_entry(struct rhz_vm *vm, struct page *page, unsigned index);

/* The same of an entry of a leaf table that is used, in short where it is a usual one. */
void sync_leaf(struct rhz_vm *vm, struct page *page, unsigned index);

/* What is to become of a write to a tracked frame. */
enum write_fate {
	WRITE_FREE,    /* nothing tracks it any more: map it writable */
	WRITE_EMULATE, /* the embedder must do the write, and tell us */
};
enum write_fate write_to_tracked(struct rhz_vcpu *vcpu, uint32_t frame);

/* Guest memory in this frame was written: its bytes from .. to - 1. Re-reads what shadows them. */
void frame_written(struct rhz_vm *vm, uint32_t frame, unsigned from, unsigned to);

#endif
