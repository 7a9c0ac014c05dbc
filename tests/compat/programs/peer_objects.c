/* The objects in a region with a name. */
#include "peer.h"

#define ROUNDS 3000
#define LAYOUT 7
#define VALUE  100

struct shared {
    struct ipc_mutex mutex, inherits;
    struct ipc_rwlock rwlock;
    struct ipc_cond cond;
    struct ipc_event events[2];
    /* Guarded by the mutexes and the lock. */
    long counts[3];
    int turn;
    pid_t creator;
    char cell[8192] UNIXIPC_ALIGNED(16);
};

static void lock(struct ipc_mutex *m, long *count)
{
    MUST(ipc_mutex_lock(m, LONG_MS) == 0);
    *count = *count + 1;
    MUST(ipc_mutex_unlock(m) == 0);
}

/* Both processes count under the locks at the same time. */
static void contend(struct shared *s)
{
    for (int i = 0; i < ROUNDS; i++) {
        lock(&s->mutex, &s->counts[0]);
        lock(&s->inherits, &s->counts[1]);
        MUST(ipc_rwlock_wrlock(&s->rwlock, LONG_MS) == 0);
        s->counts[2]++;
        MUST(ipc_rwlock_wrunlock(&s->rwlock) == 0);
        MUST(ipc_rwlock_rdlock(&s->rwlock, LONG_MS) == 0);
        MUST(s->counts[2] > i);
        MUST(ipc_rwlock_rdunlock(&s->rwlock) == 0);
    }
}

/* The processes take turns by the condition, then by the events. */
static void take_turns(struct shared *s, int own)
{
    for (int i = 0; i < ROUNDS; i++) {
        MUST(ipc_mutex_lock(&s->mutex, LONG_MS) == 0);
        while (s->turn != own) {
            MUST(ipc_cond_wait(&s->cond, &s->mutex, LONG_MS) == 0);
        }
        s->turn = !own;
        if (i % 2 == 0) {
            MUST(ipc_cond_signal(&s->cond) == 0);
        } else {
            MUST(ipc_cond_broadcast(&s->cond) == 0);
        }
        MUST(ipc_mutex_unlock(&s->mutex) == 0);
    }
    for (int i = 0; i < ROUNDS; i++) {
        MUST(ipc_event_wait(&s->events[own], LONG_MS) == 0);
        MUST(ipc_event_set(&s->events[!own]) == 0);
    }
}

/* Lets the other process take its next step, and waits until it has done so. */
static void step(struct shared *s, int own)
{
    MUST(ipc_event_set(&s->events[!own]) == 0);
    MUST(ipc_event_wait(&s->events[own], LONG_MS) == 0);
}

/* Holds the locks while the other process tries to get them. */
static void hold(struct shared *s)
{
    MUST(ipc_mutex_lock(&s->mutex, LONG_MS) == 0);
    MUST(ipc_mutex_lock(&s->inherits, LONG_MS) == 0);
    MUST(ipc_rwlock_wrlock(&s->rwlock, LONG_MS) == 0);
    step(s, 0);
    MUST(ipc_rwlock_wrunlock(&s->rwlock) == 0);
    MUST(ipc_mutex_unlock(&s->inherits) == 0);
    MUST(ipc_mutex_unlock(&s->mutex) == 0);
    MUST(ipc_rwlock_rdlock(&s->rwlock, LONG_MS) == 0);
    step(s, 0);
    MUST(ipc_rwlock_rdunlock(&s->rwlock) == 0);
}

static void must_be_held(int result)
{
    MUST(result == -1 && errno == EAGAIN);
}

static void try_held(struct shared *s)
{
    MUST(ipc_event_wait(&s->events[1], LONG_MS) == 0);
    must_be_held(ipc_mutex_lock(&s->mutex, 0));
    must_be_held(ipc_mutex_lock(&s->inherits, 0));
    must_be_held(ipc_rwlock_wrlock(&s->rwlock, 0));
    must_be_held(ipc_rwlock_rdlock(&s->rwlock, 0));
    MUST(ipc_mutex_owner(&s->mutex) == s->creator);
    MUST(ipc_mutex_owner(&s->inherits) == s->creator);
    step(s, 1);
    must_be_held(ipc_rwlock_wrlock(&s->rwlock, 0));
    MUST(ipc_rwlock_rdlock(&s->rwlock, 0) == 0);
    MUST(ipc_rwlock_rdunlock(&s->rwlock) == 0);
    MUST(ipc_event_set(&s->events[0]) == 0);
}

static struct ipc_cell *open_cell(struct shared *s)
{
    struct ipc_cell *cell;
    MUST(ipc_cell_open(s->cell, sizeof(s->cell), 0, &cell) == 0);
    MUST(ipc_cell_value_size(cell) == VALUE);
    return cell;
}

