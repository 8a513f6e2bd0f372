/* Counts the file operations of a process below a path and makes the n-th one go wrong.

   Preloaded, it stands between a program and the C library. What is counted: opening for writing,
   write, sendfile, fsync, close of what was opened for writing, rename, link, unlink, rmdir, mkdir,
   ftruncate, and fopen, fwrite and fclose, with which TensorFlow writes. Armed by `faults_arm` or by the environment (FAULTS_PREFIX, FAULTS_AT, FAULTS_KIND,
   FAULTS_LOG). Kinds:

     log      nothing goes wrong
     kill     SIGKILL before the operation
     torn     half of a write, then SIGKILL; another operation is killed before it
     short    half of a write, and it says so; another operation is not touched
     ENOSPC   the disk is full from here on: this and all that needs space fails
     EIO      this operation fails
     ENOLCK   no file can be locked, whatever its path
     signal N, twice N
              signal number N before this operation, or before this and the next

   A system call made without the C library (safetensors renames so) is not seen.

   The wall clock is set by FAULTS_CLOCK, a file that holds by how many seconds (int64) it is wrong. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

enum { GOES_ON, FAILS, HALF };

static char prefix[PATH_MAX], kind[16];
static size_t prefix_length;
static long fault_at;
static atomic_long count;
static atomic_int hits, disk_full;
static int log_descriptor = -1;

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

void faults_arm(const char *path, long at, const char *what, const char *log)
{
    if (log && *log)
        log_descriptor = syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_CREAT | O_APPEND, 0644);
    snprintf(kind, sizeof kind, "%s", what);
    snprintf(prefix, sizeof prefix, "%s", path);
    fault_at = at;
    count = hits = disk_full = 0;
    prefix_length = strlen(prefix);
}

long faults_count(void) { return count; } /* operations so far */
long faults_hits(void) { return hits; }   /* how many of them went wrong */

__attribute__((constructor)) static void arm_from_environment(void)
{
    const char *path = getenv("FAULTS_PREFIX"), *at = getenv("FAULTS_AT");
    const char *what = getenv("FAULTS_KIND");
    if (path && what)
        faults_arm(path, at ? atol(at) : 0, what, getenv("FAULTS_LOG"));
}

static void die(void)
{
    syscall(SYS_kill, getpid(), SIGKILL);
    pause();
}

/* What is to become of an operation on an absolute path. */
static int meet(const char *operation, const char *path, int needs_space)
{
    if (!prefix_length || strncmp(path, prefix, prefix_length))
        return GOES_ON;
    long number = ++count;
    if (log_descriptor >= 0) {
        char line[PATH_MAX + 64];
        int length = snprintf(line, sizeof line, "%ld\t%s\t%s\n", number, operation, path);
        syscall(SYS_write, log_descriptor, line, length);
    }
    int signal_number;
    if ((sscanf(kind, "signal %d", &signal_number) == 1 && number == fault_at) ||
        (sscanf(kind, "twice %d", &signal_number) == 1 && (unsigned long)(number - fault_at) <= 1))
        kill(getpid(), signal_number);
    int here = number == fault_at;
    if (!here && !(disk_full && needs_space))
        return GOES_ON;
    int writes = !strcmp(operation, "write");
    if (!strcmp(kind, "kill") || (!strcmp(kind, "torn") && !writes))
        die();
    if (!strcmp(kind, "ENOSPC") || !strcmp(kind, "EIO")) {
        hits++;
        disk_full = !strcmp(kind, "ENOSPC");
        errno = disk_full ? ENOSPC : EIO;
        return FAILS;
    }
    if (!writes || !strcmp(kind, "log"))
        return GOES_ON;
    hits++;
    return HALF;
}

/* With the kind ENOLCK no file system has locks. */
int flock(int descriptor, int operation)
{
    if (!strcmp(kind, "ENOLCK")) {
        errno = ENOLCK;
        return -1;
    }
    return NEXT(flock)(descriptor, operation);
}

