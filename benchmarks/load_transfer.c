// Transfers: each message, of many megabytes, goes one way through a connection of its own; the next begins when it is
// over, and what is measured are whole ones.
//
// An upload ends with the end of the stream, and the server answers with the number of bytes that it got. For a
// download a line says how many bytes are wanted, and byte n of what comes is n modulo 256.
//
// This side must cost less than the server's. An upload is always the same few pages, which stay in the cache; sending
// them by sendfile, without a copy, was slower. A download is thrown away by the kernel, but for one piece in sixteen,
// which is compared.
#include <sys/time.h>

#include "load.h"

enum { PIECE = 65536, PIECES_UNSEEN = 15 };

// A server that neither takes nor gives anything for so long hangs.
static const struct timeval PATIENCE = {.tv_sec = 5};

static unsigned char pattern[PIECE + 256];

static void complain(struct load_result *result, const char *what, int error)
{
    if (result->errors++ < 5)
        fprintf(stderr, "load: %s%s%s\n", what, error ? ": " : "", error ? strerror(error) : "");
    if (result->errors >= 10 || error == EAGAIN)
        die("load: giving up", error);
}

static bool upload(int fd, size_t size, struct load_result *result)
{
    for (size_t left = size; left;) {
        ssize_t sent = send(fd, pattern, PIECE < left ? PIECE : left, MSG_NOSIGNAL);
        if (sent <= 0) {
            complain(result, "the server took only a part of the upload", sent ? errno : EIO);
            return false;
        }
        left -= (size_t)sent;
    }
    shutdown(fd, SHUT_WR);
    char answer[32] = "";
    for (size_t filled = 0; !strchr(answer, '\n');) {
        ssize_t length = recv(fd, answer + filled, sizeof answer - 1 - filled, 0);
        if (length <= 0) {
            complain(result, "the server does not say how much it got", length ? errno : 0);
            return false;
        }
        filled += (size_t)length;
    }
    if (strtoull(answer, NULL, 10) != size) {
        complain(result, "the server did not get all of the upload", 0);
        return false;
    }
    return true;
}

static bool download(int fd, size_t size, struct load_result *result)
{
    static unsigned char piece[PIECE];
    dprintf(fd, "%zu\n", size);
    bool seen = true;
    for (size_t offset = 0; offset < size; seen = !seen) {
        size_t wanted = seen ? PIECE : (size_t)PIECES_UNSEEN * PIECE;
        wanted = wanted < size - offset ? wanted : size - offset;
        ssize_t length = recv(fd, seen ? piece : NULL, wanted, MSG_WAITALL | (seen ? 0 : MSG_TRUNC));
        if (length <= 0) {
            complain(result, "the download was cut short", length ? errno : 0);
            return false;
        }
        if (seen && memcmp(piece, pattern + offset % 256, (size_t)length)) {
            complain(result, "other bytes came than should have", 0);
            return false;
        }
        offset += (size_t)length;
    }
    return true;
}

void load_transfers(const struct load_options *options, struct load_clock *clock, struct load_result *result)
{
    for (size_t i = 0; i < sizeof pattern; i++)
        pattern[i] = (unsigned char)i;
    load_start(options, clock);
    do {
        uint64_t started_at = clock->now;
        int fd = load_connect(options);
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &PATIENCE, sizeof PATIENCE);
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &PATIENCE, sizeof PATIENCE);
        bool whole = (options->mode == LOAD_UPLOAD ? upload : download)(fd, options->size, result);
        close(fd);
        // Counted before the clock is looked at: the tick that ends the warm-up forgets what was in it.
        if (whole)
            histogram_add(&result->latencies, load_now_ns() - started_at);
    } while (load_tick(options, clock, result));
}
