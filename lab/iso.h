/* SPDX-License-Identifier: MIT */
/* Images for machines that boot from a disk: GRUB, the hypervisor, a guest. */
#ifndef LAB_ISO_H
#define LAB_ISO_H

#include "run_options.h"

/*
 * Makes an image of hypervisor and guest, or of the guest alone if it is to run bare. words: the
 * hypervisor's command line. Complains if it cannot be made.
 */
enum lab_exit iso_make(const struct run_options *options, const char *words, const char *output);

#endif
