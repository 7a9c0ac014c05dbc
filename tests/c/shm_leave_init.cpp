// Ways out of the init of ipc_shm_open_or_create other than a return: an exception,
// pthread_exit, and longjmp, which leaves the name locked until the process ends.

#include "check.h"

#include <dirent.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdexcept>
#include <string>

namespace {

std::string name;
std::string inner;
pid_t owner;

// A failed test leaves no name either.
void clean_up()
{
    if (getpid() == owner) {
        for (const std::string &region : {name, inner}) {
            ipc_shm_unlink(region.c_str());
            unlink(("/dev/shm/." + region.substr(1) + ".lock").c_str());
        }
    }
}

int count_descriptors()
{
    DIR *directory = opendir("/proc/self/fd");
    int count = 0;

    CHECK(directory != nullptr);
    while (readdir(directory) != nullptr) {
        count++;
    }
    closedir(directory);
    return count;
}

int cancel_state()
{
    int state, ignored;

    CHECK(pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state) == 0);
    CHECK(pthread_setcancelstate(state, &ignored) == 0);
    return state;
}

extern "C" int throws(void *, size_t, void *arg)
{
    CHECK(cancel_state() == PTHREAD_CANCEL_DISABLE);
    throw std::runtime_error(static_cast<const char *>(arg));
}

extern "C" int throws_from_within(void *, size_t, void *arg)
{
    ipc_shm *region;
    char text[] = "from within";

    CHECK(arg == nullptr);
    return ipc_shm_open_or_create(inner.c_str(), 100, throws, text, nullptr, 0, &region);
}

extern "C" int catches(void *, size_t, void *)
{
    ipc_shm *region;
    char text[] = "caught inside";

    try {
        ipc_shm_open_or_create(inner.c_str(), 100, throws, text, nullptr, 0, &region);
        CHECK(false);
    } catch (const std::runtime_error &) {
        return 0;
    }
    return 1;
}

extern "C" int exits(void *, size_t, void *)
{
    pthread_exit(nullptr);
}

// Another process creates both regions, without a long wait.
void check_free()
{
    pid_t child = check_fork();

    if (child == 0) {
        ipc_shm_opts opts = {};
        opts.timeout_ms = 10000;
        for (const std::string &region : {name, inner}) {
            ipc_shm *made;
            CHECK(ipc_shm_open_or_create(region.c_str(), 100, nullptr, nullptr, &opts, sizeof opts,
                                         &made) == 0);
            ipc_shm_close(made);
            CHECK(ipc_shm_unlink(region.c_str()) == 0);
        }
        exit(0);
    }
    check_passed(child);
    CHECK(access(("/dev/shm/." + name.substr(1) + ".lock").c_str(), F_OK) == -1);
}

void exception()
{
    ipc_shm *const untouched = reinterpret_cast<ipc_shm *>(&owner);
    ipc_shm *region = untouched;
    char text[] = "no configuration";
    const int before = count_descriptors();

    for (int round = 0; round < 3; round++) {
        try {
            ipc_shm_open_or_create(name.c_str(), 100, throws, text, nullptr, 0, &region);
            CHECK(false);
        } catch (const std::runtime_error &error) {
            CHECK(std::string(error.what()) == text);
        }
        CHECK(count_descriptors() == before && region == untouched);
        CHECK(cancel_state() == PTHREAD_CANCEL_ENABLE);
        check_free();
    }
    // Through a nested call that an init makes.
    try {
        ipc_shm_open_or_create(name.c_str(), 100, throws_from_within, nullptr, nullptr, 0, &region);
        CHECK(false);
    } catch (const std::runtime_error &error) {
        CHECK(std::string(error.what()) == "from within");
    }
    CHECK(count_descriptors() == before && region == untouched);
    check_free();
    // Only out of the nested call.
    CHECK(ipc_shm_open_or_create(name.c_str(), 100, catches, nullptr, nullptr, 0, &region) == 0);
    ipc_shm_close(region);
    CHECK(ipc_shm_unlink(name.c_str()) == 0);
    CHECK(count_descriptors() == before);
    check_free();
}

void *make(void *)
{
    ipc_shm *region;

    ipc_shm_open_or_create(name.c_str(), 100, exits, nullptr, nullptr, 0, &region);
    CHECK(false);
    return nullptr;
}

// In glibc pthread_exit unwinds the stack; in musl it does not.
void thread_exit()
{
#ifdef __GLIBC__
    const int before = count_descriptors();
    pthread_t thread;

    CHECK(pthread_create(&thread, nullptr, make, nullptr) == 0);
    CHECK(pthread_join(thread, nullptr) == 0);
    CHECK(count_descriptors() == before);
    check_free();
#endif
}

jmp_buf out;

extern "C" int jumps(void *, size_t, void *)
{
    longjmp(out, 1);
}

void jump()
{
    ipc_shm_opts opts = {};
    ipc_shm *region;
    int ready[2];
    pid_t child;
    char byte;

    CHECK(pipe(ready) == 0);
    child = check_fork();
    if (child == 0) {
        if (setjmp(out) == 0) {
            ipc_shm_open_or_create(name.c_str(), 100, jumps, nullptr, nullptr, 0, &region);
            _exit(1);
        }
        CHECK(write(ready[1], "r", 1) == 1);
        for (;;) {
            pause();
        }
    }
    CHECK(close(ready[1]) == 0 && read(ready[0], &byte, 1) == 1 && close(ready[0]) == 0);
    opts.timeout_ms = 50;
    CHECK(ipc_shm_open_or_create(name.c_str(), 100, nullptr, nullptr, &opts, sizeof opts,
                                 &region) == -1);
    CHECK(errno == ETIMEDOUT);
    check_kill(child);
    check_free();
}

} // namespace

int main()
{
    owner = getpid();
    name = "/unixipc-test-" + std::to_string(owner);
    inner = name + "-inner";
    CHECK(atexit(clean_up) == 0);
    exception();
    thread_exit();
    jump();
    return 0;
}