static void store(struct ipc_cell *cell)
{
    unsigned char value[VALUE];
    for (int i = 1; i <= ROUNDS; i++) {
        fill(value, VALUE, (uint64_t)i);
        MUST(ipc_cell_store(cell, value, VALUE, LONG_MS) == 0);
    }
}

/* Loads whole values until the last one. */
static void load(struct ipc_cell *cell)
{
    unsigned char value[VALUE];
    uint64_t version = 0;
    while (version < ROUNDS) {
        MUST(ipc_cell_wait(cell, version, LONG_MS) == 0);
        MUST(ipc_cell_load(cell, value, VALUE, &version) == VALUE);
        for (int i = 1; i < VALUE; i++) {
            MUST(value[i] == (unsigned char)(value[0] + i));
        }
    }
}

void objects_creator(const char *name)
{
    struct ipc_shm_opts opts = {.flags = IPC_SHM_F_PUBLISH, .layout = LAYOUT};
    struct ipc_cell *cell;
    struct ipc_shm *shm;
    struct shared *s;

    MUST(ipc_shm_create(sizeof(*s), &opts, sizeof(opts), &shm) == 0);
    s = ipc_shm_addr(shm);
    MUST(ipc_mutex_init(&s->mutex, 0) == 0);
    MUST(ipc_mutex_init(&s->inherits, IPC_MUTEX_F_PRIO_INHERIT) == 0);
    MUST(ipc_rwlock_init(&s->rwlock, 0) == 0);
    MUST(ipc_cond_init(&s->cond, 0) == 0);
    MUST(ipc_event_init(&s->events[0], IPC_EVENT_F_AUTO_RESET | IPC_EVENT_F_SET) == 0);
    MUST(ipc_event_init(&s->events[1], IPC_EVENT_F_AUTO_RESET) == 0);
    MUST(ipc_cell_memory_size(VALUE) <= sizeof(s->cell));
    MUST(ipc_cell_init(s->cell, sizeof(s->cell), VALUE, IPC_CELL_F_WAITABLE, &cell) == 0);
    s->creator = getpid();
    MUST(ipc_shm_publish(shm, name) == 0);
    ready();
    contend(s);
    take_turns(s, 0);
    MUST(ipc_event_wait(&s->events[0], LONG_MS) == 0); /* the last event of the other process */
    hold(s);
    store(cell);
    /* Exits with all locks; the other process is told. */
    MUST(ipc_mutex_lock(&s->mutex, LONG_MS) == 0);
    MUST(ipc_mutex_lock(&s->inherits, LONG_MS) == 0);
    MUST(ipc_rwlock_wrlock(&s->rwlock, LONG_MS) == 0);
    s->turn = 2;
    MUST(ipc_event_set(&s->events[1]) == 0);
}

void objects_user(const char *name)
{
    struct ipc_shm_opts opts = {.flags = IPC_SHM_F_PUBLISH, .layout = LAYOUT};
    struct ipc_cell *cell;
    struct ipc_shm *shm;
    struct shared *s;

    MUST(ipc_shm_open_or_create(name, sizeof(*s), NULL, NULL, &opts, sizeof(opts), &shm) == 0);
    MUST(ipc_shm_layout(shm) == LAYOUT);
    s = ipc_shm_addr(shm);
    cell = open_cell(s);
    contend(s);
    take_turns(s, 1);
    try_held(s);
    load(cell);
    MUST(ipc_event_wait(&s->events[1], LONG_MS) == 0);
    MUST(ipc_mutex_lock(&s->mutex, LONG_MS) == IPC_OWNER_DIED);
    MUST(s->turn == 2);
    MUST(ipc_mutex_consistent(&s->mutex) == 0);
    MUST(ipc_mutex_unlock(&s->mutex) == 0);
    MUST(ipc_mutex_lock(&s->inherits, LONG_MS) == IPC_OWNER_DIED);
    MUST(ipc_mutex_consistent(&s->inherits) == 0);
    MUST(ipc_mutex_unlock(&s->inherits) == 0);
    MUST(ipc_rwlock_rdlock(&s->rwlock, LONG_MS) == IPC_OWNER_DIED);
    MUST(ipc_rwlock_rdunlock(&s->rwlock) == 0);
    MUST(ipc_rwlock_wrlock(&s->rwlock, LONG_MS) == IPC_OWNER_DIED);
    MUST(ipc_rwlock_consistent(&s->rwlock) == 0);
    MUST(ipc_rwlock_wrunlock(&s->rwlock) == 0);
    for (int i = 0; i < 3; i++) {
        MUST(s->counts[i] == 2 * ROUNDS);
    }
    MUST(ipc_shm_unlink(name) == 0);
}
