/* SPDX-License-Identifier: MIT */
/* Memory maps: the machine's as the loader tells it, and the guest's, which lacks our memory. */
#ifndef HV_MEM_MAP_H
#define HV_MEM_MAP_H

#include <stdbool.h>
#include <stdint.h>

enum { MAP_MAX = 64 };

/* Types as the BIOS numbers them; others are passed on as they are. */
enum { MAP_AVAILABLE = 1, MAP_RESERVED = 2 };

struct map_range { uint64_t base, bytes; uint32_t type; };
struct memory_map { unsigned ranges; struct map_range range[MAP_MAX]; };

extern struct memory_map machine_map, guest_map;

/* Adds a range, kept sorted by base. Available ranges shrink to whole pages. */
void map_add(struct memory_map *map, uint64_t base, uint64_t bytes, uint32_t type);

/* Gives [base, base + bytes), which lies in one available range, another type. */
void map_carve(struct memory_map *map, uint64_t base, uint64_t bytes, uint32_t type);

/* True if [base, base + bytes) lies in one available range. */
bool map_is_available(const struct memory_map *map, uint64_t base, uint64_t bytes);

/* The end of the highest available range that begins below 'limit', cut at it; 0: none. */
uint64_t map_top(const struct memory_map *map, uint64_t limit);

#endif
