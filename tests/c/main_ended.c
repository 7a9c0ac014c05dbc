/* The main thread has ended; another one continues. */
#include "check.h"

#include <pthread.h>
#include <sys/stat.h>

static void *runs(void *argument)
{
    struct stat status;

    (void)argument;
    check_wait_state(getpid(), 'Z');
    /* The mode is set by the descriptor's path in /proc. */
    umask(077);
    CHECK(ipc_fifo_create("fifo", 0666, 0) == 0);
    CHECK(stat("fifo", &status) == 0 && (status.st_mode & 0777) == 0666);
    CHECK(ipc_fifo_open("fifo", IPC_FIFO_F_READ, 0) == -1 && errno == EAGAIN);
    CHECK(ipc_fifo_unlink("fifo") == 0);
    puts("ok");
    exit(0);
}

int main(void)
{
    const char *preloaded = getenv("LD_PRELOAD");
    pthread_t thread;

    /* valgrind takes the memory of a thread that ends the process for a leak. */
    if (preloaded != NULL && strstr(preloaded, "vgpreload") != NULL)
        return 0;
    CHECK(pthread_create(&thread, NULL, runs, NULL) == 0);
    pthread_exit(NULL);
}
