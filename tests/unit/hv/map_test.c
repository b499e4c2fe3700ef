/* SPDX-License-Identifier: MIT */
/* Memory maps (hv/mem/map.c): sorting, carving, tops. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "cpu/end.h"
#include "mem/map.h"

static jmp_buf ended;

void end(int code, const char *reason)
{
	(void)code;
	(void)reason;
	longjmp(ended, 1);
}

static void test_add(void **state)
{
	struct memory_map map = { .ranges = 0 };

	(void)state;
	map_add(&map, 0x100000, 0x7ee0123, MAP_AVAILABLE);
	map_add(&map, 0x9fc00, 0x400, MAP_RESERVED);
	map_add(&map, 0x12, 0x9fbee, MAP_AVAILABLE); /* shrinks to whole pages */
	map_add(&map, 0x200010, 0xff0, MAP_AVAILABLE); /* holds none */
	map_add(&map, 0x5000, 0, MAP_RESERVED);
	assert_int_equal(map.ranges, 3);
	assert_int_equal(map.range[0].base, 0x1000);
	assert_int_equal(map.range[0].bytes, 0x9e000);
	assert_int_equal(map.range[1].base, 0x9fc00);
	assert_int_equal(map.range[2].base, 0x100000);
	assert_int_equal(map.range[2].bytes, 0x7ee0000);
}

static void test_available(void **state)
{
	struct memory_map map = { .ranges = 0 };

	(void)state;
	map_add(&map, 0x100000, 0x100000, MAP_AVAILABLE);
	map_add(&map, 0x200000, 0x100000, MAP_RESERVED);
	assert_true(map_is_available(&map, 0x100000, 0x100000));
	assert_true(map_is_available(&map, 0x1fffff, 1));
	assert_false(map_is_available(&map, 0x1fffff, 2));
	assert_false(map_is_available(&map, 0xfffff, 2));
	assert_false(map_is_available(&map, 0x200000, 1));
	assert_false(map_is_available(&map, 0x180000, UINT64_MAX)); /* wraps */
	assert_int_equal(map_top(&map, UINT64_MAX), 0x200000);
	assert_int_equal(map_top(&map, 0x180000), 0x180000);
	assert_int_equal(map_top(&map, 0x100000), 0);
}

/* Carves at the end, in the middle, at the beginning and the whole; sizes add up each time. */
static void test_carve(void **state)
{
	static const struct { uint64_t base, bytes; unsigned ranges; } cuts[] = {
		{ 0x180000, 0x80000, 2 }, { 0x140000, 0x1000, 3 },
		{ 0x100000, 0x2000, 2 },  { 0x100000, 0x100000, 1 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cuts) / sizeof(cuts[0]); i++) {
		struct memory_map map = { .ranges = 0 };
		uint64_t bytes = 0, last = 0x100000;

		map_add(&map, 0x100000, 0x100000, MAP_AVAILABLE);
		map_carve(&map, cuts[i].base, cuts[i].bytes, MAP_RESERVED);
		assert_int_equal(map.ranges, cuts[i].ranges);
		assert_false(map_is_available(&map, cuts[i].base, 1));
		for (unsigned n = 0; n < map.ranges; n++) {
			assert_int_equal(map.range[n].base, last);
			last += map.range[n].bytes;
			bytes += map.range[n].bytes;
		}
		assert_int_equal(bytes, 0x100000);
	}
}

static void test_full(void **state)
{
	struct memory_map map = { .ranges = 0 };

	(void)state;
	for (unsigned i = 0; i < MAP_MAX; i++)
		map_add(&map, i * 0x1000ull, 0x1000, MAP_AVAILABLE);
	if (setjmp(ended) == 0) {
		map_add(&map, 1ull << 40, 0x1000, MAP_AVAILABLE);
		fail_msg("a map that is full took one more");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_add),
		cmocka_unit_test(test_available),
		cmocka_unit_test(test_carve),
		cmocka_unit_test(test_full),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
