#ifndef PROGRESS_H
#define PROGRESS_H

/* A progress bar on standard error, if it is a terminal. total 0: unknown. */
void progress_begin(unsigned long long total);
void progress_at(unsigned long long done);
void progress_end(void);

#endif
