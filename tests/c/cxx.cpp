// The library in a C++ program: every function, from C++ code, with threads.

#include "check.h"

#include <string>
#include <thread>
#include <type_traits>
#include <vector>

namespace {

union SemArgument {
    int val;
    struct semid_ds *buf;
    unsigned short *array;
};

class Descriptor {
  public:
    explicit Descriptor(int fd) : fd_(fd) {}
    Descriptor(const Descriptor &) = delete;
    Descriptor &operator=(const Descriptor &) = delete;
    ~Descriptor() { close(fd_); }
    int get() const { return fd_; }

  private:
    int fd_;
};

void pair()
{
    int sv[2];
    CHECK(ipc_socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv) == 0);
    Descriptor one(sv[0]);
    Descriptor two(sv[1]);
    std::thread writer([&] { CHECK(write(one.get(), "hello", 5) == 5); });
    std::string got(16, '\0');
    CHECK(read(two.get(), &got[0], got.size()) == 5);
    CHECK(got.compare(0, 5, "hello") == 0);
    writer.join();
}

void fifo()
{
    const std::string path = check_path("cxx");
    CHECK(ipc_mkfifo(path.c_str(), 0600) == 0);
    CHECK(ipc_ftok(path.c_str(), 'c') == ftok(path.c_str(), 'c'));
    CHECK(unlink(path.c_str()) == 0);
}

void memory()
{
    const int id = ipc_shmget(IPC_PRIVATE, 4096, IPC_CREAT | 0600);
    CHECK(id >= 0);
    int *const number = static_cast<int *>(ipc_shmat(id, nullptr, 0));
    CHECK(number != reinterpret_cast<int *>(-1));
    CHECK(ipc_shmctl(id, IPC_RMID, nullptr) == 0);
    *number = 42;
    CHECK(ipc_shmdt(number) == 0);
}

void semaphores()
{
    enum { THREADS = 4, ROUNDS = 1000 };
    const int id = ipc_semget(IPC_PRIVATE, 1, IPC_CREAT | 0600);
    CHECK(id >= 0);
    SemArgument one;
    one.val = 1;
    CHECK(ipc_semctl(id, 0, SETVAL, one) == 0);
    int count = 0;
    std::vector<std::thread> threads;
    for (int i = 0; i < THREADS; i++) {
        threads.emplace_back([&] {
            for (int round = 0; round < ROUNDS; round++) {
                struct sembuf take = {0, -1, 0};
                struct sembuf give = {0, 1, 0};
                CHECK(ipc_semop(id, &take, 1) == 0);
                count++;
                CHECK(ipc_semtimedop(id, &give, 1, nullptr) == 0);
            }
        });
    }
    for (std::thread &thread : threads) {
        thread.join();
    }
    CHECK(count == THREADS * ROUNDS);
    CHECK(ipc_semctl(id, 0, IPC_RMID) == 0);
}

void locks()
{
    enum { THREADS = 4, ROUNDS = 1000 };
    ipc_mutex mutex;
    ipc_rwlock rwlock;
    ipc_cond cond;
    static_assert(alignof(ipc_mutex) == 16 && alignof(ipc_rwlock) == 16, "aligned");
    CHECK(ipc_mutex_init(&mutex, 0) == 0);
    CHECK(ipc_rwlock_init(&rwlock, 0) == 0);
    CHECK(ipc_cond_init(&cond, 0) == 0);
    int count = 0;
    int done = 0;
    std::vector<std::thread> threads;
    for (int i = 0; i < THREADS; i++) {
        threads.emplace_back([&] {
            for (int round = 0; round < ROUNDS; round++) {
                CHECK(ipc_rwlock_wrlock(&rwlock, -1) == 0);
                count++;
                CHECK(ipc_rwlock_wrunlock(&rwlock) == 0);
            }
            CHECK(ipc_mutex_lock(&mutex, -1) == 0);
            done++;
            CHECK(ipc_mutex_unlock(&mutex) == 0);
            CHECK(ipc_cond_signal(&cond) == 0);
        });
    }
    CHECK(ipc_mutex_lock(&mutex, -1) == 0);
    while (done < THREADS) {
        CHECK(ipc_cond_wait(&cond, &mutex, -1) == 0);
    }
    CHECK(ipc_mutex_unlock(&mutex) == 0);
    for (std::thread &thread : threads) {
        thread.join();
    }
    CHECK(ipc_rwlock_rdlock(&rwlock, 0) == 0);
    CHECK(count == THREADS * ROUNDS);
    CHECK(ipc_rwlock_rdunlock(&rwlock) == 0);
}

} // namespace

static_assert(std::is_same<decltype(ipc_version()), const char *>::value, "a C string");

int main()
{
    CHECK(std::string(ipc_version()) == UNIXIPC_VERSION);
    pair();
    fifo();
    memory();
    semaphores();
    locks();
    return 0;
}
