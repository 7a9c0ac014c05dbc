// boost: Boost.Interprocess's message queue, and its mutexes.
#include "subject.h"

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

// Its name is gone again: what has it open keeps it, and the other process has it by fork.
queue *make_queue()
{
    std::string name = subject_name();
    size_t depth = std::clamp<size_t>(subject_ring_size() / subject.len, 4, 1024);

    queue *made = new queue(bip::create_only, name.c_str(), depth, subject.len);
    queue::remove(name.c_str());
    return made;
}

void queue_prepare()
{
    for (queue *&one : queues)
        one = make_queue();
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
        errx(1, "a message of another length");
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
        errx(1, "a message of another length");
    subject_check(subject_in, len, n);
}

void polled_loop(enum subject_kind kind, long count, size_t len, uint64_t first)
{
    subject_loop(kind, count, len, first, queue_put, polled_get);
}

uint64_t made;

void name_prepare()
{
    subject_name();
}

void queue_setup()
{
    std::unique_ptr<queue> one(make_queue());
    queue::size_type got;
    unsigned priority;

    subject_fill(subject_out, subject.len, made);
    one->send(subject_out, subject.len, 0);
    one->receive(subject_in, subject.len, got, priority);
    if (got != subject.len)
        errx(1, "a message of another length");
    subject_check(subject_in, subject.len, made++);
}

SUBJECT_WORK(queue_setup)

// --- the mutexes ---

// Each on cache lines of its own.
struct locks {
    alignas(128) bip::interprocess_mutex mutex;
    alignas(128) bip::interprocess_sharable_mutex sharable;
    alignas(128) bip::interprocess_upgradable_mutex upgradable;
} *all;

char *value; // what processes share; each has its copies in subject_in and subject_out
uint64_t last;

void locks_prepare()
{
    all = new (subject_memory(sizeof(*all))) locks;
    value = static_cast<char *>(subject_memory(subject.len));
}

void mutex_count()
{
    all->mutex.lock();
    subject_count();
    all->mutex.unlock();
}

void sharable_count()
{
    all->sharable.lock();
    subject_count();
    all->sharable.unlock();
}

void upgradable_count()
{
    all->upgradable.lock();
    subject_count();
    all->upgradable.unlock();
}

SUBJECT_INLINE void copy_in()
{
    memcpy(subject_in, value, subject.len);
}

SUBJECT_INLINE void copy_out()
{
    memcpy(value, subject_out, subject.len);
}

SUBJECT_INLINE void check()
{
    last = subject_value_check(subject_in, subject.len, last);
}

SUBJECT_INLINE void next()
{
    subject_value_fill(subject_out, subject.len, ++last);
}

void mutex_read()
{
    all->mutex.lock();
    copy_in();
    all->mutex.unlock();
    check();
}

void mutex_write()
{
    next();
    all->mutex.lock();
    copy_out();
    all->mutex.unlock();
}

void sharable_read()
{
    all->sharable.lock_sharable();
    copy_in();
    all->sharable.unlock_sharable();
    check();
}

void sharable_write()
{
    next();
    all->sharable.lock();
    copy_out();
    all->sharable.unlock();
}

void upgradable_read()
{
    all->upgradable.lock_sharable();
    copy_in();
    all->upgradable.unlock_sharable();
    check();
}

void upgradable_write()
{
    next();
    all->upgradable.lock();
    copy_out();
    all->upgradable.unlock();
}

SUBJECT_WORK(mutex_count)
SUBJECT_WORK(sharable_count)
SUBJECT_WORK(upgradable_count)
SUBJECT_WORK(mutex_read)
SUBJECT_WORK(mutex_write)
SUBJECT_WORK(sharable_read)
SUBJECT_WORK(sharable_write)
SUBJECT_WORK(upgradable_read)
SUBJECT_WORK(upgradable_write)

// --- all of them ---

const subject_way blocking = {queue_prepare, nullptr, queue_loop, nullptr};
const subject_way polling = {queue_prepare, nullptr, polled_loop, nullptr};
const subject_work queue_made = {name_prepare, queue_setup_work, nullptr};
const subject_work mutex_counting = {locks_prepare, mutex_count_work, nullptr};
const subject_work sharable_counting = {locks_prepare, sharable_count_work, nullptr};
const subject_work upgradable_counting = {locks_prepare, upgradable_count_work, nullptr};
const subject_work mutex_reading = {locks_prepare, mutex_read_work, mutex_write_work};
const subject_work sharable_reading = {locks_prepare, sharable_read_work, sharable_write_work};
const subject_work upgradable_reading = {locks_prepare, upgradable_read_work,
                                         upgradable_write_work};

const char queue_title[] = "Boost message_queue";
const char mutex_title[] = "Boost mutex";
const char sharable_title[] = "Boost sharable mutex";
const char upgradable_title[] = "Boost upgradable mutex";

const subject_row rows[] = {
    {"queue", "latency-poll", queue_title, "", 0, &polling, nullptr},
    {"queue", "latency-block", queue_title, "", 0, &blocking, nullptr},
    {"queue", "rate", queue_title, "", 0, &blocking, nullptr},
    {"queue", "setup", queue_title, "", 0, nullptr, &queue_made},
    SUBJECT_LOCK("mutex", mutex_title, "", mutex_counting),
    SUBJECT_LOCK("sharable", sharable_title, "", sharable_counting),
    SUBJECT_LOCK("upgradable", upgradable_title, "", upgradable_counting),
    SUBJECT_VALUE("mutex", mutex_title, "", mutex_reading),
    SUBJECT_VALUE("sharable", sharable_title, "", sharable_reading),
    SUBJECT_VALUE("upgradable", upgradable_title, "", upgradable_reading),
    {},
};

// An exception goes no further, and says what it was.
[[noreturn]] void failed()
{
    try {
        if (std::exception_ptr what = std::current_exception())
            std::rethrow_exception(what);
    } catch (const std::exception &what) {
        warnx("%s", what.what());
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
