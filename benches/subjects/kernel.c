/* kernel: mechanisms of the system, used by plain system calls and C library functions. */
#include "subject.h"

#include <sys/utsname.h>

extern const struct subject_row kernel_fds[], kernel_queues[], kernel_memory[], kernel_locks[],
    kernel_broadcast[];

int main(int argc, char **argv)
{
    const struct subject_row *const tables[] = {kernel_fds,   kernel_queues,    kernel_memory,
                                                kernel_locks, kernel_broadcast, NULL};
    struct utsname system;
    char version[sizeof(system.sysname) + sizeof(system.release) + 2];

    subject_must(uname(&system), "uname");
    snprintf(version, sizeof(version), "%s %s", system.sysname, system.release);
    return subject_main(argc, argv, version, tables);
}
