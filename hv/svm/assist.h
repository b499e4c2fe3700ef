/* SPDX-License-Identifier: MIT */
/*
 * NRIPS and decode assists for L1 [APM2 15.7.1, 15.8]: the processor's, or by our decoder where it
 * lacks them. What an exit means is not here.
 */
#ifndef HV_SVM_ASSIST_H
#define HV_SVM_ASSIST_H

struct guest;
struct vmcb;

/*
 * Fills in nRIP, EXITINFO1 and the instruction's bytes of L1's block, whose exit code and EXITINFO
 * are there, while L2 still is as it exited. nRIP of code that cannot be read is 0.
 */
void assist(struct guest *g, struct vmcb *block);

#endif
