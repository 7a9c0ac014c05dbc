/* ipc_shmget, ipc_shmat, ipc_shmdt, ipc_shmctl. */
#include "check.h"

#define SIZE 10000

static volatile char *volatile forbidden;

static void on_segv(int signal, siginfo_t *info, void *context)
{
    (void)signal;
    (void)context;
    _exit(info->si_addr == (void *)(size_t)forbidden ? 0 : 1);
}

/* The same memory at two addresses. */
static void attach_twice(int id)
{
    char *one = (char *)ipc_shmat(id, NULL, 0);
    char *two = (char *)ipc_shmat(id, NULL, 0);
    struct shmid_ds ds;
    int i;

    CHECK(one != (char *)-1);
    CHECK(two != (char *)-1);
    CHECK(one != two);
    for (i = 0; i < SIZE; i++) {
        CHECK(one[i] == 0);
    }
    strcpy(one, "first");
    CHECK(strcmp(two, "first") == 0);
    two[SIZE - 1] = 7;
    CHECK(one[SIZE - 1] == 7);

    CHECK(ipc_shmctl(id, IPC_STAT, &ds) == 0);
    CHECK(ds.shm_nattch == 2);
    CHECK(ipc_shmdt(one) == 0);
    CHECK(ipc_shmctl(id, IPC_STAT, &ds) == 0);
    CHECK(ds.shm_nattch == 1);
    CHECK(ipc_shmdt(one) == -1 && errno == EINVAL);
    CHECK(strcmp(two, "first") == 0);
    CHECK(ipc_shmdt(two) == 0);
}

/* Data of another process is visible; a read-only attachment can be read but not written. */
static void across_fork(int id)
{
    pid_t child = check_fork();
    const char *mine;

    if (child == 0) {
        char *memory = (char *)ipc_shmat(id, NULL, 0);

        CHECK(memory != (char *)-1);
        strcpy(memory, "from the child");
        exit(0);
    }
    check_passed(child);
    mine = (const char *)ipc_shmat(id, NULL, SHM_RDONLY);
    CHECK(mine != (const char *)-1);
    CHECK(strcmp(mine, "from the child") == 0);

    child = check_fork();
    if (child == 0) {
        struct sigaction action;

        memset(&action, 0, sizeof action);
        action.sa_sigaction = on_segv;
        action.sa_flags = SA_SIGINFO;
        CHECK(sigaction(SIGSEGV, &action, NULL) == 0);
        forbidden = (volatile char *)(size_t)mine;
        *forbidden = 'x';
        _exit(2);
    }
    check_passed(child);
    CHECK(mine[0] == 'f');
    CHECK(ipc_shmdt(mine) == 0);
}

static void control(int id)
{
    struct shmid_ds ds;
    struct shm_info info;
    struct shminfo limits;
    int highest;
    int index;
    int found = 0;

    CHECK(ipc_shmctl(id, IPC_STAT, &ds) == 0);
    CHECK(ds.shm_segsz == SIZE);
    CHECK(ds.shm_cpid == getpid());
    CHECK(ds.shm_perm.uid == geteuid());
    CHECK((ds.shm_perm.mode & 0777) == 0640);

    ds.shm_perm.mode = 0600;
    CHECK(ipc_shmctl(id, IPC_SET, &ds) == 0);
    memset(&ds, 0, sizeof ds);
    CHECK(ipc_shmctl(id, IPC_STAT, &ds) == 0);
    CHECK((ds.shm_perm.mode & 0777) == 0600);

    memset(&info, 0, sizeof info);
    highest = ipc_shmctl(0, SHM_INFO, (struct shmid_ds *)(void *)&info);
    CHECK(highest >= 0);
    CHECK(info.used_ids >= 1);
    CHECK(info.shm_tot >= 1);
    CHECK(ipc_shmctl(0, IPC_INFO, (struct shmid_ds *)(void *)&limits) >= 0);
    CHECK(limits.shmmin == 1 && limits.shmmax >= SIZE);
    for (index = 0; index <= highest; index++) {
        found |= ipc_shmctl(index, SHM_STAT, &ds) == id;
    }
    CHECK(found);
}

/* The segment exists until the last detach; then its id is invalid. */
static void removal(int id)
{
    char *memory = (char *)ipc_shmat(id, NULL, 0);
    struct shmid_ds ds;

    CHECK(memory != (char *)-1);
    CHECK(ipc_shmctl(id, IPC_RMID, NULL) == 0);
    memory[0] = 1;
    CHECK(ipc_shmctl(id, IPC_STAT, &ds) == 0);
    CHECK((ds.shm_perm.mode & SHM_DEST) != 0);
    CHECK(ipc_shmdt(memory) == 0);
    CHECK(ipc_shmctl(id, IPC_STAT, &ds) == -1 && (errno == EINVAL || errno == EIDRM));
    CHECK(ipc_shmat(id, NULL, 0) == (void *)-1 && (errno == EINVAL || errno == EIDRM));
}

int main(void)
{
    int id = ipc_shmget(IPC_PRIVATE, SIZE, IPC_CREAT | 0640);

    CHECK(id >= 0);
    attach_twice(id);
    across_fork(id);
    control(id);
    removal(id);

    CHECK(ipc_shmget(IPC_PRIVATE, 0, IPC_CREAT | 0600) == -1 && errno == EINVAL);
    CHECK(ipc_shmdt((void *)4096) == -1 && errno == EINVAL);
    CHECK(ipc_shmat(-1, NULL, 0) == (void *)-1 && errno == EINVAL);
    return 0;
}
