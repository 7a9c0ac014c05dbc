/* Cancels a thread in a call. */
#ifndef CANCEL_H
#define CANCEL_H

#include "check.h"

#include <pthread.h>
#include <stdatomic.h>

/* The address sanitizers take the stack of a cancelled thread for one in use. */
#ifdef __SANITIZE_ADDRESS__
#define CAN_CANCEL 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define CAN_CANCEL 0
#endif
#endif
#ifndef CAN_CANCEL
#define CAN_CANCEL 1
#endif

/* The thread sets it before the call. */
static atomic_int begun;

/* Cancels a thread that runs `run` while it waits in a call. */
__attribute__((unused)) static void cancel(void *(*run)(void *), void *argument)
{
    struct timespec while_it_waits = {0, 20000000};
    pthread_t thread;
    void *result;

    if (!CAN_CANCEL)
        return;
    begun = 0;
    CHECK(pthread_create(&thread, NULL, run, argument) == 0);
    while (!begun)
        check_pause();
    nanosleep(&while_it_waits, NULL);
    CHECK(pthread_cancel(thread) == 0);
    CHECK(pthread_join(thread, &result) == 0);
    CHECK(result == PTHREAD_CANCELED);
}

#endif
