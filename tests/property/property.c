/* SPDX-License-Identifier: MIT */
/*
 * The command line of the property tests: random worlds, each with its own configuration, from one
 * seed. A world that fails is shrunk, told step by step, and can be replayed alone.
 */
#include "world.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

enum { MAX_STEPS = 4000 };

static const char *const mode_names[MODES] = { "none", "32", "pae", "4", "5", "mixed", "npt",
                                               "ept", "l2", "nsvm", "nnpt", "nept" };
static const char *const option_names[] = { "prefetch", "unsync", "root-reuse", "tags",
                                            "large-pages", "mmio-cache", "exec-large", "lists",
                                            "quick-fill" };
enum { OPTIONS = 9 };

struct run {
	uint64_t seed, steps, world;
	int mode; /* -1: all */
	bool soak, one, no_shrink, tell, list;
	int vms, cpus, vcpus; /* 0: as the seed wants */
	const char *sequence;
	struct config config;
};

static void help(void)
{
	puts("usage: property [--seed S] [--steps N] [--mode M] [--audit K] [--check K]\n"
	     "                [--vms N] [--cpus N] [--vcpus N] [--plain] [--soak]\n"
	     "                [--no-OPTION | --with-OPTION]... [--world W [--sequence S]]\n"
	     "                [--no-shrink] [--tell] [--modes]\n"
	     "\n"
	     "Drives the library and the model side by side with N random steps (default\n"
	     "200000) and prints the seed.\n"
	     "  --mode M      guest paging none, 32, pae, 4, 5 or mixed; npt, ept; with nested\n"
	     "                guests l2 (their own tables), nsvm, nnpt (shadow NPT), nept (EPT);\n"
	     "                all (default)\n"
	     "  --audit K     the library's audit about every K steps; 0: never (default 64)\n"
	     "  --check K     all shadow tables against the model every K steps (default 16)\n"
	     "  --no-OPTION   turns a trick off in every world, --with-OPTION on: prefetch,\n"
	     "                unsync, root-reuse, tags, large-pages, mmio-cache, exec-large,\n"
	     "                lists, quick-fill\n"
	     "  --plain       no failing allocations, no stores by vCPUs that are kicked\n"
	     "  --soak        goes on with fresh seeds until told to stop\n"
	     "  --world W     only the world with this seed, as a failure names it\n"
	     "  --sequence S  these actions instead of the world's own, as a failure prints them\n"
	     "  --vms N, --cpus N, --vcpus N  so many in every world\n"
	     "  --no-shrink   reports a failure as it is\n"
	     "  --tell        prints every step of every world\n"
	     "  --modes       lists the modes and does nothing else");
}

static int find(const char *name, const char *const *names, int count)
{
	for (int i = 0; i < count; i++)
		if (!strcmp(name, names[i]))
			return i;
	return -1;
}

static bool parse_option(const char *word, struct run *run)
{
	int n = -1;

	if (!strncmp(word, "--no-", 5)) {
		n = find(word + 5, option_names, OPTIONS);
		if (n >= 0)
			run->config.options |= 1u << n;
	} else if (!strncmp(word, "--with-", 7)) {
		n = find(word + 7, option_names, OPTIONS);
		if (n >= 0)
			run->config.options_off |= 1u << n;
	}
	return n >= 0;
}

static bool parse_flag(const char *word, struct run *run)
{
	if (!strcmp(word, "--soak"))
		run->soak = true;
	else if (!strcmp(word, "--plain"))
		run->config.plain = true;
	else if (!strcmp(word, "--no-shrink"))
		run->no_shrink = true;
	else if (!strcmp(word, "--tell"))
		run->tell = true;
	else
		return parse_option(word, run);
	return true;
}