static const char *absolute(int directory, const char *path, char *buffer)
{
    if (*path == '/')
        return path;
    char link[64];
    ssize_t length;
    if (directory == AT_FDCWD)
        length = getcwd(buffer, PATH_MAX) ? (ssize_t)strlen(buffer) : 0;
    else {
        snprintf(link, sizeof link, "/proc/self/fd/%d", directory);
        length = readlink(link, buffer, PATH_MAX - 1);
    }
    if (length < 0)
        length = 0;
    snprintf(buffer + length, PATH_MAX - length, "%s%s", *path ? "/" : "", path);
    return buffer;
}

static int meet_at(const char *operation, int directory, const char *path, int needs_space)
{
    char buffer[PATH_MAX];
    return prefix_length ? meet(operation, absolute(directory, path, buffer), needs_space) : GOES_ON;
}

static int meet_fd(const char *operation, int descriptor, int needs_space)
{
    return meet_at(operation, descriptor, "", needs_space);
}

#define WRITES(flags) ((flags) & (O_WRONLY | O_RDWR | O_CREAT))

#define OPEN(name)                                                                     \
    int name(const char *path, int flags, ...)                                         \
    {                                                                                  \
        va_list rest;                                                                  \
        va_start(rest, flags);                                                         \
        mode_t mode = va_arg(rest, mode_t);                                            \
        va_end(rest);                                                                  \
        if (WRITES(flags) && meet_at("open", AT_FDCWD, path, flags & O_CREAT) == FAILS) \
            return -1;                                                                 \
        return NEXT(name)(path, flags, mode);                                          \
    }
OPEN(open)
OPEN(open64)

#define OPENAT(name)                                                                    \
    int name(int directory, const char *path, int flags, ...)                           \
    {                                                                                   \
        va_list rest;                                                                   \
        va_start(rest, flags);                                                          \
        mode_t mode = va_arg(rest, mode_t);                                             \
        va_end(rest);                                                                   \
        if (WRITES(flags) && meet_at("open", directory, path, flags & O_CREAT) == FAILS) \
            return -1;                                                                  \
        return NEXT(name)(directory, path, flags, mode);                                \
    }
OPENAT(openat)
OPENAT(openat64)

ssize_t write(int descriptor, const void *data, size_t size)
{
    int fate = meet_fd("write", descriptor, 1);
    if (fate == FAILS)
        return -1;
    ssize_t written = NEXT(write)(descriptor, data, fate == HALF && size > 1 ? size / 2 : size);
    if (fate == HALF && !strcmp(kind, "torn"))
        die();
    return written;
}

#define SENDFILE(name)                                                      \
    ssize_t name(int out, int in, off_t *offset, size_t size)               \
    {                                                                       \
        if (meet_fd("sendfile", out, 1) == FAILS)                           \
            return -1;                                                      \
        return NEXT(name)(out, in, offset, size);                           \
    }
ssize_t sendfile(int, int, off_t *, size_t);
ssize_t sendfile64(int, int, off_t *, size_t);
SENDFILE(sendfile)
SENDFILE(sendfile64)

