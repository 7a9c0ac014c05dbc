// boost: the message queue and the mutexes of Boost.Interprocess.
#include "locks.h"

#include <boost/interprocess/ipc/message_queue.hpp>
#include <boost/interprocess/sync/interprocess_mutex.hpp>
#include <boost/interprocess/sync/interprocess_sharable_mutex.hpp>
#include <boost/interprocess/sync/interprocess_upgradable_mutex.hpp>
#include <boost/version.hpp>

#include <algorithm>
#include <exception>
#include <memory>
#include <string>

namespace {

namespace bip = boost::interprocess;
using queue = bip::message_queue;

// --- the message queue ---

queue *queues[2];

// Removes the name at once: the other process inherits the mapping by fork.
queue *make_queue()
{
    std::string name = subject_name();
    size_t depth = std::clamp<size_t>(subject_ring_size() / subject.len, 4, 1024);

    queue *result = new queue(bip::create_only, name.c_str(), depth, subject.len);
    queue::remove(name.c_str());
    return result;
}

void queue_prepare()
{
    for (queue *&each : queues)
        each = make_queue();
}

SUBJECT_INLINE void queue_put(size_t len, uint64_t n)
{
    subject_fill(subject_out, len, n);
    queues[subject_side]->send(subject_out, len, 0);
}

SUBJECT_INLINE void queue_get(size_t len, uint64_t n)
{
    queue::size_type got;
    unsigned priority;

    queues[1 - subject_side]->receive(subject_in, len, got, priority);
    if (got != len)
        errx(1, "wrong message length");
    subject_check(subject_in, len, n);
}

SUBJECT_LOOP(queue)

SUBJECT_INLINE void polled_get(size_t len, uint64_t n)
{
    queue::size_type got;
    unsigned priority;

    while (!queues[1 - subject_side]->try_receive(subject_in, len, got, priority))
        ;
    if (got != len)
        errx(1, "wrong message length");
    subject_check(subject_in, len, n);
}

void polled_loop(enum subject_pattern pattern, long count, size_t len, uint64_t first)
{
    subject_loop(pattern, count, len, first, queue_put, polled_get);
}

uint64_t number; // of the next message of a set-up test

void name_prepare()
{
    subject_name();
}

void queue_setup()
{
    std::unique_ptr<queue> created(make_queue());
    queue::size_type got;
    unsigned priority;

    subject_fill(subject_out, subject.len, number);
    created->send(subject_out, subject.len, 0);
    created->receive(subject_in, subject.len, got, priority);
    if (got != subject.len)
        errx(1, "wrong message length");
    subject_check(subject_in, subject.len, number++);
}

SUBJECT_SETUP_OPERATION(queue, name_prepare)

// --- the mutexes ---

// Each on cache lines of its own.
struct locks {
    alignas(128) bip::interprocess_mutex mutex;
    alignas(128) bip::interprocess_sharable_mutex sharable;
    alignas(128) bip::interprocess_upgradable_mutex upgradable;
};

struct locks *all;

void locks_prepare()
{
    all = new (subject_memory(sizeof(*all))) locks;
    value = static_cast<char *>(subject_memory(subject.len));
}

COUNT(mutex, locks_prepare, all->mutex.lock, all->mutex.unlock)
COUNT(sharable, locks_prepare, all->sharable.lock, all->sharable.unlock)
COUNT(upgradable, locks_prepare, all->upgradable.lock, all->upgradable.unlock)

READ_AND_WRITE(mutex, locks_prepare, all->mutex.lock, all->mutex.unlock, all->mutex.lock,
               all->mutex.unlock)
READ_AND_WRITE(sharable, locks_prepare, all->sharable.lock_sharable, all->sharable.unlock_sharable,
               all->sharable.lock, all->sharable.unlock)
READ_AND_WRITE(upgradable, locks_prepare, all->upgradable.lock_sharable,
               all->upgradable.unlock_sharable, all->upgradable.lock, all->upgradable.unlock)

// --- rows ---

const subject_transport blocking = {queue_prepare, nullptr, queue_loop, nullptr};
const subject_transport polling = {queue_prepare, nullptr, polled_loop, nullptr};

const char queue_title[] = "Boost message_queue";
const char mutex_title[] = "Boost mutex";
const char sharable_title[] = "Boost sharable mutex";
const char upgradable_title[] = "Boost upgradable mutex";

const subject_row rows[] = {
    {"queue", "latency-poll", queue_title, "", nullptr, &polling, nullptr},
    SUBJECT_TRANSPORT("queue", queue_title, "", nullptr, blocking),
    SUBJECT_SETUP("queue", queue_title, "", nullptr, queue),
    SUBJECT_LOCK("mutex", mutex_title, "", mutex_counting),
    SUBJECT_LOCK("sharable", sharable_title, "", sharable_counting),
    SUBJECT_LOCK("upgradable", upgradable_title, "", upgradable_counting),
    SUBJECT_VALUE("mutex", mutex_title, "", mutex_reading),
    SUBJECT_VALUE("sharable", sharable_title, "", sharable_reading),
    SUBJECT_VALUE("upgradable", upgradable_title, "", upgradable_reading),
    {},
};

// The terminate handler: prints an exception and exits.
[[noreturn]] void failed()
{
    try {
        if (std::exception_ptr exception = std::current_exception())
            std::rethrow_exception(exception);
    } catch (const std::exception &exception) {
        warnx("%s", exception.what());
    } catch (...) {
        warnx("an unknown exception");
    }
    _exit(1);
}

} // namespace

int main(int argc, char **argv)
{
    const subject_row *const tables[] = {rows, nullptr};
    std::string version = "Boost.Interprocess " + std::to_string(BOOST_VERSION / 100000) + "." +
                          std::to_string(BOOST_VERSION / 100 % 1000);

    std::set_terminate(failed);
    return subject_main(argc, argv, version.c_str(), tables);
}
