// Lasting connections: each keeps its messages in flight, and sends the next when one has come back whole.
//
// A connection owns a window of `pipeline` messages, its slots. A slot is rewritten only when its echo is complete,
// so the window is at the same time what was sent and what must come back: byte n of the echo is byte n of the
// window, round and round. Slots that became free are sent together, up to the end of the window, and one send is in
// flight at most.
//
// Echoes are received into shared buffers as they come. With --compare-every only the echoes that are compared are
// received, each into its connection's own buffer, and the others are thrown away by the kernel (MSG_TRUNC): copying
// and comparing large messages would cost more than what is measured.
#include "load.h"
#include "load_tls.h"

enum { RECEIVE, SEND };
enum { BUFFER_GROUP = 0, BUFFER_SIZE_MIN = 4096, BUFFER_MEMORY_MAX = 32 << 20 };

static const uint64_t ANSWER_TIMEOUT_NS = 1000000000;  // after it a datagram is lost, and a stream is stuck

struct connection {
    int fd;
    struct load_tls *tls;         // NULL without TLS
    bool receiving, sending, ended;
    unsigned char *window;
    unsigned char *answer;        // with --compare-every: where an echo goes that is compared
    uint64_t *sent_at;            // per slot
    unsigned answer_slot;         // the oldest slot in flight
    size_t answered;              // bytes of it that came back
    unsigned send_slot;           // the next slot to send
    unsigned unsent;              // slots that are free to be sent, from send_slot on
    size_t sent_length;           // of the send in flight
    uint64_t messages, answers;   // begun, and done with; the difference is in flight
};

static const struct load_options *options;
static struct load_result *result;
static struct load_clock *clock_;
static struct ring ring;
static struct buffers buffers;
static struct connection *connections;
static unsigned alive;

static void arm_receive(unsigned index)
{
    struct io_uring_sqe *sqe = ring_sqe(&ring);
    sqe->opcode = IORING_OP_RECV;
    sqe->fd = (int)index;
    sqe->flags = IOSQE_FIXED_FILE | IOSQE_BUFFER_SELECT;
    sqe->ioprio = IORING_RECV_MULTISHOT;
    sqe->buf_group = BUFFER_GROUP;
    sqe->user_data = (uint64_t)index << 1 | RECEIVE;
    connections[index].receiving = true;
}

static bool compared(const struct connection *connection)
{
    return connection->answers % options->compare_every == 0;
}

// Asks for the rest of the echo, and takes what there is of it: with MSG_WAITALL the kernel would not count what it
// throws away, and wait for ever.
static void arm_own_receive(unsigned index)
{
    struct connection *connection = &connections[index];
    struct io_uring_sqe *sqe = ring_sqe(&ring);
    sqe->opcode = IORING_OP_RECV;
    sqe->fd = (int)index;
    sqe->flags = IOSQE_FIXED_FILE;
    sqe->ioprio = IORING_RECVSEND_POLL_FIRST;
    sqe->addr = compared(connection) ? (uint64_t)(uintptr_t)(connection->answer + connection->answered) : 0;
    sqe->len = (uint32_t)(options->size - connection->answered);
    sqe->msg_flags = compared(connection) ? 0 : MSG_TRUNC;
    sqe->user_data = (uint64_t)index << 1 | RECEIVE;
}

static void give_up(unsigned index, const char *what, int error)
{
    struct connection *connection = &connections[index];
    if (connection->ended)
        return;
    if (result->errors++ < 5)
        fprintf(stderr, "load: connection %u: %s%s%s\n", index, what, error ? ": " : "", error ? strerror(error) : "");
    connection->ended = true;
    alive--;
    shutdown(connection->fd, SHUT_RDWR);
}

