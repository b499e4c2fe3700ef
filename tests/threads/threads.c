/* SPDX-License-Identifier: MIT */
/*
 * The library's contract on concurrency, tried with real threads: three vCPUs and the host. The
 * threads' choices follow from the seed; how they interleave does not. The watchdog lives here.
 */
#include "world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { WATCHDOG_S = 45 };

static const char *const check_names[CHECKS] = {
	"accesses", "page faults", "translations used", "stores through them", "frames not taken",
	"pages logged", "pages freed", "tables walked", "audits", "progress",
};

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static struct thread *thread_at(unsigned n)
{
	return n < VCPUS ? &world.cpu[n].thread : &world.host_thread;
}

/* Ends the program if a thread stands still. */
static void watch(double seconds)
{
	uint64_t seen[VCPUS + 1] = { 0 };
	double moved[VCPUS + 1], start = now();

	for (unsigned i = 0; i <= VCPUS; i++)
		moved[i] = start;
	while (now() - start < seconds) {
		usleep(20000);
		for (unsigned i = 0; i <= VCPUS; i++) {
			uint64_t progress = LOAD(&thread_at(i)->progress);

			if (progress != seen[i])
				moved[i] = now();
			else if (now() - moved[i] > WATCHDOG_S)
				broken("thread %u stands still after %llu steps", i,
				       (unsigned long long)progress);
			seen[i] = progress;
		}
	}
}

static void run(double seconds)
{
	for (unsigned i = 0; i < VCPUS; i++)
		pthread_create(&world.cpu[i].thread.thread, NULL, cpu_work, &world.cpu[i]);
	pthread_create(&world.host_thread.thread, NULL, host_work, NULL);
	watch(seconds);
	STORE(&world.end, true);
	alarm(WATCHDOG_S);
	for (unsigned i = 0; i <= VCPUS; i++)
		pthread_join(thread_at(i)->thread, NULL);
	alarm(0);
}

static void tell(void)
{
	uint64_t steps = 0, faults = 0, kicks = 0;

	for (unsigned i = 0; i < VCPUS; i++) {
		steps += world.cpu[i].thread.progress;
		faults += world.cpu[i].faults;
		kicks += world.cpu[i].kicks_seen;
	}
	printf("%llu steps of vCPUs, %llu of the host, %llu faults, %llu kicks (%llu met a vCPU in "
	       "the guest)\n", (unsigned long long)steps,
	       (unsigned long long)world.host_thread.progress, (unsigned long long)faults,
	       (unsigned long long)world.kicks, (unsigned long long)kicks);
}

/* A check that was never made is a failure. */
static int result(void)
{
	unsigned passed = 0;

	for (unsigned check = 0; check < CHECKS; check++) {
		uint64_t count = 0;

		for (unsigned i = 0; i <= VCPUS; i++)
			count += check == CHECK_PROGRESS ? !!thread_at(i)->progress :
			                                   thread_at(i)->checks[check];
		printf("%12llu %s%s\n", (unsigned long long)count, check_names[check],
		       count ? "" : ": never checked");
		passed += !!count;
	}
	printf("%u passed, %u failed\n", passed, CHECKS - passed);
	return passed == CHECKS ? 0 : 1;
}

int main(int argc, char **argv)
{
	uint64_t seed = 1;
	double seconds = 4;

	for (int i = 1; i + 1 < argc; i += 2) {
		if (!strcmp(argv[i], "--seed"))
			seed = strtoull(argv[i + 1], NULL, 0);
		else if (!strcmp(argv[i], "--seconds"))
			seconds = atof(argv[i + 1]);
	}
	if (argc % 2 == 0) {
		puts("usage: threads [--seed S] [--seconds T]");
		return 2;
	}
	printf("seed %llu\n", (unsigned long long)seed);
	fflush(stdout);
	world_make(seed);
	printf("quota %u, options %#x\n", world.quota, world.options);
	fflush(stdout);
	run(seconds);
	self = &world.host_thread;
	tell();
	world_end();
	return result();
}
