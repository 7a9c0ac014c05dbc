#include "sensor.h"

#include <stdio.h>
#include <stdlib.h>

#include "util.h"

void measure(struct reading *reading)
{
    reading->time = nanoseconds_now();
    reading->number++;
    reading->sum = 0;
    for (int i = 0; i < SENSORS; i++) {
        /* From -1000 to 1000 and back, at a rate of the sensor. */
        uint64_t step = reading->number * (unsigned)(i + 1) % 4000;
        reading->value[i] = llabs((int64_t)step - 2000) - 1000;
        reading->sum += reading->value[i];
    }
}

int is_torn(const struct reading *reading)
{
    int64_t sum = 0;
    for (int i = 0; i < SENSORS; i++)
        sum += reading->value[i];
    return sum != reading->sum;
}

void print_reading(const struct reading *reading)
{
    printf("writer %u, reading %8llu, %5.0f us old:", reading->writer,
           (unsigned long long)reading->number, 1e-3 * (double)(nanoseconds_now() - reading->time));
    for (int i = 0; i < SENSORS; i++)
        printf(" %5lld", (long long)reading->value[i]);
    putchar('\n');
    flush_output();
}

void end(pid_t pid, int sig)
{
    kill(pid, sig);
    if (sig == SIGKILL)
        wait_for_child(pid);
    else
        expect_success(pid, "a writer or reader");
}
