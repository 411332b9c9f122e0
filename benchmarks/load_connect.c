// A connection per message: connect, one message there and back, close; `connections` of them at a time.
//
// Connecting, sending and receiving are one chain of linked operations. The client closes first, so its side keeps
// the port for a while (TIME_WAIT).
#include "load.h"

enum { CONNECT = 0, SEND = 1, RECEIVE = 2 };

struct visit {
    int fd;
    bool failed;
    uint64_t started_at;
    unsigned char *message, *answer;
};

static const struct load_options *options;
static struct load_result *result;
static struct load_clock *clock_;
static struct ring ring;
static struct visit *visits;

static struct io_uring_sqe *prepare(uint8_t opcode, unsigned index, unsigned step)
{
    struct io_uring_sqe *sqe = ring_sqe(&ring);
    sqe->opcode = opcode;
    sqe->fd = visits[index].fd;
    sqe->user_data = (uint64_t)index << 2 | step;
    return sqe;
}

static void start(unsigned index)
{
    static uint64_t number;
    struct visit *visit = &visits[index];
    socklen_t length;
    const struct sockaddr *address = load_address(options, &length);
    visit->fd = load_socket(options);
    load_stamp(visit->message, options->size, number++);
    visit->started_at = clock_->now;
    visit->failed = false;

    // A chain must be submitted whole: room for all of it first.
    while (ring.sq_entries - (ring.sq_next - __atomic_load_n(ring.sq_head, __ATOMIC_ACQUIRE)) < 3)
        ring_enter(&ring, 0, NULL);
    struct io_uring_sqe *sqe = prepare(IORING_OP_CONNECT, index, CONNECT);
    sqe->addr = (uint64_t)(uintptr_t)address;
    sqe->off = length;
    sqe->flags = IOSQE_IO_LINK | IOSQE_CQE_SKIP_SUCCESS;
    sqe = prepare(IORING_OP_SEND, index, SEND);
    sqe->addr = (uint64_t)(uintptr_t)visit->message;
    sqe->len = (uint32_t)options->size;
    sqe->msg_flags = MSG_WAITALL | MSG_NOSIGNAL;
    sqe->flags = IOSQE_IO_LINK | IOSQE_CQE_SKIP_SUCCESS;
    sqe = prepare(IORING_OP_RECV, index, RECEIVE);
    sqe->addr = (uint64_t)(uintptr_t)visit->answer;
    sqe->len = (uint32_t)options->size;
    sqe->msg_flags = MSG_WAITALL;
}

static void complain(unsigned index, const char *what, int error)
{
    visits[index].failed = true;
    if (result->errors++ < 5)
        fprintf(stderr, "load: connection %u: %s%s%s\n", index, what, error ? ": " : "", error ? strerror(error) : "");
    if (result->errors >= 1000)
        die("load: giving up after 1000 errors, the last", error);
}

// The receive is the last of the chain; its completion always comes, if only to say that it was cancelled.
static void finished(unsigned index, int length)
{
    struct visit *visit = &visits[index];
    if (visit->failed)
        ;
    else if (length < 0)
        complain(index, "receive", -length);
    else if ((size_t)length != options->size)
        complain(index, "the answer was cut short", 0);
    else if (memcmp(visit->message, visit->answer, options->size))
        complain(index, "other bytes came back than were sent", 0);
    else
        histogram_add(&result->latencies, clock_->now - visit->started_at);
    close(visit->fd);
    start(index);
}

void load_connections(const struct load_options *load_options, struct load_clock *load_clock,
                      struct load_result *load_result)
{
    static const char *const steps[] = {[CONNECT] = "connect", [SEND] = "send"};
    options = load_options;
    clock_ = load_clock;
    result = load_result;
    close(load_connect(options));  // says clearly, and at once, when there is no server
    ring_setup_fast(&ring, 1024, 16384);
    ring_register_fd(&ring);
    visits = calloc(options->connections, sizeof *visits);
    if (!visits)
        die("load: memory", ENOMEM);
    load_start(options, clock_);
    for (unsigned index = 0; index < options->connections; index++) {
        visits[index].message = malloc(options->size);
        visits[index].answer = malloc(options->size);
        if (!visits[index].message || !visits[index].answer)
            die("load: memory", ENOMEM);
        load_fill(visits[index].message, options->size, index * 7919ULL);
        start(index);
    }
    while (load_turn(options, &ring, clock_, result)) {
        for (unsigned ready = ring_ready(&ring); ready; ready--) {
            struct completion cqe = ring_take(&ring);
            unsigned index = (unsigned)(cqe.user_data >> 2), step = (unsigned)(cqe.user_data & 3);
            if (step == RECEIVE)
                finished(index, cqe.res);
            else if (cqe.res != -ECANCELED)
                complain(index, steps[step], cqe.res < 0 ? -cqe.res : 0);
        }
    }
}
