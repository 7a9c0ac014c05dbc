/*
 * Macros for the operations of locks: counting under a lock, and reading and writing a value that
 * the lock guards. The including file allocates the value.
 */
#ifndef LOCKS_H
#define LOCKS_H

#include "subject.h"

static char *value;   /* shared; each process copies it to subject_in and from subject_out */
static uint64_t last; /* the number of the last value that this process has read or written */

/* Defines the operation name_counting. */
#define COUNT(name, prepare, lock, unlock) \
    static void name##_count(void)         \
    {                                      \
        lock();                            \
        subject_count();                   \
        unlock();                          \
    }                                      \
    SUBJECT_REPEAT(name##_count)           \
    static const struct subject_operation name##_counting = {prepare, name##_count_repeat, NULL};

/* Defines the operation name_reading, of name_read and name_write. */
#define READING(name, prepare)                                                           \
    SUBJECT_REPEAT(name##_read)                                                          \
    SUBJECT_REPEAT(name##_write)                                                         \
    static const struct subject_operation name##_reading = {prepare, name##_read_repeat, \
                                                            name##_write_repeat};

/* The same for a value that a lock guards. */
#define READ_AND_WRITE(name, prepare, rdlock, rdunlock, wrlock, wrunlock) \
    static void name##_read(void)                                         \
    {                                                                     \
        rdlock();                                                         \
        memcpy(subject_in, value, subject.len);                           \
        rdunlock();                                                       \
        last = subject_value_check(subject_in, subject.len, last);        \
    }                                                                     \
    static void name##_write(void)                                        \
    {                                                                     \
        subject_value_fill(subject_out, subject.len, ++last);             \
        wrlock();                                                         \
        memcpy(value, subject_out, subject.len);                          \
        wrunlock();                                                       \
    }                                                                     \
    READING(name, prepare)

#endif
