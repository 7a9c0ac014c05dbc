/*
 * frame_pipe: sends video frames from one process to another without copying them. The camera
 * draws each frame in the ring of the channel, and the viewer checks it there.
 *
 *     camera: reserve, draw, commit        viewer: peek, check, release
 */
#include <err.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unixipc.h>

#include "util.h"

#define MAX_SIDE 16384

struct frame {
    uint64_t number;
    uint32_t width, height;
    uint32_t pixels[];
};

static size_t width = 1920, height = 1080;
static long frames = 300;

static size_t frame_bytes(void)
{
    return sizeof(struct frame) + 4 * width * height;
}

/* The colour of a pixel. It changes from frame to frame. */
static inline uint32_t colour(uint64_t number, size_t pixel)
{
    return (uint32_t)pixel * 2654435761U + (uint32_t)number;
}

static void draw(struct frame *frame, uint64_t number)
{
    frame->number = number;
    frame->width = (uint32_t)width;
    frame->height = (uint32_t)height;
    for (size_t i = 0; i < width * height; i++)
        frame->pixels[i] = colour(number, i);
}

/* Checks every pixel. */
static int is_correct(const struct frame *frame, size_t len, uint64_t number)
{
    uint32_t wrong = 0;
    if (len != frame_bytes() || frame->number != number || frame->width != width ||
        frame->height != height)
        return 0;
    for (size_t i = 0; i < width * height; i++)
        wrong |= frame->pixels[i] ^ colour(number, i);
    return wrong == 0;
}

static _Noreturn void fail_to_send(const char *call)
{
    if (errno == EPIPE)
        errx(1, "the viewer has ended");
    err(1, "%s", call);
}

/* The parent draws into the ring or, with --copy, into its own memory, which it sends. */
static void run_camera(struct ipc_channel *ch, struct frame *own)
{
    for (long n = 0; n < frames; n++) {
        struct frame *frame = own;
        if (!own && !(frame = ipc_channel_reserve(ch, frame_bytes(), -1)))
            fail_to_send("ipc_channel_reserve");
        draw(frame, (uint64_t)n);
        int sent = own ? ipc_channel_send(ch, own, frame_bytes(), -1)
                       : ipc_channel_commit(ch, frame_bytes());
        if (sent < 0)
            fail_to_send(own ? "ipc_channel_send" : "ipc_channel_commit");
    }
}

/* The child checks each frame in the ring or, with --copy, in its own memory. */
static void run_viewer(struct ipc_channel *ch, struct frame *own)
{
    for (long n = 0; n < frames; n++) {
        const void *frame = own;
        ssize_t len =
            own ? ipc_channel_recv(ch, own, frame_bytes(), -1) : ipc_channel_peek(ch, &frame, -1);
        if (len < 0)
            err(1, "viewer");
        if (len == 0)
            errx(1, "viewer: the camera has ended after %ld of %ld frames", n, frames);
        if (!is_correct(frame, (size_t)len, (uint64_t)n))
            errx(1, "viewer: frame %ld has wrong pixels", n);
        if (!own && ipc_channel_release(ch) < 0)
            err(1, "ipc_channel_release");
    }
}

static const char usage[] =
    "usage: frame_pipe [--frames N] [--size WIDTHxHEIGHT] [--copy]\n"
    "A camera process draws N frames (default 300) of 1920x1080 pixels, and a viewer process\n"
    "checks each pixel. Prints frames per second. With --copy the processes send and receive\n"
    "copies, for comparison.\n";

int main(int argc, char **argv)
{
    int copy = 0;
    const char *size = NULL;
    const struct command_option options[] = {
        {'f', "frames", .number = &frames, .min = 1, .max = 1000000000},
        {'s', "size", .text = &size},
        {'c', "copy", .flag = &copy, .value = 1},
        {0},
    };
    const struct command_line line = {.usage = usage, .options = options};

    parse_command_line(&line, argc, argv);
    if (size) {
        long sides[2];
        parse_two_numbers("--size", size, 'x', "1920x1080", 1, MAX_SIDE, sides);
        width = (size_t)sides[0];
        height = (size_t)sides[1];
    }

    /* The ring holds two frames: the camera draws one while the viewer checks the other. Its
     * memory is allocated now, so that no frame causes page faults. */
    struct ipc_channel_opts opts = {
        .flags = IPC_CHANNEL_F_PREFAULT,
        .send_size = 2 * (frame_bytes() + 64),
        .recv_size = 64 * 1024, /* the viewer sends nothing */
    };
    struct ipc_channel *ends[2];
    if (ipc_channel_pair(&opts, sizeof(opts), ends) < 0)
        err(1, "ipc_channel_pair");
    struct frame *own = copy ? malloc(frame_bytes()) : NULL;
    if (copy && !own)
        err(1, "memory for a frame");

    enable_waitpid();
    double begin = seconds_now();
    pid_t pid = start_child(0);
    if (pid == 0) {
        ipc_channel_close(ends[0]); /* otherwise the viewer would not notice the camera's close */
        run_viewer(ends[1], own);
        ipc_channel_close(ends[1]);
        free(own);
        return 0;
    }
    ipc_channel_close(ends[1]);
    run_camera(ends[0], own);
    ipc_channel_close(ends[0]);
    free(own);

    expect_success(pid, "the viewer");
    double seconds = seconds_now() - begin;
    double bytes = (double)frame_bytes() * (double)frames;
    printf("%ld frames of %zux%zu, %s: %.0f frames/s, %.1f GB/s, each pixel checked\n", frames,
           width, height, copy ? "copied" : "in place", (double)frames / seconds,
           bytes / seconds / 1e9);
    flush_output();
    return 0;
}
