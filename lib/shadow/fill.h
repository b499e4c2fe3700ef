/* SPDX-License-Identifier: MIT */
/*
 * The usual fault, done quickly: a guest page of 4 KiB that was not mapped yet, under shadow tables
 * that are all there. Whatever is out of the ordinary is left to fault.c, which does this too.
 */
#ifndef RHZ_SHADOW_FILL_H
#define RHZ_SHADOW_FILL_H

#include "root/roots.h"

/* After a walk that came through. True: the leaf is set. False: nothing was done. */
bool fill_quickly(struct rhz_vcpu *vcpu, rhz_gva gva, unsigned access,
                  const struct rhz_walk *walk);

#endif
