/* SPDX-License-Identifier: MIT */
/*
 * One operation on memory: what is done, what must come of it, and what came.
 *
 * The prediction follows the manuals and changes our belief of memory as the processor will change
 * memory. An operation that they leave open is UNKNOWN, and is not done.
 */
#ifndef GUESTS_TORTURE_OPERATION_H
#define GUESTS_TORTURE_OPERATION_H

#include <stdbool.h>
#include <stdint.h>

#include "torture/paging.h"

/* In the order of touch.S. */
enum kind {
	OP_READ, OP_WRITE, OP_ZERO, OP_XCHG, OP_XADD, OP_CMPXCHG, OP_LOCK_OR, OP_LOCK_AND, OP_OR,
	OP_AND, OP_BTS, OP_BTR, OP_STOS, OP_MOVS, OP_PUSH, OP_FETCH, OP_CMPXCHG2, OP_WRITE_SIB,
	OP_WRITE_FAR, OPS
};

struct operation {
	enum kind kind;
	unsigned size;         /* of one access: 1, 2, 4, 8; OP_CMPXCHG2: of one of its halves */
	uint64_t gva, source;  /* OP_MOVS reads the source */
	uint64_t value, other; /* 'other': what OP_CMPXCHG compares with, the upper half */
	uint32_t count;        /* of OP_STOS */
	bool user, ac;
	bool pointers;         /* may write page-directory pointers */
};

/* What must be seen; bits set in a 'loose' mask are not looked at. */
struct outcome {
	unsigned vector; /* VECTOR_DONE or 14 */
	uint32_t error, error_loose;
	uint64_t cr2;
	uint64_t value, value_loose; /* AX, as many bytes as the operation has */
	uint32_t left;               /* CX of OP_STOS */
};

extern const char *const operation_names[OPS];

/*
 * What the operation must do. Unless UNKNOWN, memory is believed changed by it. FAULT may follow
 * a part of OP_STOS.
 */
enum verdict operation_predict(const struct operation *op, struct outcome *expected);

/* Does it. */
void operation_run(const struct operation *op, struct outcome *seen);

/* Whether what was seen fits. */
bool operation_fits(const struct operation *op, const struct outcome *expected,
                    const struct outcome *seen);

/* Code that a fetch finds: 7 bytes, which leave 'id' in AX and end. */
#define SNIPPET_BYTES 7u
#define SNIPPET(id) (0x80cd00000000b8ull | (uint64_t)(id) << 8)

#endif
