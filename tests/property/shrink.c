/* SPDX-License-Identifier: MIT */
/*
 * Runs a world over a list of actions, and makes a list that fails shorter: each trial in a child
 * process, so that a crash or a loop is a failure like any other.
 */
#include "world.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

enum { TRIAL_SECONDS = 10, SHRINK_SECONDS = 60 };

static struct world world;
static sigjmp_buf crashed;

static void on_signal(int number)
{
	siglongjmp(crashed, number);
}

/* A sanitizer tells more about a crash than we could: then we catch loops only. */
static void catch_signals(void)
{
	static const int numbers[] = { SIGALRM, SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL, SIGTRAP };
	struct sigaction action = { .sa_handler = on_signal, .sa_flags = SA_NODEFER };

	for (unsigned i = 0; i < (SANITIZED ? 1 : sizeof(numbers) / sizeof(numbers[0])); i++)
		sigaction(numbers[i], &action, NULL);
}

static void run_actions(struct world *w, const struct config *config, const struct action *actions,
                        unsigned count)
{
	world_create(w, config);
	for (w->step = 0; w->step < count; w->step++)
		perform(w, &actions[w->step]);
	for (unsigned i = 0; i < w->vms && config->audit; i++)
		check_audit(&w->vm[i]);
	world_end(w);
}

void run_world(const struct config *config, const struct action *actions, unsigned count,
               bool verbose, struct outcome *outcome)
{
	struct world *w = &world;
	int number;

	memset(w, 0, sizeof(*w));
	w->verbose = verbose;
	w->config = *config;
	outcome->step = -1;
	catch_signals();
	alarm(TRIAL_SECONDS * 3);
	number = sigsetjmp(crashed, 1);
	if (number) {
		snprintf(w->reason, sizeof(w->reason), "%s", number == SIGALRM ? "it does not end" :
		         strsignal(number));
		outcome->step = (int)w->step;
	} else if (setjmp(w->failed)) {
		outcome->step = (int)w->step;
		world_abandon(w);
	} else {
		run_actions(w, config, actions, count);
	}
	alarm(0);
	memcpy(outcome->reason, w->reason, sizeof(outcome->reason));
	outcome->totals = w->totals;
}

/* The same failure, numbers apart? */
static bool same_reason(const char *a, const char *b)
{
	static const char digits[] = "0123456789abcdefx";

	for (unsigned i = 0; i < 24; i++) {
		if (a[i] != b[i] && !(strchr(digits, a[i]) && strchr(digits, b[i])))
			return false;
		if (!a[i] || !b[i])
			return true;
	}
	return true;
}

static bool fails(const struct config *config, const struct action *actions, unsigned count,
                  const struct outcome *wanted, struct outcome *shared)
{
	pid_t child;
	int status;

	shared->step = -1;
	fflush(stdout);
	child = fork();
	if (child == 0) {
		alarm(TRIAL_SECONDS);
		run_world(config, actions, count, false, shared);
		_exit(0);
	}
	if (child < 0 || waitpid(child, &status, 0) != child)
		return false;
	if (!WIFEXITED(status))
		return true;
	return shared->step >= 0 && same_reason(shared->reason, wanted->reason);
}

/* Fewer of everything, as long as it still fails. */
static void simplify(struct config *config, const struct action *actions, unsigned count,
                     const struct outcome *wanted, struct outcome *shared)
{
	struct config simpler[5] = { *config, *config, *config, *config, *config };

	simpler[0].vms = simpler[1].cpus = simpler[2].vcpus = 1;
	simpler[3].vcpus = 2;
	simpler[4].plain = true;
	for (unsigned i = 0; i < 5; i++) {
		struct config trial = *config;

		trial.vms = simpler[i].vms < trial.vms ? simpler[i].vms : trial.vms;
		trial.cpus = simpler[i].cpus < trial.cpus ? simpler[i].cpus : trial.cpus;
		trial.vcpus = simpler[i].vcpus < trial.vcpus ? simpler[i].vcpus : trial.vcpus;
		trial.plain |= simpler[i].plain;
		if (memcmp(&trial, config, sizeof(trial)) &&
		    fails(&trial, actions, count, wanted, shared))
			*config = trial;
	}
}

unsigned shrink(struct config *config, struct action *actions, unsigned count,
                const struct outcome *outcome)
{
	struct outcome *shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
	                              MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct action *trial = malloc((count + 1) * sizeof(*trial));
	time_t end = time(NULL) + SHRINK_SECONDS;
	bool shorter = true;

	if ((unsigned)outcome->step + 1 < count)
		count = (unsigned)outcome->step + 1;
	simplify(config, actions, count, outcome, shared);
	while (shorter) {
		shorter = false;
		for (unsigned chunk = count > 1 ? count / 2 : 1; chunk; chunk /= 2) {
			for (unsigned at = 0; at < count && time(NULL) < end;) {
				unsigned gone = chunk < count - at ? chunk : count - at;

				memcpy(trial, actions, at * sizeof(*trial));
				memcpy(trial + at, actions + at + gone,
				       (count - at - gone) * sizeof(*trial));
				if (!fails(config, trial, count - gone, outcome, shared)) {
					at += gone;
					continue;
				}
				count -= gone;
				memcpy(actions, trial, count * sizeof(*trial));
				shorter = true;
			}
		}
	}
	simplify(config, actions, count, outcome, shared);
	free(trial);
	munmap(shared, sizeof(*shared));
	return count;
}
