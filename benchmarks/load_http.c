// HTTP requests: the same one again and again, on lasting connections or each on a new one, and every answer looked at.
//
// The answer must have status 200 and the body that is expected. Without --rate a connection sends its next request
// when it has its answer. With it, requests are due at equal intervals, whatever becomes of those before; one that is
// due waits for a connection that is free, and its latency runs from the moment that it was due: a server that falls
// behind is not spared the requests that would have come meanwhile.
//
// Lasting connections always have a receive in flight, so that a server that closes one is noticed. On a new one,
// connecting, sending and the first receive are a chain of linked operations. With --compare-every, bodies of a known
// length that are not compared are thrown away by the kernel (MSG_TRUNC): copying large ones would cost more than what
// is measured.
#include <netinet/in.h>
#include <strings.h>
#include <sys/prctl.h>

#include "load.h"

enum { CONNECT, SEND, RECEIVE };
enum { BUFFER_SIZE = 65536, ERRORS_MAX = 1000 };

static const uint64_t SILENCE_NS = 1000000000;  // a server that gives nothing of an answer for so long is stuck
static const uint64_t TURN_NS = 50 * 1000 * 1000;

struct connection {
    int fd;
    enum { HEAD, LENGTH, CHUNK_SIZE, CHUNK_EXTENSION, CHUNK, CHUNK_END, TRAILER, WHOLE } state;
    bool asked;                   // an answer is due
    bool failed;                  // of a new connection: it is given up when the last of its operations has ended
    bool ended;                   // of a lasting one: nothing more is done with it
    bool truncating;              // the receive in flight throws away what it gets
    unsigned char *buffer;
    size_t filled;                // bytes of an unfinished head in the buffer
    size_t left;                  // bytes missing of the body, or of the chunk
    size_t got;                   // bytes of the body
    size_t line;                  // characters in the line of the trailer
    uint64_t due_at;              // when the request was sent, or should have been
    uint64_t heard_at;            // when something was last sent or received
    uint64_t answers;
};

static const struct load_options *options;
static struct load_result *result;
static struct load_clock *clock_;
static struct ring ring;
static struct connection *connections;
static unsigned alive;
static bool lasting;

// With --rate: connections without a request, the one that is so for longest first.
static unsigned *free_ones, free_first, free_count;
static uint64_t schedule_began, scheduled;  // scheduled: requests that were sent

static void complain(unsigned index, const char *what, int error)
{
    if (result->errors++ < 5)
        fprintf(stderr, "load: connection %u: %s%s%s\n", index, what, error ? ": " : "", error ? strerror(error) : "");
    if (result->errors >= ERRORS_MAX)
        die("load: too many errors, the last", error);
}

static void give_up(unsigned index, const char *what, int error)
{
    struct connection *connection = &connections[index];
    if (connection->ended || connection->failed)
        return;
    complain(index, what, error);
    if (lasting) {
        connection->ended = true;
        alive--;
        shutdown(connection->fd, SHUT_RDWR);
    } else {
        connection->failed = true;
    }
}

static bool compared(const struct connection *connection)
{
    return connection->answers % options->compare_every == 0;
}

static struct io_uring_sqe *prepare(uint8_t opcode, unsigned index, unsigned step)
{
    struct io_uring_sqe *sqe = ring_sqe(&ring);
    sqe->opcode = opcode;
    sqe->fd = lasting ? (int)index : connections[index].fd;
    sqe->flags = lasting ? IOSQE_FIXED_FILE : 0;
    sqe->user_data = (uint64_t)index << 2 | step;
    return sqe;
}

static void arm_receive(unsigned index)
{
    struct connection *connection = &connections[index];
    struct io_uring_sqe *sqe = prepare(IORING_OP_RECV, index, RECEIVE);
    connection->truncating = connection->state == LENGTH && !compared(connection);
    sqe->ioprio = IORING_RECVSEND_POLL_FIRST;
    if (connection->truncating) {
        sqe->len = (uint32_t)(connection->left < 1 << 30 ? connection->left : 1 << 30);
        sqe->msg_flags = MSG_TRUNC;
    } else {
        sqe->addr = (uint64_t)(uintptr_t)(connection->buffer + connection->filled);
        sqe->len = (uint32_t)(BUFFER_SIZE - connection->filled);
    }
}

