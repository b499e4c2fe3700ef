/* SPDX-License-Identifier: MIT */
/* What a person needs to see of a mismatch. */
#ifndef GUESTS_TORTURE_TELL_H
#define GUESTS_TORTURE_TELL_H

#include "torture/operation.h"
#include "torture/step.h"

void tell_event(const struct report *report, const char *what, uint64_t value);
void tell_operation(const struct report *report, const struct operation *op,
                    const struct outcome *expected);

/* These two end the machine. */
__attribute__((noreturn)) void tell_mismatch(const struct report *report,
                                             const struct operation *op,
                                             const struct outcome *expected,
                                             const struct outcome *seen);
__attribute__((noreturn)) void tell_memory(const struct report *report, uint64_t pa);

#endif
