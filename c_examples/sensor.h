/* The readings and processes of sensor_board and sensor_feed. */
#ifndef SENSOR_H
#define SENSOR_H

#include <stdint.h>
#include <sys/types.h>

#define SENSORS 8
/* A thousand readings a second. */
#define NANOSECONDS_BETWEEN_READINGS 1000000

struct reading {
    uint64_t time; /* nanoseconds of CLOCK_MONOTONIC */
    uint64_t number;
    uint32_t writer;
    uint32_t is_last; /* the writer exits after this reading */
    int64_t value[SENSORS];
    int64_t sum; /* of the values; a torn reading would have a wrong sum */
};

/* Stands for real sensors: takes the next reading. */
void measure(struct reading *reading);

/* Whether the reading is a mixture of two readings. */
int is_torn(const struct reading *reading);

/* Prints the reading and its age. */
void print_reading(const struct reading *reading);

/* Sends a signal to a writer or reader, and waits for its end. Exits with 1 if it fails. */
void end(pid_t pid, int sig);

#endif