static void prepare_send(unsigned index, uint8_t flags)
{
    struct io_uring_sqe *sqe = prepare(IORING_OP_SEND, index, SEND);
    sqe->addr = (uint64_t)(uintptr_t)options->request;
    sqe->len = (uint32_t)options->request_length;
    sqe->msg_flags = MSG_WAITALL | MSG_NOSIGNAL;
    sqe->flags |= flags | IOSQE_CQE_SKIP_SUCCESS;  // the answer says that it was sent
}

static void ask_anew(unsigned index)
{
    struct connection *connection = &connections[index];
    socklen_t length;
    const struct sockaddr *address = load_address(options, &length);
    connection->fd = load_socket(options);
    connection->failed = false;
    // A chain must be submitted whole: room for all of it first.
    while (ring.sq_entries - (ring.sq_next - __atomic_load_n(ring.sq_head, __ATOMIC_ACQUIRE)) < 3)
        ring_enter(&ring, 0, NULL);
    struct io_uring_sqe *sqe = prepare(IORING_OP_CONNECT, index, CONNECT);
    sqe->addr = (uint64_t)(uintptr_t)address;
    sqe->off = length;
    sqe->flags = IOSQE_IO_LINK | IOSQE_CQE_SKIP_SUCCESS;
    prepare_send(index, IOSQE_IO_LINK);
    arm_receive(index);
}

static void ask(unsigned index, uint64_t due_at)
{
    struct connection *connection = &connections[index];
    connection->state = HEAD;
    connection->filled = connection->got = 0;
    connection->asked = true;
    connection->due_at = due_at;
    connection->heard_at = clock_->now;
    if (lasting)
        prepare_send(index, 0);
    else
        ask_anew(index);
}

static void next_request(unsigned index)
{
    if (lasting && index >= options->active && connections[index].answers)
        return;
    if (options->rate <= 0) {
        ask(index, clock_->now);
        return;
    }
    free_ones[(free_first + free_count++) % options->connections] = index;
}

static uint64_t due_at(uint64_t number)
{
    return schedule_began + (uint64_t)((double)number * 1e9 / options->rate);
}

static void ask_what_is_due(void)
{
    while (free_count && due_at(scheduled) <= clock_->now) {
        unsigned index = free_ones[free_first];
        free_first = (free_first + 1) % options->connections;
        free_count--;
        if (!connections[index].ended)
            ask(index, due_at(scheduled++));
    }
}

// What a line of the head means for the body. Returns what is wrong, or NULL.
static const char *take_header(struct connection *connection, const char *line, const char *end)
{
    static const char length[] = "content-length:", encoding[] = "transfer-encoding:";
    size_t characters = (size_t)(end - line);
    if (characters > sizeof length - 1 && !strncasecmp(line, length, sizeof length - 1)) {
        connection->state = LENGTH;
        connection->left = strtoull(line + sizeof length - 1, NULL, 10);  // the line's end stops it
        if (connection->left != options->size)
            return "a body of another length than is expected";
    } else if (characters > sizeof encoding - 1 && !strncasecmp(line, encoding, sizeof encoding - 1)) {
        if (!memmem(line, characters, "chunked", 7))
            return "a transfer encoding that is not chunked";
        connection->state = CHUNK_SIZE;
        connection->left = 0;
    }
    return NULL;
}

// From the status line to the empty line. Returns what is wrong, or NULL.
static const char *take_head(struct connection *connection, const char *head, const char *end)
{
    if (end - head < 12 || memcmp(head, "HTTP/1.", 7))
        return "what came back is no HTTP";
    if (memcmp(head + 8, " 200", 4)) {
        static char status[64];
        snprintf(status, sizeof status, "the status is not 200 but %.*s", 3, head + 9);
        return status;
    }
    const char *line = memchr(head, '\n', (size_t)(end - head)), *next;
    for (; line && ++line < end; line = next) {
        next = memchr(line, '\n', (size_t)(end - line));
        const char *wrong = take_header(connection, line, next ? next : end);
        if (wrong)
            return wrong;
    }
    if (connection->state == HEAD)
        return "the head says nothing about the body's length";
    if (connection->state == LENGTH && !connection->left)
        connection->state = WHOLE;
    return NULL;
}

