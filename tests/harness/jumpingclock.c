/* A wall clock that jumps, for one process: LD_PRELOAD it, and JUMPING_CLOCK names a file of one int64, nanoseconds.
 *
 * Waits for a time of the wall clock behave as in the kernel: those under way end early when it is set forward and
 * late when it is set back. Monotonic clocks are left alone. (libfaketime turns deadlines into durations, which hides
 * just that, and its clock_nanosleep fails under Python.) */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <threads.h>
#include <time.h>
#include <unistd.h>

#define SECOND 1000000000LL
#define SLICE 50000000LL

static volatile int64_t nothing = 0;
static volatile int64_t *ahead = &nothing;

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("JUMPING_CLOCK");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    void *found = file < 0 ? MAP_FAILED : mmap(NULL, sizeof(int64_t), PROT_READ, MAP_SHARED, file, 0);
    if (found != MAP_FAILED)
        ahead = found;
}

static int64_t now(clockid_t clock) {
    struct timespec at;
    syscall(SYS_clock_gettime, clock, &at);
    return at.tv_sec * SECOND + at.tv_nsec;
}

static struct timespec as_timespec(int64_t at) { return (struct timespec){at / SECOND, at % SECOND}; }

int clock_gettime(clockid_t clock, struct timespec *at) {
    int result = (int)syscall(SYS_clock_gettime, clock, at);
    if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        *at = as_timespec(at->tv_sec * SECOND + at->tv_nsec + *ahead);
    return result;
}

int gettimeofday(struct timeval *restrict at, void *restrict zone) {
    struct timespec found = as_timespec(now(CLOCK_REALTIME) + *ahead);
    (void)zone;
    *at = (struct timeval){found.tv_sec, found.tv_nsec / 1000};
    return 0;
}

time_t time(time_t *at) {
    time_t found = (now(CLOCK_REALTIME) + *ahead) / SECOND;
    if (at)
        *at = found;
    return found;
}

typedef int (*waiter)(void *, void *, const struct timespec *);

/* The original of one of the two functions below, in slices, so that it sees the clock jump. */
static int in_slices(waiter wait, int timed_out, void *cond, void *mutex, const struct timespec *until) {
    int64_t deadline = until->tv_sec * SECOND + until->tv_nsec;
    for (;;) {
        int64_t real = now(CLOCK_REALTIME), left = deadline - (real + *ahead);
        if (left <= 0)
            return timed_out;
        struct timespec slice = as_timespec(real + (left < SLICE ? left : SLICE));
        int result = wait(cond, mutex, &slice);
        if (result != timed_out)
            return result;
    }
}

static waiter original(const char *name, const char *version) {
    waiter found = (waiter)dlvsym(RTLD_NEXT, name, version);
    return found ? found : (waiter)dlsym(RTLD_NEXT, name);
}

int cnd_timedwait(cnd_t *restrict cond, mtx_t *restrict mutex, const struct timespec *restrict until) {
    static waiter wait;
    if (!wait)
        wait = original("cnd_timedwait", "GLIBC_2.28");
    return in_slices(wait, thrd_timedout, cond, mutex, until);
}

int pthread_cond_timedwait(pthread_cond_t *cond, pthread_mutex_t *mutex, const struct timespec *until) {
    static waiter wait;
    if (!wait)
        wait = original("pthread_cond_timedwait", "GLIBC_2.3.2");
    if (until->tv_sec < now(CLOCK_MONOTONIC) / SECOND + 40000000) /* a condition on the monotonic clock */
        return wait(cond, mutex, until);
    return in_slices(wait, ETIMEDOUT, cond, mutex, until);
}
