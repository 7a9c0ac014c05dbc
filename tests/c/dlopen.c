/*
 * Loads the library with dlopen repeatedly: memory does not grow, and the library stays loaded.
 * The program is not linked with it; UNIXIPC_SO in the environment is its path.
 */
#include "check.h"

#include <dlfcn.h>

enum { ROUNDS = 1000, WARM = 100 };

/* ISO C has no cast from an object's address to a function's. */
union symbol {
    void *address;
    const char *(*version)(void);
    int (*socketpair)(int, int, int, int[2]);
    int (*semctl)(int, int, int, ...);
};

static union symbol find(void *library, const char *name)
{
    union symbol symbol;

    symbol.address = dlsym(library, name);
    CHECK(symbol.address != NULL);
    return symbol;
}

static union symbol one_round(const char *path)
{
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    union symbol version;
    int sv[2];

    if (library == NULL) {
        fprintf(stderr, "%s\n", dlerror());
    }
    CHECK(library != NULL);
    version = find(library, "ipc_version");
    CHECK(strcmp(version.version(), UNIXIPC_VERSION) == 0);
    CHECK(find(library, "ipc_socketpair").socketpair(AF_UNIX, SOCK_STREAM, 0, sv) == 0);
    CHECK(close(sv[0]) == 0);
    CHECK(close(sv[1]) == 0);
    CHECK(find(library, "ipc_semctl").semctl(-1, 0, GETVAL) == -1 && errno == EINVAL);
    CHECK(dlclose(library) == 0);
    return version;
}

struct maps {
    long mappings; /* of the process */
    long ours;     /* of the library */
    long bytes;
};

static struct maps look(void)
{
    FILE *file = fopen("/proc/self/maps", "re");
    struct maps maps = {0, 0, 0};
    char line[8192];

    CHECK(file != NULL);
    while (fgets(line, sizeof line, file) != NULL) {
        unsigned long from;
        unsigned long to;

        CHECK(sscanf(line, "%lx-%lx", &from, &to) == 2);
        maps.mappings++;
        maps.ours += strstr(line, "libunixipc.so") != NULL;
        maps.bytes += (long)(to - from);
    }
    CHECK(fclose(file) == 0);
    return maps;
}

int main(void)
{
    const char *path = getenv("UNIXIPC_SO");
    struct maps before;
    struct maps after;
    union symbol version;
    void *library;
    int i;

    if (path == NULL) {
        fprintf(stderr, "UNIXIPC_SO is not set\n");
        return CANNOT_RUN;
    }
    CHECK(look().ours == 0);
    for (i = 0; i < WARM; i++) {
        version = one_round(path);
    }
    before = look();
    for (; i < ROUNDS; i++) {
        version = one_round(path);
    }
    after = look();
    CHECK(before.ours > 0);
    CHECK(after.ours == before.ours);
    /* Less than one mapping and 300 bytes a round: a tool that watches the program
       (a sanitizer, valgrind) may need some for itself. */
    CHECK(after.mappings - before.mappings < 16);
    CHECK(after.bytes - before.bytes < 300L * (ROUNDS - WARM));

    /* The library stays loaded, so its functions can still be called. */
    CHECK(strcmp(version.version(), UNIXIPC_VERSION) == 0);
    library = dlopen(path, RTLD_NOW | RTLD_NOLOAD);
    CHECK(library != NULL);
    CHECK(dlclose(library) == 0);
    return 0;
}
