#include "shm_time.h"

#include <err.h>

#include "util.h"

struct shm_time_args shm_time_parse(const char *usage, int argc, char **argv)
{
    struct shm_time_args args = {.path = "."};
    const struct command_option options[] = {
        {'l', "lock", .flag = &args.lock, .value = 1},
        {'c', "cell", .flag = &args.cell, .value = 1},
        {0},
    };
    const struct command_line line = {
        .usage = usage,
        .max_args = 1,
        .options = options,
    };
    int first = parse_command_line(&line, argc, argv);

    if (args.lock && args.cell)
        usage_error(usage);
    if (first < argc)
        args.path = argv[first];
    return args;
}

key_t shm_time_key(const char *path)
{
    key_t key = ipc_ftok(path, 't');
    if (key == -1)
        err(1, "%s", path);
    return key;
}

size_t shm_time_cell_size(void)
{
    return ipc_cell_memory_size(sizeof(((struct shm_time *)0)->date));
}

size_t shm_time_size(void)
{
    return sizeof(struct shm_time) + shm_time_cell_size();
}
