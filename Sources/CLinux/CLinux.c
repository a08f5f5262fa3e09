#define _GNU_SOURCE
#include "CLinux.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <string.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

int clinux_become_subreaper(void) { return prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); }
int clinux_forbid_dump(void) { return prctl(PR_SET_DUMPABLE, 0, 0, 0, 0); }
int clinux_signal_at_parents_death(int signal) { return prctl(PR_SET_PDEATHSIG, signal, 0, 0, 0); }

int clinux_exited(int status) { return WIFEXITED(status); }
int clinux_exit_code(int status) { return WEXITSTATUS(status); }
int clinux_signaled(int status) { return WIFSIGNALED(status); }
int clinux_term_signal(int status) { return WTERMSIG(status); }

int clinux_pipe(int ends[2]) { return pipe2(ends, O_CLOEXEC); }
int clinux_accept(int listener) { return accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK); }

int clinux_spawn(pid_t *pid, const char *path, char *const argv[], char *const envp[], const char *directory,
                 const int *descriptors, int count, int grouping) {
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  int error = posix_spawn_file_actions_init(&actions);
  if (error) return error;
  error = posix_spawnattr_init(&attributes);
  if (error) {
    posix_spawn_file_actions_destroy(&actions);
    return error;
  }
  // A source that lies among the targets would be overwritten before its turn: it is moved out of the way first.
  int moved[CLINUX_MOST_DESCRIPTORS];
  int moves = 0;
  for (int i = 0; i < count && !error; i++) {
    int source = descriptors[i];
    if (source >= 0 && source < count) {
      source = fcntl(source, F_DUPFD_CLOEXEC, count);
      if (source < 0) error = errno;
      else moved[moves++] = source;
    }
    if (error) break;
    error = source < 0 ? posix_spawn_file_actions_addopen(&actions, i, "/dev/null", O_RDWR, 0)
                       : posix_spawn_file_actions_adddup2(&actions, source, i);
  }
  if (!error) error = posix_spawn_file_actions_addclosefrom_np(&actions, count);
  if (!error && directory) error = posix_spawn_file_actions_addchdir_np(&actions, directory);

  short flags = POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF;
  if (grouping == CLINUX_NEW_GROUP) flags |= POSIX_SPAWN_SETPGROUP;
  if (grouping == CLINUX_NEW_SESSION) flags |= POSIX_SPAWN_SETSID;
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &all);
  posix_spawnattr_setpgroup(&attributes, 0);
  posix_spawnattr_setflags(&attributes, flags);
  if (!error) error = posix_spawn(pid, path, &actions, &attributes, argv, envp);

  while (moves) close(moved[--moves]);
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  return error;
}

int clinux_pidfd_open(pid_t pid) { return (int)syscall(SYS_pidfd_open, pid, 0); }
int clinux_pidfd_signal(int pidfd, int signal) { return (int)syscall(SYS_pidfd_send_signal, pidfd, signal, NULL, 0); }

// Handlers and not signalfd: that needs the signals blocked in every thread, and the caller may not be the first one.
static _Atomic uint64_t arrived;
static int arrival = -1;

static void note_signal(int signal) {
  int saved = errno;
  uint64_t one = 1;
  atomic_fetch_or(&arrived, (uint64_t)1 << signal);
  ssize_t ignored = write(arrival, &one, sizeof one);
  (void)ignored;
  errno = saved;
}

int clinux_signal_descriptor(const int *signals, size_t count) {
  arrival = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (arrival < 0) return -1;
  struct sigaction action = {.sa_handler = note_signal, .sa_flags = SA_RESTART};
  sigset_t set;
  sigemptyset(&set);
  for (size_t i = 0; i < count; i++) {
    sigaddset(&set, signals[i]);
    if (sigaction(signals[i], &action, NULL) != 0) return -1;
  }
  pthread_sigmask(SIG_UNBLOCK, &set, NULL);
  return arrival;
}

int clinux_next_signal(void) {
  uint64_t count;
  ssize_t ignored = read(arrival, &count, sizeof count);
  (void)ignored;
  uint64_t pending = atomic_load(&arrived);
  if (pending == 0) return 0;
  int signal = __builtin_ctzll(pending);
  atomic_fetch_and(&arrived, ~((uint64_t)1 << signal));
  return signal;
}

int clinux_wake_descriptor(void) { return eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK); }

int clinux_peer(int socket, uid_t *user, pid_t *process) {
  struct ucred peer;
  socklen_t size = sizeof peer;
  if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) return -1;
  *user = peer.uid;
  *process = peer.pid;
  return 0;
}

int clinux_reserve(int fd, off_t offset, off_t length) {
  return fallocate(fd, FALLOC_FL_KEEP_SIZE, offset, length);
}

// Slicing-by-8: eight table lookups per eight bytes, about 1.5 GB/s, with no instruction-set requirement.
static uint32_t table[8][256];
static pthread_once_t table_once = PTHREAD_ONCE_INIT;

static void make_table(void) {
  for (uint32_t i = 0; i < 256; i++) {
    uint32_t c = i;
    for (int k = 0; k < 8; k++) c = c & 1 ? (c >> 1) ^ 0x82f63b78u : c >> 1;
    table[0][i] = c;
  }
  for (uint32_t i = 0; i < 256; i++)
    for (int t = 1; t < 8; t++)
      table[t][i] = (table[t - 1][i] >> 8) ^ table[0][table[t - 1][i] & 0xff];
}

uint32_t clinux_crc32c(uint32_t crc, const void *bytes, size_t count) {
  pthread_once(&table_once, make_table);
  const uint8_t *p = bytes;
  crc = ~crc;
  while (count >= 8) {
    uint32_t a, b;
    memcpy(&a, p, 4);
    memcpy(&b, p + 4, 4);
    a ^= crc;
    crc = table[7][a & 0xff] ^ table[6][(a >> 8) & 0xff] ^ table[5][(a >> 16) & 0xff] ^ table[4][a >> 24] ^
          table[3][b & 0xff] ^ table[2][(b >> 8) & 0xff] ^ table[1][(b >> 16) & 0xff] ^ table[0][b >> 24];
    p += 8;
    count -= 8;
  }
  while (count--) crc = (crc >> 8) ^ table[0][(crc ^ *p++) & 0xff];
  return ~crc;
}

// Defined by the linker: everything between them is mapped from the file, and not writable.
extern const char __executable_start, etext;

void clinux_keep_memory_small(void) {
    mallopt(M_MMAP_THRESHOLD, 128 << 10);
    mallopt(M_TRIM_THRESHOLD, 128 << 10);
}

void clinux_give_back_memory(void) {
    malloc_trim(0);
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t start = (uintptr_t)&__executable_start & ~(page - 1);
    uintptr_t end = (uintptr_t)&etext & ~(page - 1);
    // It is only advice: without it the program is just larger.
    madvise((void *)start, end - start, MADV_DONTNEED);
}
