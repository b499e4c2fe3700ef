/* SPDX-License-Identifier: MIT */
/*
 * CVE-2021-38198 (KVM): a shadow page took its rights from the wrong levels, so that two paths to
 * one table shared the rights of whichever was walked first; the guest got no fault where one was
 * due.
 *
 * Here a table is reached by paths whose upper entries differ in W and U at one level each, in
 * every order of first use; pieces of large pages too.
 */
#include "fixture.h"

enum { PATHS = 4 };

/* Of each path: rights of its entry at the level above the shared table. */
static const uint64_t path_bits[PATHS] = { PWU, P | U, P | W, P };

static void expect(struct world *world, unsigned path, uint64_t gva, uint64_t gpa)
{
	bool user = path_bits[path] & U, write = path_bits[path] & W;

	reaches(world, gva, READ, gpa);
	if (user)
		reaches(world, gva, USER, gpa);
	else
		faults(world, gva, USER, RHZ_PF_P | RHZ_PF_U);
	if (write)
		reaches(world, gva, WRITE, gpa);
	else
		faults(world, gva, WRITE, RHZ_PF_P | RHZ_PF_W);
	if (write && user)
		reaches(world, gva, USER | WRITE, gpa);
	else
		faults(world, gva, USER | WRITE, RHZ_PF_P | RHZ_PF_U | RHZ_PF_W);
}

static void test_paths(void **state)
{
	(void)state;
	for (unsigned first = 0; first < 2 * PATHS * 3; first++) {
		unsigned level = first % 3 + 2, large = first / 3 & 1;
		struct world *world = world_make(&(struct setup){ .mode = RHZ_PAGING_4LEVEL,
			.options = RHZ_NO_LARGE_PAGES });
		uint64_t root = table_new(world), below;

		map_at(world, root, 0x5000, large ? 0x400000 : 0x1000, PWU, large ? 2 : 1);
		if (large && level == 2) {
			world_end(world);
			continue;
		}
		below = entry_get(world, root, 0x5000, level) & FRAME;
		for (unsigned i = 0; i < PATHS; i++) {
			uint64_t gva = (uint64_t)i << (12 + 9 * (level - 1));

			guest_put(world, entry_at(world, root, gva, level), 8,
			          below | path_bits[i]);
		}
		start(world, 0, root);
		for (unsigned n = 0; n < 2 * PATHS; n++) {
			unsigned path = (first / 6 + n * (first & 1 ? 3 : 1)) % PATHS;
			uint64_t gva = (uint64_t)path << (12 + 9 * (level - 1)) | 0x5000;

			expect(world, path, gva, large ? 0x405000 : 0x1000);
		}
		world_end(world);
	}
}

/* L1's EPT: one table below four entries, which differ in what they allow. */
static void test_ept_paths(void **state)
{
	enum { R = 1, X = 4 };
	static const unsigned bits[PATHS] = { R | W | X, R | X, R | W, X };
	static const unsigned access[] = { READ, WRITE, FETCH };

	(void)state;
	for (unsigned first = 0; first < PATHS * 3; first++) {
		unsigned level = first % 3 + 2;
		struct world *world = world_make(&(struct setup){ .mode = RHZ_PAGING_4LEVEL,
			.nested = RHZ_EPT_4LEVEL });
		uint64_t root = table_new(world), below;

		map(world, root, 0x5000, 0x1000, R | W | X);
		below = entry_get(world, root, 0x5000, level) & FRAME;
		for (unsigned i = 0; i < PATHS; i++) {
			uint64_t ngpa = (uint64_t)i << (12 + 9 * (level - 1));

			guest_put(world, entry_at(world, root, ngpa, level), 8, below | bits[i]);
		}
		ept_ok(world, 0, root | 6 | 3 << 3, 1, RHZ_GUEST_KEEP);
		for (unsigned n = 0; n < 3 * 2 * PATHS; n++) {
			unsigned path = (first / 3 + n / 3 * (first & 1 ? 3 : 1)) % PATHS;
			uint64_t ngpa = (uint64_t)path << (12 + 9 * (level - 1)) | 0x5000;

			if (bits[path] >> n % 3 & 1)
				reaches(world, ngpa, access[n % 3], 0x1000);
			else
				exits_on(world, 0, ngpa, access[n % 3], RHZ_L1_EPT_VIOLATION,
				         1u << n % 3 | bits[path] << 3 | RHZ_EPT_QUAL_GVA |
				         RHZ_EPT_QUAL_FINAL);
		}
		world_end(world);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_paths),
		cmocka_unit_test(test_ept_paths),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
