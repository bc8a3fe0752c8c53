// Preloaded into a redis-server, it moves that server's clock, and nobody else's:
// by the µs that stand in the file LOCKINGWORKER_CLOCK, in the first eight bytes.
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile long long *offset;

__attribute__((constructor)) static void begin(void) {
	const char *path = getenv("LOCKINGWORKER_CLOCK");
	int fd = path ? open(path, O_RDONLY) : -1;
	void *page = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof *offset, PROT_READ, MAP_SHARED, fd, 0);
	if (page != MAP_FAILED) offset = page;
}

int clock_gettime(clockid_t id, struct timespec *ts) {
	int result = (int)syscall(SYS_clock_gettime, id, ts);
	if (result == 0 && offset && id == CLOCK_REALTIME) {
		long long us = ts->tv_sec * 1000000LL + ts->tv_nsec / 1000 + *offset;
		ts->tv_sec = us / 1000000;
		ts->tv_nsec = us % 1000000 * 1000;
	}
	return result;
}

int gettimeofday(struct timeval *restrict tv, void *restrict zone) {
	struct timespec ts;
	(void)zone;
	clock_gettime(CLOCK_REALTIME, &ts);
	tv->tv_sec = ts.tv_sec;
	tv->tv_usec = ts.tv_nsec / 1000;
	return 0;
}

time_t time(time_t *t) {
	struct timespec ts;
	clock_gettime(CLOCK_REALTIME, &ts);
	if (t) *t = ts.tv_sec;
	return ts.tv_sec;
}
