#include "progress.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "../util.h"

#define WIDTH    40
#define INTERVAL 0.1 /* seconds between two updates */

static struct {
    int shown;
    unsigned long long total;
    double begin, drawn;
} bar;

void progress_begin(unsigned long long total)
{
    bar.shown = isatty(STDERR_FILENO);
    bar.total = total;
    bar.begin = bar.drawn = seconds_now();
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
    double rate = megabytes / (now - bar.begin);
    if (bar.total == 0) {
        fprintf(stderr, "\r%10.1f MB %8.0f MB/s", megabytes, rate);
        return;
    }
    double share = (double)done / (double)bar.total;
    if (share > 1) /* the file has grown since the copy began */
        share = 1;
    char filled[WIDTH + 1];
    int n = (int)(share * WIDTH);
    memset(filled, '#', (size_t)n);
    filled[n] = '\0';
    fprintf(stderr, "\r[%-*s] %3.0f %% %10.1f MB %8.0f MB/s", WIDTH, filled, share * 100, megabytes,
            rate);
}

void progress_end(void)
{
    if (bar.shown)
        fprintf(stderr, "\r\033[K"); /* clears the line */
}
