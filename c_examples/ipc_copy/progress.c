#include "progress.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define WIDTH    40
#define INTERVAL 0.1 /* seconds between two drawings */

static struct {
    int shown;
    unsigned long long total;
    double begun, drawn;
} bar;

double seconds_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

void progress_begin(unsigned long long total)
{
    bar.shown = isatty(STDERR_FILENO);
    bar.total = total;
    bar.begun = bar.drawn = seconds_now();
}

void progress_at(unsigned long long done)
{
    if (!bar.shown)
        return;
    double now = seconds_now();
    if (now - bar.drawn < INTERVAL)
        return;
    bar.drawn = now;

    double megabytes = (double)done / 1e6;
    double rate = megabytes / (now - bar.begun);
    if (bar.total == 0) {
        fprintf(stderr, "\r%10.1f MB %8.0f MB/s", megabytes, rate);
        return;
    }
    double share = (double)done / (double)bar.total;
    if (share > 1) /* the file has grown */
        share = 1;
    char filled[WIDTH + 1];
    int n = (int)(share * WIDTH);
    memset(filled, '#', (size_t)n);
    filled[n] = '\0';
    fprintf(stderr, "\r[%-*s] %3.0f %% %10.1f MB %8.0f MB/s", WIDTH, filled, share * 100,
            megabytes, rate);
}

void progress_end(void)
{
    if (bar.shown)
        fprintf(stderr, "\r\033[K"); /* clears the line */
}
