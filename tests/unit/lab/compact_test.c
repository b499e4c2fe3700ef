/* SPDX-License-Identifier: MIT */
/* The compact form: what is written is read again; what is damaged is refused, and where. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <zlib.h>

#include "compact.h"

struct bytes {
	uint8_t *data;
	size_t length, at, piece;
};

static size_t pull(void *from, void *to, size_t room)
{
	struct bytes *bytes = from;
	size_t count = bytes->length - bytes->at;

	if (count > room)
		count = room;
	if (bytes->piece && count > bytes->piece)
		count = bytes->piece;
	if (count)
		memcpy(to, bytes->data + bytes->at, count);
	bytes->at += count;
	return count;
}

static uint64_t random_state = 88172645463325252u;

static uint64_t draw(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state;
}

static struct lab_event draw_event(uint64_t before)
{
	return (struct lab_event){
		.kind = (enum lab_event_kind)(1 + draw() % (LAB_EVENT_KINDS - 1)),
		.task = (uint32_t)(draw() % 40),
		.vm = (uint32_t)(draw() % 3),
		.vcpu = draw() % 4 ? (uint32_t)(draw() % 8) : LAB_NO_VCPU,
		.time_ns = before + (draw() % 1000) - 100,
		.value = draw() >> draw() % 64,
		.role = draw() % 3 ? 0 : draw() >> draw() % 64,
		.guest_asid = draw() % 3 ? 0 : (uint32_t)draw(),
		.context = (uint8_t)(draw() % 4),
		.cause = (uint8_t)(draw() % LAB_CAUSES),
		.answer = (uint8_t)(draw() % 4),
		.nested_paging = draw() % 2,
	};
}

static void assert_same_event(const struct lab_event *a, const struct lab_event *b)
{
	assert_int_equal(a->kind, b->kind);
	assert_int_equal(a->task, b->task);
	assert_int_equal(a->vm, b->vm);
	assert_int_equal(a->vcpu, b->vcpu);
	assert_int_equal(a->time_ns, b->time_ns);
	assert_int_equal(a->value, b->value);
	assert_int_equal(a->role, b->role);
	assert_int_equal(a->guest_asid, b->guest_asid);
	assert_int_equal(a->context, b->context);
	assert_int_equal(a->cause, b->cause);
	assert_int_equal(a->answer, b->answer);
	assert_int_equal(a->nested_paging, b->nested_paging);
}

/* What a file of its own holds, which is gone thereafter. */
static struct bytes contents(FILE *file)
{
	struct bytes bytes = { .length = (size_t)lseek(fileno(file), 0, SEEK_END) };

	bytes.data = malloc(bytes.length + 1);
	assert_int_equal(pread(fileno(file), bytes.data, bytes.length, 0), bytes.length);
	fclose(file);
	return bytes;
}

enum { EVENTS = 20000 };

static struct bytes written(struct lab_event *events, uint64_t rate)
{
	static const char *const facts[] = { "tsc_khz=2400000", "kernel=6.1.0", "policy=victim" };
	FILE *file = tmpfile();
	struct lab_compact_writer *writer = lab_compact_create(fileno(file), rate, facts, 3);

	for (unsigned i = 0; i < EVENTS; i++) {
		events[i] = draw_event(i ? events[i - 1].time_ns : 1000000);
		assert_true(lab_compact_write(writer, &events[i]));
	}
	assert_true(lab_compact_close(writer));
	return contents(file);
}

static void test_there_and_back(void **unused)
{
	static struct lab_event events[EVENTS];
	struct bytes bytes = written(events, 1000000000);
	struct lab_event event;

	(void)unused;
	for (bytes.piece = 0; bytes.piece < 3; bytes.piece++) {
		struct lab_compact_reader *reader;

		bytes.at = 0;
		reader = lab_compact_open(pull, &bytes);
		for (unsigned i = 0; i < EVENTS; i++) {
			assert_int_equal(lab_compact_read(reader, &event), LAB_COMPACT_EVENT);
			assert_same_event(&event, &events[i]);
		}
		assert_int_equal(lab_compact_read(reader, &event), LAB_COMPACT_END);
		assert_true(lab_compact_whole(reader));
		assert_null(lab_compact_error(reader));
		assert_string_equal(lab_compact_fact(reader, "kernel"), "6.1.0");
		assert_string_equal(lab_compact_fact(reader, "policy"), "victim");
		assert_null(lab_compact_fact(reader, "kern"));
		lab_compact_release(reader);
	}
	free(bytes.data);
}

static void test_ticks(void **unused)
{
	FILE *file = tmpfile();
	struct lab_compact_writer *writer = lab_compact_create(fileno(file), 2400000000, NULL, 0);
	struct lab_event event = { .kind = LAB_EVENT_EXIT, .time_ns = 24000000000000000ull };
	struct lab_compact_reader *reader;
	struct bytes bytes;

	(void)unused;
	assert_true(lab_compact_write(writer, &event));
	assert_true(lab_compact_lost(writer, 77));
	assert_true(lab_compact_close(writer));
	bytes = contents(file);
	reader = lab_compact_open(pull, &bytes);
	assert_int_equal(lab_compact_read(reader, &event), LAB_COMPACT_EVENT);
	assert_int_equal(event.time_ns, 10000000000000000ull);
	assert_int_equal(lab_compact_read(reader, &event), LAB_COMPACT_LOST);
	assert_int_equal(event.value, 77);
	assert_int_equal(lab_compact_read(reader, &event), LAB_COMPACT_END);
	lab_compact_release(reader);
	free(bytes.data);
}