static void send_free_slots(unsigned index)
{
    struct connection *connection = &connections[index];
    if (!connection->unsent || connection->sending || connection->ended)
        return;
    unsigned slots = options->pipeline - connection->send_slot;
    slots = slots < connection->unsent ? slots : connection->unsent;
    for (unsigned slot = connection->send_slot; slot < connection->send_slot + slots; slot++) {
        load_stamp(connection->window + slot * options->size, options->size,
                   (uint64_t)index << 40 | connection->messages++);
        connection->sent_at[slot] = clock_->now;
    }
    const unsigned char *data = connection->window + connection->send_slot * options->size;
    connection->sent_length = slots * options->size;
    if (connection->tls) {
        data = load_tls_seal(connection->tls, data, connection->sent_length, &connection->sent_length);
        if (!data) {
            give_up(index, "TLS broke while sending", 0);
            return;
        }
    }
    struct io_uring_sqe *sqe = ring_sqe(&ring);
    sqe->opcode = IORING_OP_SEND;
    sqe->fd = (int)index;
    sqe->flags = IOSQE_FIXED_FILE;
    sqe->addr = (uint64_t)(uintptr_t)data;
    sqe->len = (uint32_t)connection->sent_length;
    sqe->msg_flags = MSG_WAITALL | MSG_NOSIGNAL;
    sqe->user_data = (uint64_t)index << 1 | SEND;
    // With one message in flight its echo says that the send is done: the completion would only cost time.
    if (options->pipeline == 1)
        sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
    else
        connection->sending = true;
    connection->send_slot = (connection->send_slot + slots) % options->pipeline;
    connection->unsent -= slots;
}

// A whole echo: its slot is free. Silent connections have sent their only message.
static void answered(struct connection *connection, unsigned index)
{
    histogram_add(&result->latencies, clock_->now - connection->sent_at[connection->answer_slot]);
    connection->answer_slot = (connection->answer_slot + 1) % options->pipeline;
    connection->answered = 0;
    connection->answers++;
    if (index < options->active)
        connection->unsent++;
}

static void check_answer(unsigned index, const unsigned char *data, size_t length)
{
    struct connection *connection = &connections[index];
    if (options->datagrams && length != options->size) {
        give_up(index, "a datagram of another length", 0);
        return;
    }
    while (length && !connection->ended) {
        const unsigned char *expected = connection->window + connection->answer_slot * options->size;
        size_t rest = options->size - connection->answered, part = length < rest ? length : rest;
        if (connection->messages == connection->answers) {
            give_up(index, "more came back than was sent", 0);
            return;
        }
        if (memcmp(expected + connection->answered, data, part)) {
            give_up(index, "other bytes came back than were sent", 0);
            return;
        }
        data += part;
        length -= part;
        connection->answered += part;
        if (connection->answered == options->size)
            answered(connection, index);
    }
    send_free_slots(index);
}

static void open_answer(unsigned index, const unsigned char *data, size_t length)
{
    static unsigned char opened[65536];
    int count;
    load_tls_feed(connections[index].tls, data, length);
    while ((count = load_tls_read(connections[index].tls, opened, sizeof opened)) > 0)
        check_answer(index, opened, (size_t)count);
    if (count < 0)
        give_up(index, "TLS broke while receiving", 0);
}

static void received_own(unsigned index, const struct completion *cqe)
{
    struct connection *connection = &connections[index];
    if (cqe->res <= 0) {
        give_up(index, cqe->res ? "receive" : "the server closed it", -cqe->res);
        return;
    }
    connection->answered += (size_t)cqe->res;
    if (connection->messages == connection->answers) {
        give_up(index, "more came back than was sent", 0);
    } else if (connection->answered < options->size) {
        arm_own_receive(index);
    } else if (compared(connection) && memcmp(connection->answer, connection->window, options->size)) {
        give_up(index, "other bytes came back than were sent", 0);
    } else {
        answered(connection, index);
        send_free_slots(index);
        arm_own_receive(index);
    }
}

static void received(unsigned index, const struct completion *cqe)
{
    struct connection *connection = &connections[index];
    if (cqe->flags & IORING_CQE_F_BUFFER) {
        unsigned buffer = cqe->flags >> IORING_CQE_BUFFER_SHIFT;
        if (cqe->res > 0 && !connection->ended)
            (connection->tls ? open_answer : check_answer)(index, buffers_at(&buffers, buffer), (size_t)cqe->res);
        buffers_put(&buffers, buffer);
    }
    if (cqe->flags & IORING_CQE_F_MORE)
        return;
    connection->receiving = false;
    if (cqe->res > 0 || cqe->res == -ENOBUFS)
        arm_receive(index);  // buffers are back by the time this is submitted
    else
        give_up(index, cqe->res ? "receive" : "the server closed it", -cqe->res);
}

