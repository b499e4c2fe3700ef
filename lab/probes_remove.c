/* SPDX-License-Identifier: MIT */
/*
 * Taking away what a recorder made. A child waits on a pipe that only its parent writes to, and so
 * learns of the parent's end, whatever that was; it is the one place that removes. In a session of
 * its own, it outlives the terminal and what is sent to the parent's process group.
 */
#include "probes.h"
#include "probes_remove.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <tracefs.h>
#include <unistd.h>

enum { TRIES = 100, PAUSE_MS = 50 };

static const char instance_prefix[] = "rhizome-";
static const char group_prefix[] = "rhizome_";
static const char process_name[] = "rhizome";

void remove_names(long recorder, char instance[32], char group[32])
{
	snprintf(instance, 32, "%s%ld", instance_prefix, recorder);
	snprintf(group, 32, "%s%ld", group_prefix, recorder);
}

static void pause_ms(long ms)
{
	const struct timespec time = { ms / 1000, ms % 1000 * 1000000 };

	nanosleep(&time, NULL);
}

static int remove_instance(const char *path)
{
	return rmdir(path) == 0 || errno == ENOENT ? 0 : errno;
}

/* A line "p:GROUP/EVENT …" of the list is taken back by "-:GROUP/EVENT". */
static int remove_event(const char *line)
{
	char command[128];

	snprintf(command, sizeof(command), "-%.*s\n", (int)strcspn(line + 1, " \n"), line + 1);
	errno = 0;
	if (tracefs_instance_file_append(NULL, "kprobe_events", command) >= 0 || errno == ENOENT)
		return 0;
	return errno ? errno : EIO;
}

/* What is in use stays a moment: files of a process that is just dying are closed one by one. */
static int insist(int (*remove)(const char *what), const char *what)
{
	int error = remove(what);

	for (int i = 0; i < TRIES && error == EBUSY; i++) {
		pause_ms(PAUSE_MS);
		error = remove(what);
	}
	return error;
}

static bool is_event_of(const char *line, const char *group)
{
	size_t length = strlen(group);

	return (line[0] == 'p' || line[0] == 'r') && strchr(line, ':') &&
	       !strncmp(strchr(line, ':') + 1, group, length) &&
	       strchr(line, ':')[1 + length] == '/';
}

/* Removes everything of one recorder; the instance first, since it holds the events. */
static enum lab_exit remove_all(long recorder)
{
	char instance[32], group[32], path[512];
	enum lab_exit status = LAB_EXIT_OK;
	char *list, *rest, *line;
	int error;

	remove_names(recorder, instance, group);
	snprintf(path, sizeof(path), "%s/instances/%s", tracefs_tracing_dir(), instance);
	error = insist(remove_instance, path);
	if (error)
		status = lab_complain(LAB_EXIT_FAILED, "cannot remove %s: %s", path,
		                      strerror(error));
	list = tracefs_instance_file_read(NULL, "kprobe_events", NULL);
	rest = list;
	while (rest && (line = strsep(&rest, "\n"))) {
		error = is_event_of(line, group) ? insist(remove_event, line) : 0;
		if (error)
			status = lab_complain(LAB_EXIT_FAILED, "cannot remove the kprobe event "
			                      "\"%.80s\": %s", line, strerror(error));
	}
	free(list);
	return status;
}

/* A recorder's number is its process; another program may have that number by now. */
static bool lives(long recorder)
{
	char path[64], name[sizeof(process_name)] = "";
	FILE *file;
	bool ours;

	if (recorder == (long)getpid())
		return false;
	snprintf(path, sizeof(path), "/proc/%ld/comm", recorder);
	file = fopen(path, "re");
	if (!file)
		return false;
	ours = fgets(name, sizeof(name), file) && !strcmp(name, process_name);
	fclose(file);
	return ours;
}

static void remove_if_dead(const char *name, const char *prefix)
{
	char *end;
	long recorder;

	if (strncmp(name, prefix, strlen(prefix)))
		return;
	recorder = strtol(name + strlen(prefix), &end, 10);
	if (end > name + strlen(prefix) && (!*end || *end == '/') && recorder > 0 &&
	    !lives(recorder))
		remove_all(recorder);
}

void probes_remove_stale(void)
{
	char *list = tracefs_instance_file_read(NULL, "kprobe_events", NULL);
	char *rest = list, *line, path[512];
	struct dirent *entry;
	DIR *folder;

	snprintf(path, sizeof(path), "%s/instances", tracefs_tracing_dir());
	folder = opendir(path);
	while (folder && (entry = readdir(folder)))
		remove_if_dead(entry->d_name, instance_prefix);
	if (folder)
		closedir(folder);
	while (rest && (line = strsep(&rest, "\n"))) {
		const char *name = strchr(line, ':');

		if (name)
			remove_if_dead(name + 1, group_prefix);
	}
	free(list);
}

/* The child: waits for the pipe's end, then cleans up. Never returns. */
static void clean(int pipe_end, long recorder)
{
	char byte;

	setsid();
	signal(SIGINT, SIG_IGN);
	signal(SIGTERM, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	signal(SIGQUIT, SIG_IGN);
	prctl(PR_SET_NAME, "rhizome-cleaner");
	/* Whoever reads our parent's output shall not wait for us. */
	close(STDIN_FILENO);
	close(STDOUT_FILENO);
	while (read(pipe_end, &byte, 1) < 0 && errno == EINTR)
		;
	_exit(remove_all(recorder));
}

enum lab_exit remove_start(pid_t *cleaner, int *alive)
{
	long recorder = (long)getpid();
	int ends[2];

	if (pipe(ends) != 0)
		return lab_complain(LAB_EXIT_FAILED, "cannot make a pipe: %s", strerror(errno));
	fflush(NULL);
	*cleaner = fork();
	if (*cleaner == 0) {
		close(ends[1]);
		clean(ends[0], recorder);
	}
	close(ends[0]);
	if (*cleaner < 0) {
		close(ends[1]);
		*cleaner = 0;
		return lab_complain(LAB_EXIT_FAILED, "cannot start a process: %s",
		                    strerror(errno));
	}
	*alive = ends[1];
	fcntl(*alive, F_SETFD, FD_CLOEXEC);
	return LAB_EXIT_OK;
}

enum lab_exit remove_wait(pid_t cleaner, int alive)
{
	int status = 0;

	if (!cleaner)
		return LAB_EXIT_OK;
	close(alive);
	while (waitpid(cleaner, &status, 0) < 0 && errno == EINTR)
		;
	return WIFEXITED(status) && WEXITSTATUS(status) == LAB_EXIT_OK ? LAB_EXIT_OK :
	                                                                  LAB_EXIT_FAILED;
}
