// The few Linux calls that Swift cannot make by itself: variadic ones and macros.
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/// Orphaned descendants of this process become its children (prctl PR_SET_CHILD_SUBREAPER).
int clinux_become_subreaper(void);
/// Other processes of the same user may neither read this one's memory nor its /proc files.
int clinux_forbid_dump(void);
/// The signal this process gets when its parent dies (prctl PR_SET_PDEATHSIG).
int clinux_signal_at_parents_death(int signal);

/// CRC-32C (Castagnoli) of the bytes, continued from `crc` (0 to begin).
uint32_t clinux_crc32c(uint32_t crc, const void *bytes, size_t count);

/// The exit code of a wait status, or 128 + signal, as a shell counts.
int clinux_exited(int status);
int clinux_exit_code(int status);
int clinux_signaled(int status);
int clinux_term_signal(int status);

/// Reserves disk blocks beyond the end of a file without changing its size (FALLOC_FL_KEEP_SIZE). 0 or -1 with errno.
int clinux_reserve(int fd, off_t offset, off_t length);

/// A descriptor that names one process for good, whatever becomes of its number. -1 with errno. Readable once it has exited.
int clinux_pidfd_open(pid_t pid);
/// Sends a signal to the process a pidfd names. 0 or -1 with errno.
int clinux_pidfd_signal(int pidfd, int signal);

/// Has the `count` signals reported instead of acted upon, whichever thread they reach: the returned descriptor becomes readable.
/// Once per process. -1 with errno.
int clinux_signal_descriptor(const int *signals, size_t count);
/// A signal that has arrived since, or 0 when there is none (and the descriptor is no longer readable).
int clinux_next_signal(void);

/// A non-blocking counter that one thread raises to wake another out of poll(2), or -1 with errno.
int clinux_wake_descriptor(void);

/// The user and process at the other end of a Unix socket, as they were when it connected. 0 or -1 with errno.
int clinux_peer(int socket, uid_t *user, pid_t *process);

/// A pipe whose both ends are closed on exec. 0 or -1 with errno.
int clinux_pipe(int ends[2]);
/// Accepts a connection; its descriptor is non-blocking and closed on exec. -1 with errno.
int clinux_accept(int listener);

/// From now on large pieces of memory go back as soon as they are freed. Without it the allocator keeps them, up to 64 MB in each
/// thread's arena, from the first one on that is freed, and nothing gives those back.
void clinux_keep_memory_small(void);

/// Gives back the memory that the program has freed, and the pages of its code and constants: what is needed again of these comes
/// back from the page cache. Most of what runs at the start of a large static program runs never again.
void clinux_give_back_memory(void);

#define CLINUX_MOST_DESCRIPTORS 16
#define CLINUX_SAME_GROUP 0
#define CLINUX_NEW_GROUP 1
#define CLINUX_NEW_SESSION 2
/// posix_spawn(3) with default signal handling and exactly `count` descriptors (at most CLINUX_MOST_DESCRIPTORS): number `i`
/// of the child is `descriptors[i]` of this process, or /dev/null if that is -1. `directory` may be NULL. 0 or an errno.
int clinux_spawn(pid_t *pid, const char *path, char *const argv[], char *const envp[], const char *directory,
                 const int *descriptors, int count, int grouping);
