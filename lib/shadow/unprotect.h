/* SPDX-License-Identifier: MIT */
/* A write to a guest table through a mapping that is there. */
#ifndef RHZ_SHADOW_UNPROTECT_H
#define RHZ_SHADOW_UNPROTECT_H

#include "root/roots.h"

enum unprotect_result {
	UNPROTECT_UNUSUAL, /* nothing was done */
	UNPROTECT_DONE,    /* the page is writable */
	UNPROTECT_EMULATE, /* the table must stay as it is: the embedder makes the write */
	UNPROTECT_RETRY,   /* shadow pages went, the guest shall try again */
};

/* After a walk for a write that came through, which faulted on a present page. */
enum unprotect_result shadow_unprotect(struct rhz_vcpu *vcpu, rhz_gva gva,
                                       const struct rhz_walk *walk);

#endif
