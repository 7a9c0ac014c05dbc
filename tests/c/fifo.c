/* ipc_mkfifo: the mode and the umask, a conversation, and invalid arguments. */
#include "check.h"

#include <fcntl.h>

static void mode_and_umask(const char *path)
{
    static const struct {
        mode_t mode;
        mode_t mask;
    } tries[] = {{0666, 0}, {0666, 027}, {0600, 0}, {0777, 0077}, {0, 0}};
    size_t i;

    for (i = 0; i < sizeof tries / sizeof tries[0]; i++) {
        struct stat st;
        mode_t before = umask(tries[i].mask);

        CHECK(ipc_mkfifo(path, tries[i].mode) == 0);
        CHECK(umask(before) == tries[i].mask);
        CHECK(stat(path, &st) == 0);
        CHECK(S_ISFIFO(st.st_mode));
        CHECK((st.st_mode & 07777) == (tries[i].mode & ~tries[i].mask));
        CHECK(unlink(path) == 0);
    }
}

/* The child writes lines; this process reads them to the end of the file. */
static void conversation(const char *path)
{
    enum { LINES = 1000 };
    char line[32];
    FILE *file;
    pid_t child;
    int i;

    CHECK(ipc_mkfifo(path, 0600) == 0);
    child = check_fork();
    if (child == 0) {
        file = fopen(path, "w");
        CHECK(file != NULL);
        for (i = 0; i < LINES; i++) {
            CHECK(fprintf(file, "line %d\n", i) > 0);
        }
        CHECK(fclose(file) == 0);
        exit(0);
    }
    file = fopen(path, "r");
    CHECK(file != NULL);
    for (i = 0; i < LINES; i++) {
        char want[32];

        snprintf(want, sizeof want, "line %d\n", i);
        CHECK(fgets(line, sizeof line, file) != NULL);
        CHECK(strcmp(line, want) == 0);
    }
    CHECK(fgets(line, sizeof line, file) == NULL && feof(file));
    CHECK(fclose(file) == 0);
    check_passed(child);
    CHECK(unlink(path) == 0);
}

static void errors(const char *path)
{
    char missing[4200];

    CHECK(ipc_mkfifo(path, 0600) == 0);
    CHECK(ipc_mkfifo(path, 0600) == -1 && errno == EEXIST);
    snprintf(missing, sizeof missing, "%s/below", path);
    CHECK(ipc_mkfifo(missing, 0600) == -1 && errno == ENOTDIR);
    CHECK(unlink(path) == 0);
    CHECK(ipc_mkfifo(missing, 0600) == -1 && errno == ENOENT);
    CHECK(ipc_mkfifo("", 0600) == -1 && errno == ENOENT);
    CHECK(ipc_mkfifo(path, S_IFDIR | 0600) == -1 && errno == EINVAL);
}

int main(void)
{
    const char *path = check_path("fifo");

    mode_and_umask(path);
    conversation(path);
    errors(path);
    return 0;
}
