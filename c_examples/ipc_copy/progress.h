#ifndef PROGRESS_H
#define PROGRESS_H

/* A bar on standard error, where that is a terminal. total 0: not known. */
void progress_begin(unsigned long long total);
void progress_at(unsigned long long done);
void progress_end(void);

/* Seconds since some fixed moment. */
double seconds_now(void);

#endif
