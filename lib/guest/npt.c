/* SPDX-License-Identifier: MIT */
/*
 * What a failed walk of nested tables tells L1. The walk is the ordinary one, in the mode that
 * rhz_npt_mode_init makes.
 */
#include <rhizome/guest.h>

uint64_t rhz_npf_info(const struct rhz_walk *nested, bool table)
{
	/* Bits 4:0 are a #PF's, US always set: all nested accesses are user ones [APM2 15.25.6]. */
	return nested->error_code | RHZ_PF_U | (table ? RHZ_NPF_TABLE : RHZ_NPF_FINAL);
}