static bool parse_value(const char *word, const char *value, struct run *run)
{
	uint64_t number = strtoull(value, NULL, 0);

	if (!strcmp(word, "--seed"))
		run->seed = number;
	else if (!strcmp(word, "--steps"))
		run->steps = number;
	else if (!strcmp(word, "--audit"))
		run->config.audit = (unsigned)number;
	else if (!strcmp(word, "--check"))
		run->config.check = (unsigned)number;
	else if (!strcmp(word, "--vcpus") && number >= 1 && number <= VCPUS)
		run->vcpus = (int)number;
	else if (!strcmp(word, "--vms") && number >= 1 && number <= VMS)
		run->vms = (int)number;
	else if (!strcmp(word, "--cpus") && number >= 1 && number <= CPUS)
		run->cpus = (int)number;
	else if (!strcmp(word, "--sequence"))
		run->sequence = value;
	else if (!strcmp(word, "--world"))
		run->world = number, run->one = true;
	else if (!strcmp(word, "--mode") && !strcmp(value, "all"))
		run->mode = -1;
	else if (!strcmp(word, "--mode"))
		return (run->mode = find(value, mode_names, MODES)) >= 0;
	else
		return false;
	return true;
}

/* Exits on what it does not understand. */
static void parse(int count, char **words, struct run *run)
{
	for (int i = 1; i < count; i++) {
		if (!strcmp(words[i], "--help")) {
			help();
			exit(0);
		}
		if (!strcmp(words[i], "--modes")) {
			for (unsigned mode = 0; mode < MODES; mode++)
				puts(mode_names[mode]);
			exit(0);
		}
		if (parse_flag(words[i], run))
			continue;
		if (i + 1 < count && parse_value(words[i], words[i + 1], run)) {
			i++;
			continue;
		}
		fprintf(stderr, "property: what is '%s'?\n", words[i]);
		help();
		exit(2);
	}
}

static struct config world_config(const struct run *run, unsigned mode, uint64_t seed,
                                  unsigned *steps)
{
	struct config config = run->config;
	struct random r = { .state = seed };

	config.seed = seed;
	config.mode = mode;
	config.vms = chance(&r, 15) ? 2 : 1;
	config.vcpus = 1 + below(&r, VCPUS);
	config.cpus = 1 + below(&r, CPUS);
	*steps = 200 + below(&r, 20) * below(&r, 190);
	if (*steps > MAX_STEPS)
		*steps = MAX_STEPS;
	if (run->vcpus)
		config.vcpus = (unsigned)run->vcpus;
	if (run->vms)
		config.vms = (unsigned)run->vms;
	if (run->cpus)
		config.cpus = (unsigned)run->cpus;
	return config;
}

/* The words that make the same world again. */
static void print_world(const struct config *config)
{
	printf("property --mode %s --world %#llx --audit %u --check %u", mode_names[config->mode],
	       (unsigned long long)config->seed, config->audit, config->check);
	printf(" --vms %u --cpus %u --vcpus %u%s --tell", config->vms, config->cpus, config->vcpus,
	       config->plain ? " --plain" : "");
	for (unsigned i = 0; i < OPTIONS; i++) {
		if (config->options >> i & 1)
			printf(" --no-%s", option_names[i]);
		if (config->options_off >> i & 1)
			printf(" --with-%s", option_names[i]);
	}
}

static void print_sequence(const struct config *config, const struct action *actions,
                           unsigned count)
{
	printf("replay it: ");
	print_world(config);
	printf(" --sequence ");
	for (unsigned i = 0; i < count; i++)
		printf("%s%u:%llx", i ? "," : "", actions[i].kind,
		       (unsigned long long)actions[i].seed);
	putchar('\n');
}

static unsigned parse_sequence(const char *text, struct action *actions)
{
	unsigned count = 0;
	char *end;

	while (*text && count < MAX_STEPS) {
		actions[count].kind = (uint32_t)strtoul(text, &end, 10);
		if (*end != ':')
			break;
		actions[count++].seed = strtoull(end + 1, &end, 16);
		text = *end == ',' ? end + 1 : end;
	}
	return count;
}

static void report(const struct run *run, struct config *config, struct action *actions,
                   unsigned count, struct outcome *outcome)
{
	printf("FAILED: mode %s, world %#llx, step %d: %s\n", mode_names[config->mode],
	       (unsigned long long)config->seed, outcome->step, outcome->reason);
	printf("replay: ");
	print_world(config);
	putchar('\n');
	if (run->no_shrink)
		return;
	count = shrink(config, actions, count, outcome);
	printf("the shortest sequence found, %u actions, tells:\n", count);
	run_world(config, actions, count, true, outcome);
	print_sequence(config, actions, count);
	printf("step %d: %s\n", outcome->step, outcome->reason);
	fflush(stdout);
}

