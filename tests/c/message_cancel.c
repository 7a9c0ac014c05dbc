/* A thread that is cancelled in a send leaves no part of a message behind. */
#include "check.h"

#include "cancel.h"

#define LEN (4 << 20)

static int pair[2];
static char message[LEN], buffer[LEN];

/* The socket has no space for the whole message, or for none of it. */
static void *sends(void *argument)
{
    begun = 1;
    ipc_msg_send(pair[0], message, LEN, NULL, 0, *(int *)argument);
    pthread_testcancel();
    return NULL;
}

static void partly_sent(int timeout)
{
    struct timespec while_it_waits = {0, 50000000};
    pthread_t thread;
    void *result;

    CHECK(ipc_pair_open(SOCK_STREAM, pair) == 0);
    begun = 0;
    CHECK(pthread_create(&thread, NULL, sends, &timeout) == 0);
    while (!begun)
        check_pause();
    nanosleep(&while_it_waits, NULL);
    CHECK(pthread_cancel(thread) == 0);
    /* The message is complete, and so is the next one. */
    CHECK(ipc_msg_recv(pair[1], buffer, LEN, NULL, NULL, 20000) == LEN);
    CHECK(memcmp(buffer, message, LEN) == 0);
    CHECK(pthread_join(thread, &result) == 0);
    CHECK(result == PTHREAD_CANCELED);
    CHECK(ipc_msg_send(pair[0], "next", 4, NULL, 0, 0) == 0);
    CHECK(ipc_msg_recv(pair[1], buffer, LEN, NULL, NULL, 20000) == 4);
    close(pair[0]);
    close(pair[1]);
}

static void not_sent(int timeout)
{
    CHECK(ipc_pair_open(SOCK_STREAM, pair) == 0);
    while (send(pair[0], "full", 4, MSG_DONTWAIT) > 0)
        ;
    cancel(sends, &timeout);
    close(pair[0]);
    close(pair[1]);
}

int main(void)
{
    for (size_t i = 0; i < LEN; i++)
        message[i] = (char)(i * 7);
    if (CAN_CANCEL) {
        partly_sent(-1);
        partly_sent(20000);
        not_sent(-1);
        not_sent(20000);
    }
    puts("ok");
    return 0;
}
