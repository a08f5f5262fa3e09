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