static const char *take_content(struct connection *connection, const unsigned char *data, size_t length)
{
    if (length > options->size - connection->got)
        return "a body that is longer than is expected";
    if (compared(connection) && memcmp(options->expected + connection->got, data, length))
        return "a body with other bytes than are expected";
    connection->got += length;
    connection->left -= length;
    return NULL;
}

// One character of what surrounds the chunks. Returns what is wrong, or NULL.
static const char *take_framing(struct connection *connection, unsigned char character)
{
    switch (connection->state) {
    case CHUNK_SIZE:
        if (character == '\n') {
            connection->state = connection->left ? CHUNK : TRAILER;
            connection->line = 0;
        } else if (character == ';') {
            connection->state = CHUNK_EXTENSION;
        } else if (character != '\r') {
            const char *digits = "0123456789abcdef", *digit = character ? strchr(digits, character | 0x20) : NULL;
            if (!digit)
                return "a chunk whose length is no number";
            connection->left = connection->left * 16 + (size_t)(digit - digits);
            if (connection->left > options->size)
                return "a chunk that is longer than the body that is expected";
        }
        break;
    case CHUNK_EXTENSION:
        if (character == '\n') {
            connection->state = connection->left ? CHUNK : TRAILER;
            connection->line = 0;
        }
        break;
    case CHUNK_END:
        if (character == '\n')
            connection->state = CHUNK_SIZE;  // left is 0
        else if (character != '\r')
            return "a chunk that is longer than it said";
        break;
    default:  // TRAILER
        if (character != '\n')
            connection->line += character != '\r';
        else if (connection->line)
            connection->line = 0;
        else
            connection->state = WHOLE;
    }
    return NULL;
}

// What follows the head. Returns what is wrong, or NULL.
static const char *take_body(struct connection *connection, const unsigned char *data, size_t length)
{
    const char *wrong = NULL;
    while (length && !wrong) {
        size_t part = 1;
        if (connection->state == WHOLE)
            return "more came back than was asked for";
        if (connection->state == LENGTH || connection->state == CHUNK) {
            part = length < connection->left ? length : connection->left;
            wrong = take_content(connection, data, part);
            if (!connection->left)
                connection->state = connection->state == LENGTH ? WHOLE : CHUNK_END;
        } else {
            wrong = take_framing(connection, *data);
        }
        data += part;
        length -= part;
    }
    return wrong;
}

static const char *take(struct connection *connection, size_t length)
{
    if (!connection->asked)
        return "more came back than was asked for";
    if (connection->truncating) {
        connection->got += length;
        connection->left -= length;
        if (!connection->left)
            connection->state = WHOLE;
        return NULL;
    }
    if (connection->state != HEAD)
        return take_body(connection, connection->buffer, length);
    connection->filled += length;
    unsigned char *end = memmem(connection->buffer, connection->filled, "\r\n\r\n", 4);
    if (!end)
        return connection->filled == BUFFER_SIZE ? "a head without an end" : NULL;
    size_t rest = connection->filled - (size_t)(end + 4 - connection->buffer);
    connection->filled = 0;
    const char *wrong = take_head(connection, (const char *)connection->buffer, (const char *)end + 2);
    return wrong ? wrong : take_body(connection, end + 4, rest);
}

static void answered(unsigned index)
{
    struct connection *connection = &connections[index];
    if (connection->got != options->size) {
        give_up(index, "a body that is shorter than is expected", 0);
        return;
    }
    histogram_add(&result->latencies, clock_->now - connection->due_at);
    connection->answers++;
    connection->asked = false;
    connection->state = HEAD;
}

// The receive is the last of a new connection's operations; its completion always comes, if only to say that it was
// cancelled because one before it failed.
static void received(unsigned index, int length)
{
    struct connection *connection = &connections[index];
    bool whole = false;
    connection->heard_at = clock_->now;
    if (length <= 0) {
        if (length != -ECANCELED)
            give_up(index, length ? "receive" : "the server closed it", -length);
    } else {
        const char *wrong = take(connection, (size_t)length);
        whole = connection->state == WHOLE;
        if (wrong)
            give_up(index, wrong, 0);
        else if (whole)
            answered(index);
    }
    if (connection->ended)
        return;
    if (lasting) {
        arm_receive(index);
        if (whole)
            next_request(index);
    } else if (whole || connection->failed || length <= 0) {
        close(connection->fd);
        connection->fd = -1;
        connection->asked = false;
        next_request(index);
    } else {
        arm_receive(index);
    }
}