/* Reads to the end; the error, or null. *events: how many there were. */
static const char *read_all(struct bytes bytes, unsigned *events, bool *whole)
{
	static char error[200];
	struct lab_compact_reader *reader = lab_compact_open(pull, &bytes);
	enum lab_compact_result result;
	struct lab_event event;
	bool failed;

	for (*events = 0; (result = lab_compact_read(reader, &event)) < LAB_COMPACT_END;)
		++*events;
	failed = result == LAB_COMPACT_ERROR;
	snprintf(error, sizeof(error), "%s", failed ? lab_compact_error(reader) : "");
	*whole = lab_compact_whole(reader);
	lab_compact_release(reader);
	return failed ? error : NULL;
}

/* A file cut short: good at the end of a block, which is what a recorder that died leaves. */
static void test_cut(void **unused)
{
	static struct lab_event events[EVENTS];
	struct bytes bytes = written(events, 1000000000);
	unsigned count, good = 0;
	bool whole;

	(void)unused;
	for (size_t length = 0; length < bytes.length; length += length < 200 ? 1 : 997) {
		struct bytes cut = { bytes.data, length, 0, 0 };
		const char *error = read_all(cut, &count, &whole);

		assert_false(whole);
		if (error)
			assert_non_null(strstr(error, "byte "));
		good += !error;
		assert_true(count < EVENTS);
	}
	assert_true(good >= 1); /* the heading alone */
	bytes.length -= 8;      /* the end's mark */
	assert_null(read_all(bytes, &count, &whole));
	assert_int_equal(count, EVENTS);
	assert_false(whole);
	free(bytes.data);
}

/* Every bit of the file is guarded; and bytes of any kind do no harm. */
static void test_damaged(void **unused)
{
	static struct lab_event events[EVENTS];
	struct bytes bytes = written(events, 1000000000);
	unsigned count;
	bool whole;

	(void)unused;
	for (unsigned i = 0; i < 300; i++) {
		size_t at = i < 100 ? i : draw() % bytes.length;

		bytes.data[at] ^= (uint8_t)(1 << i % 8);
		assert_non_null(read_all(bytes, &count, &whole));
		bytes.data[at] ^= (uint8_t)(1 << i % 8);
	}
	assert_null(read_all(bytes, &count, &whole));
	for (unsigned i = 0; i < 300; i++) {
		struct bytes noise = { bytes.data, 12 + draw() % 300, 0, 0 };

		for (size_t at = 12; at < noise.length; at++)
			noise.data[at] = (uint8_t)draw();
		assert_non_null(read_all(noise, &count, &whole));
	}
	free(bytes.data);
}

static void put_u32(uint8_t *to, uint32_t value)
{
	memcpy(to, &value, sizeof(value));
}

/* Noise behind a good check sum: the decoder itself must stand it. */
static void test_noise(void **unused)
{
	static struct lab_event events[EVENTS];
	struct bytes bytes = written(events, 1000000000);
	uint32_t heading = 12 + 8 + bytes.data[12]; /* all of the heading; its block is short */
	unsigned count, refused = 0;
	uint8_t good[300];
	bool whole;

	(void)unused;
	assert_int_equal(bytes.data[13], 0);
	memcpy(good, bytes.data, heading);
	for (unsigned i = 0; i < 3000; i++) {
		size_t from = i % 3 ? heading : 12;
		struct bytes noise = { bytes.data, from + 8 + 1 + draw() % 300, 0, 0 };
		uint32_t length = (uint32_t)(noise.length - from - 8);

		for (size_t at = from + 8; at < noise.length; at++)
			noise.data[at] = draw() % 2 ? (uint8_t)draw() : (uint8_t)(draw() % 4);
		put_u32(noise.data + from, length);
		put_u32(noise.data + from + 4, (uint32_t)crc32(0, noise.data + from + 8, length));
		refused += read_all(noise, &count, &whole) != NULL;
		if (from == 12)
			memcpy(bytes.data, good, heading);
	}
	assert_true(refused > 1000);
	free(bytes.data);
}

static void test_too_many_threads(void **unused)
{
	FILE *file = tmpfile();
	struct lab_compact_writer *writer = lab_compact_create(fileno(file), 1000000000, NULL, 0);
	struct lab_event event = { .kind = LAB_EVENT_EXIT };
	struct bytes bytes;
	unsigned count;
	bool whole;

	(void)unused;
	for (event.task = 0; event.task < LAB_COMPACT_THREADS_MAX; event.task++)
		assert_true(lab_compact_write(writer, &event));
	assert_false(lab_compact_write(writer, &event));
	event.task = 5;
	assert_true(lab_compact_write(writer, &event));
	assert_true(lab_compact_close(writer));
	bytes = contents(file);
	assert_null(read_all(bytes, &count, &whole));
	assert_int_equal(count, LAB_COMPACT_THREADS_MAX + 1);
	free(bytes.data);
}

static void test_disk_full(void **unused)
{
	FILE *file = fopen("/dev/full", "w");
	struct lab_compact_writer *writer = lab_compact_create(fileno(file), 1000000000, NULL, 0);

	(void)unused;
	assert_false(lab_compact_close(writer));
	fclose(file);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_there_and_back),
		cmocka_unit_test(test_ticks),
		cmocka_unit_test(test_cut),
		cmocka_unit_test(test_damaged),
		cmocka_unit_test(test_noise),
		cmocka_unit_test(test_too_many_threads),
		cmocka_unit_test(test_disk_full),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
