/* SPDX-License-Identifier: MIT */
/* Memory maps as sorted arrays. */
#include "mem/map.h"

#include "cpu/end.h"
#include "mem/layout.h"

struct memory_map machine_map, guest_map;

static void insert(struct memory_map *map, struct map_range range)
{
	unsigned i = map->ranges;

	if (map->ranges == MAP_MAX)
		end(END_REFUSED, "more than 64 ranges in the memory map");
	for (; i > 0 && map->range[i - 1].base > range.base; i--)
		map->range[i] = map->range[i - 1];
	map->range[i] = range;
	map->ranges++;
}

void map_add(struct memory_map *map, uint64_t base, uint64_t bytes, uint32_t type)
{
	if (type == MAP_AVAILABLE) {
		const uint64_t last = (base + bytes) & -PAGE_BYTES;

		base = align_up(base, PAGE_BYTES);
		if (last <= base)
			return;
		bytes = last - base;
	}
	if (bytes)
		insert(map, (struct map_range){ base, bytes, type });
}

void map_carve(struct memory_map *map, uint64_t base, uint64_t bytes, uint32_t type)
{
	for (unsigned i = 0; i < map->ranges; i++) {
		struct map_range *range = &map->range[i];
		const uint64_t last = range->base + range->bytes;

		if (range->type != MAP_AVAILABLE || base < range->base || base + bytes > last)
			continue;
		range->bytes = base - range->base;
		if (range->bytes == 0) {
			*range = (struct map_range){ base, bytes, type };
		} else {
			insert(map, (struct map_range){ base, bytes, type });
		}
		if (last > base + bytes)
			insert(map, (struct map_range){ base + bytes, last - base - bytes,
			                                MAP_AVAILABLE });
		return;
	}
}

bool map_is_available(const struct memory_map *map, uint64_t base, uint64_t bytes)
{
	for (unsigned i = 0; i < map->ranges; i++) {
		const struct map_range *range = &map->range[i];

		if (range->type == MAP_AVAILABLE && base >= range->base && bytes <= range->bytes &&
		    base - range->base <= range->bytes - bytes)
			return true;
	}
	return false;
}

uint64_t map_top(const struct memory_map *map, uint64_t limit)
{
	for (unsigned i = map->ranges; i-- > 0;) {
		const struct map_range *range = &map->range[i];
		const uint64_t last = range->base + range->bytes;

		if (range->type == MAP_AVAILABLE && range->base < limit)
			return last < limit ? last : limit;
	}
	return 0;
}
