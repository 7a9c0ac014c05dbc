/*
 * ipc_semctl is variadic in the header and has four arguments inside: each way of
 * calling it that C allows, and garbage where a three-argument call passes nothing.
 */
#include "check.h"

union semun {
    int val;
    struct semid_ds *buf;
    unsigned short *array;
    struct seminfo *info;
};

typedef int (*semctl_function)(int, int, int, ...);

/* Calls ipc_semctl with three arguments and garbage in the register of the fourth. */
int semctl_with_garbage(int semid, int semnum, int cmd);
#if defined(__x86_64__)
__asm__(".text\n"
        ".globl semctl_with_garbage\n"
        ".type semctl_with_garbage, @function\n"
        "semctl_with_garbage:\n"
        "    movabsq $0xdeadbeefdeadbeef, %rcx\n"
        "    xorl %eax, %eax\n"
        "    jmp ipc_semctl@PLT\n"
        ".size semctl_with_garbage, . - semctl_with_garbage\n");
#elif defined(__aarch64__)
__asm__(".text\n"
        ".globl semctl_with_garbage\n"
        ".type semctl_with_garbage, %function\n"
        "semctl_with_garbage:\n"
        "    movz x3, #0xbeef\n"
        "    movk x3, #0xdead, lsl #16\n"
        "    movk x3, #0xbeef, lsl #32\n"
        "    movk x3, #0xdead, lsl #48\n"
        "    b ipc_semctl\n"
        ".size semctl_with_garbage, . - semctl_with_garbage\n");
#elif defined(__riscv)
__asm__(".text\n"
        ".globl semctl_with_garbage\n"
        ".type semctl_with_garbage, @function\n"
        "semctl_with_garbage:\n"
        "    li a3, 0xdeadbeefdeadbeef\n"
        "    tail ipc_semctl\n"
        ".size semctl_with_garbage, . - semctl_with_garbage\n");
#elif defined(__loongarch__)
__asm__(".text\n"
        ".globl semctl_with_garbage\n"
        ".type semctl_with_garbage, @function\n"
        "semctl_with_garbage:\n"
        "    li.d $a3, 0xdeadbeefdeadbeef\n"
        "    b %plt(ipc_semctl)\n"
        ".size semctl_with_garbage, . - semctl_with_garbage\n");
#else
#error "how does this architecture pass a fourth argument?"
#endif

static void fourth_argument(semctl_function call, int id)
{
    union semun arg;
    struct semid_ds ds;
    struct seminfo limits;
    unsigned short values[2] = {0, 0};
    unsigned short set[2] = {11, 12};

    /* An int. */
    CHECK(call(id, 0, SETVAL, 7) == 0);
    CHECK(call(id, 1, SETVAL, 0) == 0);
    CHECK(call(id, 0, GETVAL) == 7);
    CHECK(call(id, 1, GETVAL) == 0);
    CHECK(call(id, 0, SETVAL, -1) == -1 && errno == ERANGE);

    /* A pointer. */
    CHECK(call(id, 0, GETALL, values) == 0);
    CHECK(values[0] == 7 && values[1] == 0);
    CHECK(call(id, 0, SETALL, set) == 0);
    CHECK(call(id, 1, GETVAL) == 12);
    CHECK(call(id, 0, IPC_STAT, &ds) == 0);
    CHECK(ds.sem_nsems == 2 && (ds.sem_perm.mode & 0777) == 0600);
    CHECK(call(0, 0, IPC_INFO, &limits) >= 0);
    CHECK(limits.semmsl >= 2);

    /* A union. */
    memset(&arg, 0xa5, sizeof arg);
    arg.val = 9;
    CHECK(call(id, 0, SETVAL, arg) == 0);
    CHECK(call(id, 0, GETVAL) == 9);
    arg.array = values;
    CHECK(call(id, 0, GETALL, arg) == 0);
    CHECK(values[0] == 9 && values[1] == 12);
    ds.sem_perm.mode = 0640;
    arg.buf = &ds;
    CHECK(call(id, 0, IPC_SET, arg) == 0);
    memset(&ds, 0, sizeof ds);
    CHECK(call(id, 0, IPC_STAT, arg) == 0);
    CHECK((ds.sem_perm.mode & 0777) == 0640);
    ds.sem_perm.mode = 0600;
    CHECK(call(id, 0, IPC_SET, &ds) == 0);
    memset(&limits, 0, sizeof limits);
    arg.info = &limits;
    CHECK(call(0, 0, SEM_INFO, arg) >= 0);
    CHECK(limits.semusz >= 1);

    /* An argument that the command does not use. */
    CHECK(call(id, 0, GETVAL, (void *)1) == 9);
}

static void three_arguments(int id)
{
    struct sembuf one = {1, 1, 0};

    CHECK(ipc_semctl(id, 1, SETVAL, 3) == 0);
    CHECK(ipc_semop(id, &one, 1) == 0);
    CHECK(semctl_with_garbage(id, 1, GETVAL) == 4);
    CHECK(semctl_with_garbage(id, 1, GETPID) == getpid());
    CHECK(semctl_with_garbage(id, 1, GETNCNT) == 0);
    CHECK(semctl_with_garbage(id, 1, GETZCNT) == 0);
    CHECK(semctl_with_garbage(id, 2, GETVAL) == -1 && errno == EINVAL);
    CHECK(semctl_with_garbage(id, 0, IPC_RMID) == 0);
    CHECK(semctl_with_garbage(id, 0, IPC_RMID) == -1 && (errno == EINVAL || errno == EIDRM));
}

int main(void)
{
    /* The compiler must not know the target of the pointer. */
    semctl_function volatile pointer = ipc_semctl;
    int id = ipc_semget(IPC_PRIVATE, 2, IPC_CREAT | 0600);

    CHECK(id >= 0);
    fourth_argument(ipc_semctl, id);
    fourth_argument(pointer, id);
    three_arguments(id);
    return 0;
}