static void complete(void)
{
    static const char *const steps[] = {[CONNECT] = "connect", [SEND] = "send"};
    for (unsigned ready = ring_ready(&ring); ready; ready--) {
        struct completion cqe = ring_take(&ring);
        unsigned index = (unsigned)(cqe.user_data >> 2), step = (unsigned)(cqe.user_data & 3);
        if (step == RECEIVE)
            received(index, cqe.res);
        else if (cqe.res != -ECANCELED)
            give_up(index, steps[step], cqe.res < 0 ? -cqe.res : 0);
    }
}

// Like load_turn, but not longer than until the next request is due.
static bool turn(void)
{
    if (options->rate <= 0 || options->spinning)
        return load_turn(options, &ring, clock_, result);
    uint64_t now = load_now_ns(), next = free_count ? due_at(scheduled) : now + TURN_NS;
    uint64_t wait = next <= now ? 0 : next - now < TURN_NS ? next - now : TURN_NS;
    struct __kernel_timespec timeout = {.tv_nsec = (long long)wait};
    if (wait)
        ring_turn(&ring, &timeout);
    else
        ring_poll(&ring);
    return load_tick(options, clock_, result);
}

static void open_connections(void)
{
    int *descriptors = malloc(options->connections * sizeof *descriptors);
    connections = calloc(options->connections, sizeof *connections);
    free_ones = malloc(options->connections * sizeof *free_ones);
    if (!descriptors || !connections || !free_ones)
        die("load: memory", ENOMEM);
    for (unsigned index = 0; index < options->connections; index++) {
        connections[index].fd = descriptors[index] = lasting ? load_connect(options) : -1;
        connections[index].buffer = malloc(BUFFER_SIZE);
        if (!connections[index].buffer)
            die("load: memory", ENOMEM);
    }
    if (lasting)
        ring_register(&ring, IORING_REGISTER_FILES, descriptors, options->connections);
    free(descriptors);
    alive = options->connections;
}

// A server that hangs is an error too, though nothing ever says so; and one that is too slow for the rate.
static void find_unanswered(void)
{
    for (unsigned index = 0; index < options->connections; index++) {
        struct connection *connection = &connections[index];
        if (connection->asked && !connection->ended && clock_->ended - connection->heard_at > SILENCE_NS)
            give_up(index, "nothing of an answer for more than a second", 0);
    }
    if (options->rate > 0 && due_at(scheduled) + SILENCE_NS < clock_->ended) {
        result->errors++;
        fprintf(stderr, "load: the server does not keep up with the rate: requests wait for more than a second\n");
    }
}

void load_http(const struct load_options *load_options, struct load_clock *load_clock, struct load_result *load_result)
{
    options = load_options;
    clock_ = load_clock;
    result = load_result;
    lasting = options->mode == LOAD_HTTP;
    ring_setup_fast(&ring, 1024, 16384);
    if (!lasting)
        close(load_connect(options));  // says clearly, and at once, when there is no server
    open_connections();
    ring_register_fd(&ring);
    prctl(PR_SET_TIMERSLACK, 1);  // the usual 50 microseconds would be counted as the server's
    load_start(options, clock_);
    schedule_began = clock_->now;
    for (unsigned index = 0; index < options->connections; index++) {
        if (lasting)
            arm_receive(index);
        // A silent connection asks for one thing, so that the server has surely accepted it.
        if (lasting && index >= options->active)
            ask(index, clock_->now);
        else
            next_request(index);
    }
    do {
        complete();
        if (options->rate > 0)
            ask_what_is_due();
    } while (alive && turn());
    if (!alive) {
        fprintf(stderr, "load: no connection is left\n");
        exit(1);
    }
    find_unanswered();
    for (unsigned index = 0; index < options->connections; index++) {
        if (connections[index].fd >= 0)
            close(connections[index].fd);
    }
}