/* Totals are counters and nothing else. */
static void add(struct totals *sum, const struct totals *one)
{
	uint64_t *to = (uint64_t *)sum;
	const uint64_t *from = (const uint64_t *)one;

	for (unsigned i = 0; i < sizeof(*sum) / sizeof(*to); i++)
		to[i] += from[i];
}

static void print_totals(const struct totals *t)
{
	printf("%llu accesses: %llu done, %llu faults reflected, %llu MMIO, %llu tracked writes\n"
	       "%llu faults, %llu entries, %llu stores by kicked vCPUs, %llu tables synced\n"
	       "%llu roots reused, %llu missed; %llu prefetched, %llu zapped, %llu large at end\n"
	       "%llu translations checked, %llu by history, %llu beyond it\n",
	       (unsigned long long)t->accesses, (unsigned long long)t->done,
	       (unsigned long long)t->reflected, (unsigned long long)t->mmio,
	       (unsigned long long)t->tracked, (unsigned long long)t->faults,
	       (unsigned long long)t->entries, (unsigned long long)t->stale_stores,
	       (unsigned long long)t->synced, (unsigned long long)t->reused,
	       (unsigned long long)t->missed, (unsigned long long)t->prefetched,
	       (unsigned long long)t->zapped, (unsigned long long)t->large,
	       (unsigned long long)t->checks, (unsigned long long)t->searches,
	       (unsigned long long)t->unknown);
}

/* What others on the same processor take does not count: the rate is one core's. */
static double processor_seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Worlds of one mode until so many steps are done. True: none failed. */
static bool run_mode(const struct run *run, unsigned mode, uint64_t steps, struct totals *total)
{
	static struct action actions[MAX_STEPS];
	struct random seeds = { .state = run->seed + mode * 0x1000003ull };
	struct outcome outcome = { .step = -1 };
	uint64_t done = 0, worlds = 0;
	double start = processor_seconds();

	while (done < steps || worlds == 0) {
		unsigned count;
		uint64_t seed = run->one ? run->world : roll(&seeds);
		struct config config = world_config(run, mode, seed, &count);

		pick_actions(&config, actions, count);
		if (run->sequence)
			count = parse_sequence(run->sequence, actions);
		run_world(&config, actions, count, run->tell, &outcome);
		if (outcome.step >= 0) {
			report(run, &config, actions, count, &outcome);
			return false;
		}
		done += count;
		worlds++;
		add(total, &outcome.totals);
		if (run->one)
			break;
	}
	printf("mode %-5s %8llu steps in %5llu worlds, %.0f steps/s\n", mode_names[mode],
	       (unsigned long long)done, (unsigned long long)worlds,
	       (double)done / (processor_seconds() - start));
	fflush(stdout);
	return true;
}

int main(int count, char **words)
{
	struct run run = { .steps = 200000, .mode = -1, .config = { .audit = 64, .check = 16 } };
	unsigned passed = 0, failed = 0;

	if (getrandom(&run.seed, sizeof(run.seed), 0) != sizeof(run.seed))
		run.seed = (uint64_t)time(NULL);
	run.seed &= 0xffffffff;
	parse(count, words, &run);
	world_memory_init();
	setvbuf(stdout, NULL, _IOLBF, 0);
	do {
		struct totals total = { 0 };

		printf("note: property seed %llu, %llu steps\n", (unsigned long long)run.seed,
		       (unsigned long long)run.steps);
		for (unsigned mode = 0; mode < MODES; mode++) {
			if (run.mode >= 0 && (unsigned)run.mode != mode)
				continue;
			if (run_mode(&run, mode, run.mode >= 0 ? run.steps : run.steps / MODES,
			             &total))
				passed++;
			else
				failed++;
		}
		print_totals(&total);
		run.seed++;
	} while (run.soak && !failed);
	printf("%u passed, %u failed\n", passed, failed);
	return failed != 0;
}
