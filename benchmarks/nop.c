// NOPs through io_uring from C: the floor under what a NOP costs through Python.
//
//     nop single|batch SECONDS
//
// single: prepare, submit, take the completion, one at a time. batch: 256 are prepared, submitted together, then
// taken. The ring has no setup flags, like those that it is compared with. Time is taken per chunk of NOPs, and the
// median chunk counts, so that being put off the processor once does not. Prints nanoseconds per NOP as a JSON
// object.
#include <time.h>

#include "ring.h"

enum { BATCH = 256, CHUNK = 40 * BATCH, CHUNKS_MAX = 100000 };

static struct ring ring;

static void prepare(uint64_t user_data)
{
    struct io_uring_sqe *sqe = ring_sqe(&ring);
    sqe->opcode = IORING_OP_NOP;
    sqe->user_data = user_data;
}

static void submit(unsigned expected)
{
    int submitted = ring_enter(&ring, 0, NULL);
    if (submitted != (int)expected)
        die("io_uring_enter", submitted < 0 ? -submitted : EIO);
}

static void take(uint64_t expected)
{
    while (!ring_ready(&ring))
        ring_enter(&ring, 1, NULL);
    struct completion cqe = ring_take(&ring);
    if (cqe.user_data != expected || cqe.res != 0)
        die("completion", EIO);
}

static void run_chunk(unsigned batch)
{
    for (unsigned done = 0; done < CHUNK; done += batch) {
        for (unsigned i = 0; i < batch; i++)
            prepare(i);
        submit(batch);
        for (unsigned i = 0; i < batch; i++)
            take(i);
    }
}

static double now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static int ascending(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

int main(int count, char **arguments)
{
    static double chunks[CHUNKS_MAX];
    double seconds = count == 3 ? strtod(arguments[2], NULL) : 0;
    unsigned batch = count == 3 && !strcmp(arguments[1], "batch") ? BATCH : 1;
    if (!(seconds > 0) || (batch == 1 && strcmp(arguments[1], "single"))) {
        fprintf(stderr, "usage: %s single|batch SECONDS\n", arguments[0]);
        return 2;
    }
    int error = ring_setup(&ring, BATCH, 0, 0);
    if (error)
        die("io_uring_setup", -error);
    size_t taken = 0;
    double start = now_ns(), end = start + seconds * 1e9;
    while (start < end && taken < CHUNKS_MAX) {
        run_chunk(batch);
        double now = now_ns();
        chunks[taken++] = (now - start) / CHUNK;
        start = now;
    }
    qsort(chunks, taken, sizeof *chunks, ascending);
    printf("{\"ns_per_nop\": %.2f, \"nops\": %zu}\n", chunks[taken / 2], taken * CHUNK);
    return 0;
}
