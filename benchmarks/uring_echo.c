// TCP echo server on io_uring: the yardstick that the Python servers are compared with.
//
// One multishot accept puts each connection into the ring's own file table, at a slot. One multishot receive per
// connection fills buffers of a shared buffer ring. A filled buffer is sent from where it lies and goes back to the
// ring when its send has completed. At most one send per connection is in flight; buffers that are filled meanwhile
// wait in a list. What a turn prepared is submitted by the same io_uring_enter that waits for the next completions.
//
// A slot is closed when neither a receive nor a send of it is in flight. No back-pressure: a client that sends and
// never reads can hold all buffers.
#include <stdbool.h>

#include "echo.h"
#include "ring.h"

enum { ACCEPT, RECEIVE, SEND, CLOSE, END };
enum { BUFFER_GROUP = 0, NO_BUFFER = 0xffff, BUFFERS_MAX = 32768, SLOTS_MAX = 1 << 20 };

struct connection {
    uint16_t first, last;    // filled buffers to send, the oldest first; the first is in flight when sending
    bool receiving, sending;
    bool starved;            // in the list of those whose receive ended for want of a buffer
    bool ending;             // no more will be received
    uint32_t next_starved;
};

struct filled {
    uint32_t length;
    uint16_t next;
};

static struct ring ring;
static struct buffers buffers;
static struct filled *filled;
static struct connection *connections;
static uint32_t starved = SLOTS_MAX;  // head of the list; SLOTS_MAX ends it
static bool buffers_returned;
static int listener;

static struct io_uring_sqe *prepare(uint8_t opcode, int kind, uint32_t slot, uint16_t buffer)
{
    struct io_uring_sqe *sqe = ring_sqe(&ring);
    sqe->opcode = opcode;
    sqe->user_data = (uint64_t)buffer << 48 | (uint64_t)slot << 8 | (uint64_t)kind;
    return sqe;
}

static void arm_accept(void)
{
    struct io_uring_sqe *sqe = prepare(IORING_OP_ACCEPT, ACCEPT, 0, 0);
    sqe->fd = listener;
    sqe->ioprio = IORING_ACCEPT_MULTISHOT;
    sqe->file_index = IORING_FILE_INDEX_ALLOC;
}

static void arm_receive(uint32_t slot)
{
    struct io_uring_sqe *sqe = prepare(IORING_OP_RECV, RECEIVE, slot, 0);
    sqe->fd = (int)slot;
    sqe->flags = IOSQE_FIXED_FILE | IOSQE_BUFFER_SELECT;
    sqe->ioprio = IORING_RECV_MULTISHOT;
    sqe->buf_group = BUFFER_GROUP;
    connections[slot].receiving = true;
}

static void send_first(uint32_t slot)
{
    struct connection *connection = &connections[slot];
    struct io_uring_sqe *sqe = prepare(IORING_OP_SEND, SEND, slot, connection->first);
    sqe->fd = (int)slot;
    sqe->flags = IOSQE_FIXED_FILE;
    sqe->addr = (uint64_t)(uintptr_t)buffers_at(&buffers, connection->first);
    sqe->len = filled[connection->first].length;
    sqe->msg_flags = MSG_WAITALL | MSG_NOSIGNAL;  // with WAITALL the kernel goes on after a short send by itself
    connection->sending = true;
}

static void return_buffer(uint16_t buffer)
{
    buffers_put(&buffers, buffer);
    buffers_returned = true;
}

static void close_when_idle(uint32_t slot)
{
    struct connection *connection = &connections[slot];
    if (!connection->ending || connection->receiving || connection->sending || connection->starved)
        return;
    struct io_uring_sqe *sqe = prepare(IORING_OP_CLOSE, CLOSE, slot, 0);
    sqe->file_index = slot + 1;
    sqe->flags = IOSQE_CQE_SKIP_SUCCESS;
}

static void accepted(const struct completion *cqe)
{
    if (cqe->res >= 0) {
        connections[cqe->res] = (struct connection){.first = NO_BUFFER, .last = NO_BUFFER};
        arm_receive((uint32_t)cqe->res);
    } else if (cqe->res == -EINVAL || cqe->res == -EBADF) {
        die("accept", -cqe->res);  // anything else (a full table, a client that left) must not end the server
    }
    if (!(cqe->flags & IORING_CQE_F_MORE))
        arm_accept();
}