#define ON_DESCRIPTOR(name, needs_space)                                     \
    int name(int descriptor)                                                 \
    {                                                                        \
        if (meet_fd(#name, descriptor, needs_space) == FAILS)                \
            return -1;                                                       \
        return NEXT(name)(descriptor);                                       \
    }
ON_DESCRIPTOR(fsync, 1)
ON_DESCRIPTOR(fdatasync, 1)

int close(int descriptor)
{
    int flags = fcntl(descriptor, F_GETFL);
    int failed = flags >= 0 && WRITES(flags) && meet_fd("close", descriptor, 0) == FAILS;
    int error = errno, result = NEXT(close)(descriptor); /* it is closed in any case */
    if (failed)
        errno = error;
    return failed ? -1 : result;
}

#define FOPEN(name)                                                                        \
    FILE *name(const char *path, const char *mode)                                         \
    {                                                                                      \
        if (strpbrk(mode, "wa+") && meet_at("open", AT_FDCWD, path, *mode != 'r') == FAILS) \
            return NULL;                                                                   \
        return NEXT(name)(path, mode);                                                     \
    }
FOPEN(fopen)
FOPEN(fopen64)

size_t fwrite(const void *data, size_t size, size_t count, FILE *file)
{
    int fate = prefix_length ? meet_fd("write", fileno(file), 1) : GOES_ON;
    if (fate == FAILS)
        return 0;
    int torn = fate == HALF && !strcmp(kind, "torn"); /* a short fwrite would be an error */
    size_t wanted = torn && count > 1 ? count / 2 : count;
    size_t written = NEXT(fwrite)(data, size, wanted, file);
    if (torn) {
        NEXT(fflush)(file);
        die();
    }
    return written;
}

int fclose(FILE *file)
{
    int descriptor = fileno(file), flags = fcntl(descriptor, F_GETFL);
    int failed = flags >= 0 && WRITES(flags) && meet_fd("close", descriptor, 0) == FAILS;
    int error = errno, result = NEXT(fclose)(file);
    if (failed)
        errno = error;
    return failed ? EOF : result;
}

#define TRUNCATE(name, size_type)                                           \
    int name(int descriptor, size_type size)                                \
    {                                                                       \
        if (meet_fd("ftruncate", descriptor, 1) == FAILS)                   \
            return -1;                                                      \
        return NEXT(name)(descriptor, size);                                \
    }
TRUNCATE(ftruncate, off_t)
TRUNCATE(ftruncate64, off64_t)

int rename(const char *from, const char *to)
{
    return meet_at("rename", AT_FDCWD, to, 1) == FAILS ? -1 : NEXT(rename)(from, to);
}

int renameat(int from_directory, const char *from, int directory, const char *to)
{
    if (meet_at("rename", directory, to, 1) == FAILS)
        return -1;
    return NEXT(renameat)(from_directory, from, directory, to);
}

int renameat2(int from_directory, const char *from, int directory, const char *to, unsigned flags)
{
    if (meet_at("rename", directory, to, 1) == FAILS)
        return -1;
    return NEXT(renameat2)(from_directory, from, directory, to, flags);
}

int link(const char *from, const char *to)
{
    return meet_at("link", AT_FDCWD, to, 1) == FAILS ? -1 : NEXT(link)(from, to);
}

int unlink(const char *path)
{
    return meet_at("unlink", AT_FDCWD, path, 0) == FAILS ? -1 : NEXT(unlink)(path);
}

int unlinkat(int directory, const char *path, int flags)
{
    const char *operation = flags & AT_REMOVEDIR ? "rmdir" : "unlink";
    if (meet_at(operation, directory, path, 0) == FAILS)
        return -1;
    return NEXT(unlinkat)(directory, path, flags);
}

int rmdir(const char *path)
{
    return meet_at("rmdir", AT_FDCWD, path, 0) == FAILS ? -1 : NEXT(rmdir)(path);
}

int mkdir(const char *path, mode_t mode)
{
    return meet_at("mkdir", AT_FDCWD, path, 1) == FAILS ? -1 : NEXT(mkdir)(path, mode);
}

int mkdirat(int directory, const char *path, mode_t mode)
{
    return meet_at("mkdir", directory, path, 1) == FAILS ? -1 : NEXT(mkdirat)(directory, path, mode);
}

static const volatile int64_t *wrong_by; /* seconds */

__attribute__((constructor)) static void map_clock(void)
{
    const char *path = getenv("FAULTS_CLOCK");
    int descriptor = path ? syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC) : -1;
    if (descriptor < 0)
        return;
    void *mapped = mmap(NULL, sizeof *wrong_by, PROT_READ, MAP_SHARED, descriptor, 0);
    syscall(SYS_close, descriptor);
    wrong_by = mapped == MAP_FAILED ? NULL : mapped;
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
    int result = syscall(SYS_clock_gettime, clock, now);
    if (!result && wrong_by && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        now->tv_sec += *wrong_by;
    return result;
}

time_t time(time_t *seconds)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (seconds)
        *seconds = now.tv_sec;
    return now.tv_sec;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
    struct timespec precise;
    int result = clock_gettime(CLOCK_REALTIME, &precise);
    now->tv_sec = precise.tv_sec;
    now->tv_usec = precise.tv_nsec / 1000;
    return result;
}
