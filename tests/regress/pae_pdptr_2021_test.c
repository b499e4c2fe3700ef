/* SPDX-License-Identifier: MIT */
/*
 * PAE PDPTR (KVM, 2021): a change of PDPTEs was missed when the same CR3 was written again: the
 * root 'in use' was found to fit by CR3 and role. PAE reloads the PDPTEs on every CR3 write [SDM3
 * 4.4.1].
 */
#include "fixture.h"

static void test_same_cr3(void **state)
{
	(void)state;
	for (unsigned policy = 0; policy < RHZ_ROOT_POLICIES; policy++) {
		struct world *world = world_make(&(struct setup){ .mode = RHZ_PAGING_PAE,
			.given_roots = true, .policy = policy, .cached_roots = 4 });
		uint64_t root = table_new(world), other = table_new(world), entry[2];

		map(world, root, 0x5000, 0x1000, PWU);
		map(world, other, 0x5000, 0x2000, PWU);
		entry[0] = guest_get(world, root, 8);
		entry[1] = guest_get(world, other, 8);
		start(world, 0, root);
		for (unsigned n = 1; n < 8; n++) {
			reaches(world, 0x5000, WRITE, n & 1 ? 0x1000 : 0x2000);
			guest_put(world, root, 8, entry[n & 1]);
			/* with and without the embedder having told of the write */
			if (n & 2)
				guest_poke(world, root, 8, entry[n & 1]);
			reaches(world, 0x5000, WRITE, n & 1 ? 0x1000 : 0x2000);
			load_ok(world, 0, root);
		}
		world_end(world);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_same_cr3),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
