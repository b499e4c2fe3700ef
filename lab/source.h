/* SPDX-License-Identifier: MIT */
/* A trace in any form that is read, as a sequence of events. */
#ifndef LAB_SOURCE_H
#define LAB_SOURCE_H

#include "line.h"

struct lab_source;

enum { LAB_PLACE_SIZE = 48 };

/* Opens a path, or standard input for "-". Never null: what went wrong shows at the first event. */
struct lab_source *lab_source_open(const char *path);
/* The same for a trace in memory, which stays the caller's; not for trace.dat. */
struct lab_source *lab_source_memory(const void *data, size_t length);
/* The next event, or whatever stands where one might; LAB_LINE_END and _ERROR end it. */
enum lab_line lab_source_next(struct lab_source *source, struct lab_event *event);
/* Where the last one was, for people: "line 12", "event 12". */
const char *lab_source_place(const struct lab_source *source, char text[LAB_PLACE_SIZE]);
/* How many lines or events were read. */
uint64_t lab_source_count(const struct lab_source *source);
/* "lines" or "events" */
const char *lab_source_unit(const struct lab_source *source);
/* What is wrong, as the rest of a sentence; null if nothing is. */
const char *lab_source_error(const struct lab_source *source);
/* A fact about the recorded host, or null; and whether the recorder came to its end. */
const char *lab_source_fact(const struct lab_source *source, const char *key);
bool lab_source_whole(const struct lab_source *source);
/* Bytes read, of how many; *total is 0 if nobody knows. */
void lab_source_progress(const struct lab_source *source, uint64_t *done, uint64_t *total);
void lab_source_close(struct lab_source *source);

#endif
