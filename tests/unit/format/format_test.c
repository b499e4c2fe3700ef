/* SPDX-License-Identifier: MIT */
/* Geometry of the formats, and the operations on one entry. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "format/format.h"

static const struct rhz_format *const formats[] = {
	&rhz_format_32, &rhz_format_pae, &rhz_format_4level, &rhz_format_5level,
	&rhz_format_ept4, &rhz_format_ept5,
};
enum { FORMATS = sizeof(formats) / sizeof(formats[0]) };

/* The constants that the walk is unrolled over are the objects that modes point to. */
static void test_constants(void **ctx)
{
	static const struct rhz_format *const constants[] = {
		&format_32, &format_pae, &format_4level, &format_5level, &format_ept4, &format_ept5,
	};

	(void)ctx;
	for (unsigned i = 0; i < FORMATS; i++) {
		assert_string_equal(constants[i]->name, formats[i]->name);
		assert_int_equal(constants[i]->levels, formats[i]->levels);
		assert_int_equal(constants[i]->entry_bytes, formats[i]->entry_bytes);
		assert_int_equal(constants[i]->index_bits, formats[i]->index_bits);
		assert_int_equal(constants[i]->top_bits, formats[i]->top_bits);
		assert_int_equal(constants[i]->leaf_levels, formats[i]->leaf_levels);
		assert_int_equal(constants[i]->ept, formats[i]->ept);
		assert_int_equal(constants[i]->present, formats[i]->present);
		assert_int_equal(constants[i]->accessed, formats[i]->accessed);
		assert_int_equal(constants[i]->dirty, formats[i]->dirty);
		assert_int_equal(constants[i]->frame, formats[i]->frame);
	}
}

/* Tables fill a page (a PAE top table 32 bytes); levels together cover the address. */
static void test_geometry(void **ctx)
{
	static const unsigned address_bits[FORMATS] = { 32, 32, 48, 57, 48, 57 };

	(void)ctx;
	for (unsigned i = 0; i < FORMATS; i++) {
		const struct rhz_format *f = formats[i];

		assert_int_equal(f->entry_bytes << f->index_bits, 4096);
		assert_int_equal(format_shift(f, f->levels) + f->top_bits, address_bits[i]);
		assert_int_equal(f->entry_bytes << f->top_bits, f == &rhz_format_pae ? 32 : 4096);
		assert_true(format_may_be_leaf(f, 1));
		assert_true(format_may_be_leaf(f, 2));
		assert_int_equal(format_may_be_leaf(f, 3), f->levels > 3);
		assert_false(format_may_be_leaf(f, 4));
		assert_false(format_may_be_leaf(f, 5));
	}
}

/* The indices of an address, put together again, are the address. */
static void test_index(void **ctx)
{
	(void)ctx;
	for (unsigned i = 0; i < FORMATS; i++) {
		const struct rhz_format *f = formats[i];
		uint64_t mask = format_bits(format_shift(f, f->levels) + f->top_bits - 1, 12);

		uint64_t addr = 0x123456789abcdef0;

		for (unsigned n = 0; n < 1000; n++, addr = addr * 6364136223846793005 + 1) {
			uint64_t sum = 0;

			for (unsigned level = 1; level <= f->levels; level++)
				sum |= (uint64_t)format_index(f, level, addr)
				       << format_shift(f, level);
			assert_int_equal(sum, addr & mask);
		}
	}
	assert_int_equal(format_index(&rhz_format_pae, 3, ~0ull), 3);
	assert_int_equal(format_index(&rhz_format_32, 2, 0xffc00000), 1023);
}

static void test_bits(void **ctx)
{
	(void)ctx;
	assert_int_equal(format_bits(63, 0), ~0ull);
	assert_int_equal(format_bits(0, 0), 1);
	assert_int_equal(format_bits(63, 63), PTE_NX);
	assert_int_equal(format_bits(51, 12), PTE_FRAME);
	assert_int_equal(format_bits(62, 59), PTE_KEY);
	assert_int_equal(format_bits(51, 52), 0);
}

static void test_leaf_frame(void **ctx)
{
	(void)ctx;
	assert_int_equal(format_leaf_frame(&rhz_format_32, 1, 0xfffff0ff), 0xfffff000);
	assert_int_equal(format_leaf_frame(&rhz_format_32, 2, 0xffffffff), 0xffffc00000);
	assert_int_equal(format_leaf_frame(&rhz_format_32, 2, 0x00002000), 1ull << 32);
	assert_int_equal(format_leaf_frame(&rhz_format_32, 2, 0x00100000), 1ull << 39);
	assert_int_equal(format_leaf_frame(&rhz_format_pae, 2, ~0ull), 0xfffffffe00000);
	assert_int_equal(format_leaf_frame(&rhz_format_4level, 1, ~0ull), PTE_FRAME);
	assert_int_equal(format_leaf_frame(&rhz_format_5level, 3, ~0ull), 0xfffffc0000000);
	assert_int_equal(format_leaf_frame(&rhz_format_ept4, 2, ~0ull), 0xfffffffe00000);
}

static void test_hole(void **ctx)
{
	(void)ctx;
	assert_true(format_is_hole(&rhz_format_4level, ~1ull));
	assert_false(format_is_hole(&rhz_format_4level, 1));
	assert_true(format_is_hole(&rhz_format_ept4, ~7ull));
	for (unsigned bit = 0; bit < 3; bit++) /* any right makes an EPT entry present */
		assert_false(format_is_hole(&rhz_format_ept5, 1ull << bit));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_constants),
		cmocka_unit_test(test_geometry),
		cmocka_unit_test(test_index),
		cmocka_unit_test(test_bits),
		cmocka_unit_test(test_leaf_frame),
		cmocka_unit_test(test_hole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
