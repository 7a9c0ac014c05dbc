/* ipc_ftok: the same keys as the C library's, so that programs with either can share objects. */
#include "check.h"

#include <fcntl.h>

int main(void)
{
    static const int projects[] = {0, 1, 'a', 255, 256, 257, -1, 0x12345678};
    const char *path = check_path("ftok");
    int fd = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
    size_t i;
    int id;
    key_t key;

    CHECK(fd >= 0);
    CHECK(close(fd) == 0);
    for (i = 0; i < sizeof projects / sizeof projects[0]; i++) {
        CHECK(ipc_ftok(path, projects[i]) == ftok(path, projects[i]));
        CHECK(ipc_ftok("/", projects[i]) == ftok("/", projects[i]));
    }
    CHECK(ipc_ftok(path, 1) == ipc_ftok(path, 257));
    CHECK(ipc_ftok(path, 1) != ipc_ftok(path, 2));

    /* Our key finds a segment that was created with the C library's key. */
    key = ftok(path, 'u');
    CHECK(key != -1);
    id = shmget(key, 1, IPC_CREAT | IPC_EXCL | 0600);
    if (id == -1 && errno == EEXIST) {
        /* Another file's segment: keys are not unique. */
        CHECK(unlink(path) == 0);
        return CANNOT_RUN;
    }
    CHECK(id >= 0);
    CHECK(ipc_shmget(ipc_ftok(path, 'u'), 1, 0600) == id);
    CHECK(ipc_shmctl(id, IPC_RMID, NULL) == 0);

    CHECK(unlink(path) == 0);
    CHECK(ipc_ftok(path, 1) == -1 && errno == ENOENT);
    CHECK(ipc_ftok("", 1) == -1 && errno == ENOENT);
    return 0;
}
