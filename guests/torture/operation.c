/* SPDX-License-Identifier: MIT */
/* Doing an operation by touch.S, and comparing what came of it. */
#include "torture/operation.h"

#include "torture/machine.h"

struct touch { uint64_t ax, cx, dx, bx, si, di, ip, sp, flags, user, vector, error, cr2; };

void touch(struct touch *touch);

extern const char operations[];

enum { OPERATION_BYTES = 64, FORM_BYTES = 16 };

const char *const operation_names[OPS] = {
	"read", "write", "zero", "xchg", "xadd", "cmpxchg", "lock or", "lock and", "or", "and",
	"bts", "btr", "rep stos", "movs", "push", "fetch", "cmpxchg8b/16b", "write by SIB",
	"write by disp32",
};

static unsigned form_of(const struct operation *op)
{
	return op->size == 8 ? 3 : op->size / 2;
}

static uint64_t code_address(const struct operation *op)
{
	const uint64_t at = OPERATION_BYTES * op->kind + FORM_BYTES * form_of(op);

	return (op->user && cpu.paged ? USER_GVA : (uintptr_t)operations) + at;
}

void operation_run(const struct operation *op, struct outcome *seen)
{
	struct touch t = { .ax = op->value, .di = op->gva, .si = op->source, .cx = op->count,
	                   .bx = op->other, .user = op->user };

	t.ip = code_address(op);
	t.flags = 2 | (op->ac ? EFLAGS_AC : 0);
	switch ((unsigned)op->kind) {
	case OP_BTS:
	case OP_BTR:
		t.ax = op->value & (op->size * 8 - 1);
		break;
	case OP_PUSH:
		t.sp = op->gva + op->size;
		break;
	case OP_CMPXCHG2:
		t.dx = op->other;
		t.bx = op->other;
		t.cx = op->value;
		break;
	case OP_WRITE_SIB:
		t.cx = 0x123;
		t.di = op->gva - 0x40 - 0x123 * 4;
		break;
	case OP_WRITE_FAR:
		t.cx = 0x777;
		t.di = op->gva + 0x1234 - 0x777;
		break;
	default:
		break;
	}
	touch(&t);
	*seen = (struct outcome){ .vector = (unsigned)t.vector, .error = (uint32_t)t.error,
	                          .cr2 = t.cr2, .value = t.ax, .left = (uint32_t)t.cx };
}

static bool returns_value(const struct operation *op)
{
	return op->kind == OP_READ || op->kind == OP_XCHG || op->kind == OP_XADD ||
	       op->kind == OP_CMPXCHG || op->kind == OP_CMPXCHG2 || op->kind == OP_FETCH;
}

bool operation_fits(const struct operation *op, const struct outcome *expected,
                    const struct outcome *seen)
{
	const uint64_t bytes = ~0ull >> (64 - 8 * (op->kind == OP_FETCH ? 4 : op->size));

	if (expected->vector != seen->vector)
		return false;
	if (op->kind == OP_STOS && expected->left != seen->left)
		return false;
	if (expected->vector == VECTOR_DONE)
		return !returns_value(op) ||
		       ((expected->value ^ seen->value) & bytes & ~expected->value_loose) == 0;
	return expected->cr2 == seen->cr2 &&
	       ((expected->error ^ seen->error) & ~expected->error_loose) == 0;
}
