/*
 * frame_pipe: video frames from one process to another without a copy. The camera draws each
 * frame where the channel has room for it; the viewer looks at it where it is.
 *
 *     reserve, draw, commit        peek, look, release
 */
#include <err.h>
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <unixipc.h>

#define MAX_SIDE 16384

struct frame {
    uint64_t number;
    uint32_t width, height;
    uint32_t pixels[]; /* one of 4 bytes a point */
};

static size_t width = 1920, height = 1080;
static long frames = 300;

static size_t frame_bytes(void)
{
    return sizeof(struct frame) + 4 * width * height;
}

/* The colour of a point: another one in each frame. */
static inline uint32_t colour(uint64_t number, size_t point)
{
    return (uint32_t)point * 2654435761U + (uint32_t)number;
}

static void draw(struct frame *frame, uint64_t number)
{
    frame->number = number;
    frame->width = (uint32_t)width;
    frame->height = (uint32_t)height;
    for (size_t i = 0; i < width * height; i++)
        frame->pixels[i] = colour(number, i);
}

/* Looks at every point. */
static int is_right(const struct frame *frame, size_t len, uint64_t number)
{
    uint32_t wrong = 0;
    if (len != frame_bytes() || frame->number != number || frame->width != width ||
        frame->height != height)
        return 0;
    for (size_t i = 0; i < width * height; i++)
        wrong |= frame->pixels[i] ^ colour(number, i);
    return wrong == 0;
}

static void gone(const char *who)
{
    if (errno == EPIPE)
        errx(1, "the viewer is gone");
    err(1, "%s", who);
}

/* The parent. With copy, it draws into memory of its own and sends that, for comparison. */
static void film(struct ipc_channel *ch, struct frame *own)
{
    for (long n = 0; n < frames; n++) {
        struct frame *frame = own;
        if (!own && !(frame = ipc_channel_reserve(ch, frame_bytes(), -1)))
            gone("ipc_channel_reserve");
        draw(frame, (uint64_t)n);
        int sent = own ? ipc_channel_send(ch, own, frame_bytes(), -1)
                       : ipc_channel_commit(ch, frame_bytes());
        if (sent < 0)
            gone("sending");
    }
}

/* The child. */
static void view(struct ipc_channel *ch, struct frame *own)
{
    for (long n = 0; n < frames; n++) {
        const void *frame = own;
        ssize_t len = own ? ipc_channel_recv(ch, own, frame_bytes(), -1)
                          : ipc_channel_peek(ch, &frame, -1);
        if (len < 0)
            err(1, "viewer");
        if (len == 0)
            errx(1, "viewer: the camera is gone after %ld frames of %ld", n, frames);
        if (!is_right(frame, (size_t)len, (uint64_t)n))
            errx(1, "viewer: frame %ld is not what was drawn", n);
        if (!own && ipc_channel_release(ch) < 0)
            err(1, "ipc_channel_release");
    }
}

static double seconds_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static long number(const char *what, const char *text, char **end, long most)
{
    errno = 0;
    long n = strtol(text, end, 10);
    if (*end == text || errno || n < 1 || n > most)
        errx(2, "%s takes numbers from 1 to %ld", what, most);
    return n;
}

static void usage(FILE *out)
{
    fprintf(out, "usage: frame_pipe [--frames N] [--size WIDTHxHEIGHT] [--copy]\n"
                 "A camera draws N frames (default 300) of 1920x1080 points, and a viewer, another\n"
                 "process, checks each point; prints frames a second. With --copy they are sent\n"
                 "and received by copy, for comparison.\n");
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"frames", required_argument, NULL, 'f'},
        {"size", required_argument, NULL, 's'},
        {"copy", no_argument, NULL, 'c'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    int copy = 0;
    char *end;

    for (int c; (c = getopt_long(argc, argv, "f:s:ch", options, NULL)) != -1;) {
        switch (c) {
        case 'f':
            frames = number("--frames", optarg, &end, 1000000000);
            if (*end != '\0')
                errx(2, "--frames takes a number");
            break;
        case 's':
            width = (size_t)number("--size", optarg, &end, MAX_SIDE);
            if (*end != 'x')
                errx(2, "--size takes two numbers with an x, such as 1920x1080");
            height = (size_t)number("--size", end + 1, &end, MAX_SIDE);
            if (*end != '\0')
                errx(2, "--size takes two numbers with an x, such as 1920x1080");
            break;
        case 'c':
            copy = 1;
            break;
        case 'h':
            usage(stdout);
            return 0;
        default:
            usage(stderr);
            return 2;
        }
    }
    if (optind < argc) {
        usage(stderr);
        return 2;
    }

    /* Room for two: one is drawn while the other is looked at. The memory is there from the
     * beginning, so that no frame has to wait for it. */
    struct ipc_channel_opts opts = {
        .flags = IPC_CHANNEL_F_PREFAULT,
        .send_size = 2 * (frame_bytes() + 64),
        .recv_size = 64 * 1024, /* nothing goes the other way */
    };
    struct ipc_channel *ends[2];
    if (ipc_channel_pair(&opts, sizeof(opts), ends) < 0)
        err(1, "ipc_channel_pair");
    struct frame *own = copy ? malloc(frame_bytes()) : NULL;
    if (copy && !own)
        err(1, "a frame");

    signal(SIGCHLD, SIG_DFL); /* were it ignored, nobody could be waited for */
    double begin = seconds_now();
    pid_t pid = fork();
    if (pid < 0)
        err(1, "fork");
    if (pid == 0) {
        ipc_channel_close(ends[0]); /* else it would not see the camera's end */
        view(ends[1], own);
        ipc_channel_close(ends[1]);
        free(own);
        return 0;
    }
    ipc_channel_close(ends[1]);
    film(ends[0], own);
    ipc_channel_close(ends[0]);
    free(own);

    int status;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            err(1, "waitpid");
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        errx(1, "the viewer failed");
    double seconds = seconds_now() - begin;
    double bytes = (double)frame_bytes() * (double)frames;
    printf("%ld frames of %zux%zu, %s: %.0f frames/s, %.1f GB/s, each point checked\n", frames,
           width, height, copy ? "copied" : "in place", (double)frames / seconds,
           bytes / seconds / 1e9);
    if (fflush(stdout) != 0)
        err(1, "standard output");
    return 0;
}