static void received(const struct completion *cqe, uint32_t slot)
{
    struct connection *connection = &connections[slot];
    if (cqe->flags & IORING_CQE_F_BUFFER) {
        uint16_t buffer = (uint16_t)(cqe->flags >> IORING_CQE_BUFFER_SHIFT);
        if (cqe->res > 0 && !connection->ending) {
            filled[buffer] = (struct filled){(uint32_t)cqe->res, NO_BUFFER};
            if (connection->first == NO_BUFFER)
                connection->first = buffer;
            else
                filled[connection->last].next = buffer;
            connection->last = buffer;
            if (!connection->sending)
                send_first(slot);
        } else {
            return_buffer(buffer);
        }
    }
    if (cqe->flags & IORING_CQE_F_MORE)
        return;
    connection->receiving = false;
    if (cqe->res == -ENOBUFS) {
        connection->starved = true;
        connection->next_starved = starved;
        starved = slot;
    } else if (cqe->res > 0 && !connection->ending) {
        arm_receive(slot);
    } else {
        connection->ending = true;
        close_when_idle(slot);
    }
}

static void sent(const struct completion *cqe, uint32_t slot, uint16_t buffer)
{
    struct connection *connection = &connections[slot];
    bool failed = cqe->res < 0 || (uint32_t)cqe->res != filled[buffer].length;
    connection->sending = false;
    do {
        uint16_t done = connection->first;
        connection->first = filled[done].next;
        return_buffer(done);
    } while (failed && connection->first != NO_BUFFER);
    if (connection->first != NO_BUFFER)
        send_first(slot);
    // After a failed send the receive ends by itself: a connection that cannot be written to was reset.
    connection->ending |= failed;
    close_when_idle(slot);
}

// Receives that ended for want of a buffer start again, but only once there is one: else they would end at once,
// again.
static void feed_starved(void)
{
    uint32_t slot = starved;
    starved = SLOTS_MAX;
    while (slot != SLOTS_MAX) {
        struct connection *connection = &connections[slot];
        uint32_t next = connection->next_starved;
        connection->starved = false;
        arm_receive(slot);
        slot = next;
    }
}

static bool dispatch(const struct completion *cqe)
{
    uint32_t slot = (uint32_t)(cqe->user_data >> 8);
    switch (cqe->user_data & 0xff) {
    case ACCEPT:
        accepted(cqe);
        break;
    case RECEIVE:
        received(cqe, slot);
        break;
    case SEND:
        sent(cqe, slot, (uint16_t)(cqe->user_data >> 48));
        break;
    case CLOSE:
        die("close", -cqe->res);
        break;
    case END:
        return false;
    }
    return true;
}

int main(int count, char **arguments)
{
    struct echo_options options = echo_parse(count, arguments);
    if (options.connections > SLOTS_MAX) {
        fprintf(stderr, "at most %u connections\n", SLOTS_MAX);
        return 2;
    }
    echo_raise_descriptor_limit();
    ring_setup_fast(&ring, 512, 8192);
    ring_register_sparse_files(&ring, options.connections);
    unsigned buffer_count = power_of_two_from(2 * options.connections);
    buffer_count = buffer_count < 64 ? 64 : buffer_count > BUFFERS_MAX ? BUFFERS_MAX : buffer_count;
    buffers_setup(&buffers, &ring, BUFFER_GROUP, buffer_count, options.buffer_size);
    ring_register_fd(&ring);
    filled = calloc(buffer_count, sizeof *filled);
    connections = calloc(options.connections, sizeof *connections);
    if (!filled || !connections)
        die("calloc", ENOMEM);
    int end_signal = echo_end_signal();
    listener = echo_listen(&options, 0);
    prepare(IORING_OP_POLL_ADD, END, 0, 0)->fd = end_signal;
    ring.sqes[(ring.sq_next - 1) & ring.sq_mask].poll32_events = 1;  // POLLIN
    arm_accept();

    for (bool running = true; running;) {
        ring_turn(&ring, NULL);
        for (unsigned ready = ring_ready(&ring); ready; ready--) {
            struct completion cqe = ring_take(&ring);
            running &= dispatch(&cqe);
        }
        if (buffers_returned) {
            buffers_publish(&buffers);
            buffers_returned = false;
            feed_starved();
        }
    }
    free(filled);
    free(connections);
    return 0;
}