static void sent(unsigned index, const struct completion *cqe)
{
    struct connection *connection = &connections[index];
    connection->sending = false;
    if (cqe->res < 0)
        give_up(index, "send", -cqe->res);
    else if ((size_t)cqe->res != connection->sent_length)
        give_up(index, "a send was cut short", 0);
    else
        send_free_slots(index);
}

static bool overdue(const struct connection *connection)
{
    return !connection->ended && connection->messages > connection->answers
        && clock_->now - connection->sent_at[connection->answer_slot] > ANSWER_TIMEOUT_NS;
}

static void repeat_lost_datagrams(void)
{
    static uint64_t next_check;
    if (clock_->now < next_check)
        return;
    next_check = clock_->now + ANSWER_TIMEOUT_NS / 4;
    for (unsigned index = 0; index < options->connections; index++) {
        struct connection *connection = &connections[index];
        if (overdue(connection)) {
            result->lost++;
            connection->answers++;
            connection->unsent = 1;
            send_free_slots(index);
        }
    }
}

static void open_connections(void)
{
    int *descriptors = malloc(options->connections * sizeof *descriptors);
    connections = calloc(options->connections, sizeof *connections);
    if (!descriptors || !connections)
        die("load: memory", ENOMEM);
    for (unsigned index = 0; index < options->connections; index++) {
        struct connection *connection = &connections[index];
        connection->window = malloc(options->pipeline * options->size);
        connection->sent_at = calloc(options->pipeline, sizeof *connection->sent_at);
        if (!connection->window || !connection->sent_at)
            die("load: memory", ENOMEM);
        load_fill(connection->window, options->pipeline * options->size, index * 7919ULL);
        connection->fd = descriptors[index] = load_connect(options);
        if (options->compare_every > 1) {
            connection->answer = malloc(options->size);
            if (!connection->answer)
                die("load: memory", ENOMEM);
        }
        if (options->tls)
            connection->tls = load_tls_open(connection->fd);
        // A silent connection says one thing, so that the server has surely accepted it.
        connection->unsent = index < options->active ? options->pipeline : 1;
    }
    alive = options->connections;
    ring_register(&ring, IORING_REGISTER_FILES, descriptors, options->connections);
    free(descriptors);
}

// A server that hangs is an error too, though nothing ever says so.
static void find_unanswered(void)
{
    for (unsigned index = 0; index < options->connections && !options->datagrams; index++) {
        if (overdue(&connections[index]))
            give_up(index, "no answer for more than a second", 0);
    }
}

static void close_connections(void)
{
    for (unsigned index = 0; index < options->connections; index++) {
        shutdown(connections[index].fd, SHUT_RDWR);
        close(connections[index].fd);
    }
}

void load_echo(const struct load_options *load_options, struct load_clock *load_clock, struct load_result *load_result)
{
    options = load_options;
    clock_ = load_clock;
    result = load_result;
    bool own = options->compare_every > 1;
    ring_setup_fast(&ring, 1024, 16384);
    unsigned buffer_size = options->size < BUFFER_SIZE_MIN ? BUFFER_SIZE_MIN
                         : options->size > 65536 ? 65536 : (unsigned)options->size;
    unsigned buffer_count = power_of_two_from(2 * options->connections);
    while (buffer_count > 64 && (size_t)buffer_count * buffer_size > BUFFER_MEMORY_MAX)
        buffer_count /= 2;
    buffers_setup(&buffers, &ring, BUFFER_GROUP, buffer_count, buffer_size);
    open_connections();
    ring_register_fd(&ring);
    load_start(options, clock_);
    for (unsigned index = 0; index < options->connections; index++) {
        (own ? arm_own_receive : arm_receive)(index);
        send_free_slots(index);
    }
    while (alive && load_turn(options, &ring, clock_, result)) {
        for (unsigned ready = ring_ready(&ring); ready; ready--) {
            struct completion cqe = ring_take(&ring);
            unsigned index = (unsigned)(cqe.user_data >> 1);
            if ((cqe.user_data & 1) == SEND)
                sent(index, &cqe);
            else
                (own ? received_own : received)(index, &cqe);
        }
        buffers_publish(&buffers);
        if (options->datagrams)
            repeat_lost_datagrams();
    }
    if (!alive) {
        fprintf(stderr, "load: no connection is left\n");
        exit(1);
    }
    find_unanswered();
    close_connections();
}
