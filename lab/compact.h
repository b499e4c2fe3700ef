/* SPDX-License-Identifier: MIT */
/*
 * The compact form of a trace: some ten bytes an event, written and read in one pass with bounded
 * memory. docs/formats.md has every byte of it.
 */
#ifndef LAB_COMPACT_H
#define LAB_COMPACT_H

#include "event.h"

#include <stddef.h>

#define LAB_COMPACT_MAGIC "rhztrace"

enum {
	LAB_COMPACT_VERSION = 1,
	LAB_COMPACT_FACTS_MAX = 64,
	LAB_COMPACT_FACT_SIZE = 256,    /* of "key=value", its null included */
	LAB_COMPACT_THREADS_MAX = 4096,
	LAB_COMPACT_BLOCK_MAX = 1 << 16 /* bytes of a block, its eight of heading aside */
};

/* Writing. */

struct lab_compact_writer;

/*
 * Begins a trace on a descriptor, which stays the caller's. ticks_per_second is the unit of
 * lab_event.time_ns of what will be written: 1000000000, or the TSC's rate if time_ns holds TSC
 * values. facts are "key=value" about the host (see docs/formats.md); longer ones are cut.
 * Never null: that nothing could be written shows at the end.
 */
struct lab_compact_writer *lab_compact_create(int fd, uint64_t ticks_per_second,
                                              const char *const *facts, size_t facts_count);
/* Adds one event; time may go back. False: nothing more can be written (see errno), and more than
   LAB_COMPACT_THREADS_MAX threads (errno E2BIG). */
bool lab_compact_write(struct lab_compact_writer *writer, const struct lab_event *event);
/* The recorder lost so many events here; 0: nobody knows how many. */
bool lab_compact_lost(struct lab_compact_writer *writer, uint64_t count);
/* Writes out what is still held back, so that a reader of the file so far finds it. */
bool lab_compact_flush(struct lab_compact_writer *writer);
/* Marks the end and frees the writer. False if anything was not written (see errno). */
bool lab_compact_close(struct lab_compact_writer *writer);

/* Reading. */

struct lab_compact_reader;

/* Hands over up to room bytes; 0 at the end or on an error that the caller knows of. */
typedef size_t (*lab_compact_pull)(void *from, void *to, size_t room);

enum lab_compact_result {
	LAB_COMPACT_EVENT, /* *event is set, its time in nanoseconds */
	LAB_COMPACT_LOST,  /* event->value of them, 0: nobody knows how many */
	LAB_COMPACT_END,
	LAB_COMPACT_ERROR, /* lab_compact_error says which */
};

/* Never null: what is wrong with the heading shows at the first event. */
struct lab_compact_reader *lab_compact_open(lab_compact_pull pull, void *from);
enum lab_compact_result lab_compact_read(struct lab_compact_reader *reader,
                                         struct lab_event *event);
/* What is wrong, and at which byte of the (unpacked) file; null if nothing is. */
const char *lab_compact_error(const struct lab_compact_reader *reader);
/* The value of a fact, or null. Valid as long as the reader. */
const char *lab_compact_fact(const struct lab_compact_reader *reader, const char *key);
/* True if the end's mark was seen; without it the recorder did not come to its end. */
bool lab_compact_whole(const struct lab_compact_reader *reader);
void lab_compact_release(struct lab_compact_reader *reader);

#endif
