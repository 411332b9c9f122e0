// WebSockets: each connection keeps one binary message in flight, and sends the next when its echo has come back whole.
//
// The handshake is made once, without a ring. A client's frame is masked, with a key of the connection's own; the
// server's is not. Nothing is compressed: the extension is not asked for.
#include "load.h"

enum { RECEIVE, SEND };
enum { HEADER_MAX = 8, PAYLOAD_MAX = 65535, KEY_LENGTH = 4 };

static const uint64_t SILENCE_NS = 1000000000;  // a server that echoes nothing for so long is stuck

struct connection {
    int fd;
    bool asked, ended;
    unsigned char key[KEY_LENGTH];
    unsigned char *message;       // what must come back: the server's header and the payload
    unsigned char *frame;         // what is sent: the client's header and the payload, masked
    unsigned char *answer;
    size_t filled;                // bytes of the answer
    uint64_t sent_at, answers;
};

static const struct load_options *options;
static struct load_result *result;
static struct load_clock *clock_;
static struct ring ring;
static struct connection *connections;
static unsigned alive;
static size_t header_length;      // of the server's frame

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

// The header of a final binary frame. Returns its length.
static size_t put_header(unsigned char *header, const unsigned char *key)
{
    size_t length = 2;
    header[0] = 0x82;
    header[1] = (unsigned char)(options->size < 126 ? options->size : 126) | (key ? 0x80 : 0);
    if (options->size >= 126) {
        header[length++] = (unsigned char)(options->size >> 8);
        header[length++] = (unsigned char)options->size;
    }
    if (key) {
        memcpy(header + length, key, KEY_LENGTH);
        length += KEY_LENGTH;
    }
    return length;
}

static struct io_uring_sqe *prepare(uint8_t opcode, unsigned index, unsigned step, void *data, size_t length)
{
    struct io_uring_sqe *sqe = ring_sqe(&ring);
    sqe->opcode = opcode;
    sqe->fd = (int)index;
    sqe->flags = IOSQE_FIXED_FILE;
    sqe->addr = (uint64_t)(uintptr_t)data;
    sqe->len = (uint32_t)length;
    sqe->user_data = (uint64_t)index << 1 | step;
    return sqe;
}

// One byte more than is missing: what should not come is found, too.
static void arm_receive(unsigned index)
{
    struct connection *connection = &connections[index];
    struct io_uring_sqe *sqe = prepare(IORING_OP_RECV, index, RECEIVE, connection->answer + connection->filled,
                                       header_length + options->size + 1 - connection->filled);
    sqe->ioprio = IORING_RECVSEND_POLL_FIRST;
}

static void ask(unsigned index)
{
    struct connection *connection = &connections[index];
    unsigned char *payload = connection->message + header_length;
    size_t header = header_length + KEY_LENGTH;
    load_stamp(payload, options->size, (uint64_t)index << 40 | connection->answers);
    for (size_t i = 0; i < options->size; i++)
        connection->frame[header + i] = payload[i] ^ connection->key[i % KEY_LENGTH];
    connection->asked = true;
    connection->sent_at = clock_->now;
    struct io_uring_sqe *sqe = prepare(IORING_OP_SEND, index, SEND, connection->frame, header + options->size);
    sqe->msg_flags = MSG_WAITALL | MSG_NOSIGNAL;
    sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;  // the echo says that it was sent
}

static void received(unsigned index, int length)
{
    struct connection *connection = &connections[index];
    if (connection->ended)
        return;
    if (length <= 0) {
        give_up(index, length ? "receive" : "the server closed it", -length);
        return;
    }
    connection->filled += (size_t)length;
    if (!connection->asked || connection->filled > header_length + options->size) {
        give_up(index, "more came back than was sent", 0);
        return;
    }
    if (connection->filled < header_length + options->size) {
        arm_receive(index);
        return;
    }
    if (memcmp(connection->answer, connection->message, connection->filled)) {
        give_up(index, "a frame with other bytes than were sent", 0);
        return;
    }
    histogram_add(&result->latencies, clock_->now - connection->sent_at);
    connection->answers++;
    connection->asked = false;
    connection->filled = 0;
    arm_receive(index);
    if (index < options->active)
        ask(index);
}

static void complete(void)
{
    for (unsigned ready = ring_ready(&ring); ready; ready--) {
        struct completion cqe = ring_take(&ring);
        unsigned index = (unsigned)(cqe.user_data >> 1);
        if ((cqe.user_data & 1) == RECEIVE)
            received(index, cqe.res);
        else
            give_up(index, "send", cqe.res < 0 ? -cqe.res : 0);
    }
}

// Asks for the change of protocols, and waits for the answer. Exits with a message when it is another.
static void shake_hands(int fd)
{
    static const char request[] = "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                                  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
    char answer[4096] = "";
    size_t filled = 0;
    if (send(fd, request, sizeof request - 1, MSG_NOSIGNAL) != sizeof request - 1)
        die("load: handshake", errno);
    while (!strstr(answer, "\r\n\r\n")) {
        ssize_t length = recv(fd, answer + filled, sizeof answer - 1 - filled, 0);
        if (length <= 0)
            die("load: handshake", length ? errno : ECONNRESET);
        filled += (size_t)length;
        answer[filled] = 0;
    }
    if (memcmp(answer, "HTTP/1.1 101", 12) || !strstr(answer, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")) {
        fprintf(stderr, "load: the server does not speak WebSocket: %.*s\n", (int)strcspn(answer, "\r\n"), answer);
        exit(1);
    }
}

static void open_connection(unsigned index)
{
    struct connection *connection = &connections[index];
    size_t length = HEADER_MAX + options->size;
    connection->fd = load_connect(options);
    shake_hands(connection->fd);
    connection->message = malloc(length);
    connection->frame = malloc(length);
    connection->answer = malloc(length);
    if (!connection->message || !connection->frame || !connection->answer)
        die("load: memory", ENOMEM);
    load_fill(connection->key, KEY_LENGTH, index + 1);
    header_length = put_header(connection->message, NULL);
    put_header(connection->frame, connection->key);
    load_fill(connection->message + header_length, options->size, index);
}

static void open_connections(void)
{
    int *descriptors = malloc(options->connections * sizeof *descriptors);
    connections = calloc(options->connections, sizeof *connections);
    if (!descriptors || !connections)
        die("load: memory", ENOMEM);
    for (unsigned index = 0; index < options->connections; index++) {
        open_connection(index);
        descriptors[index] = connections[index].fd;
    }
    ring_register(&ring, IORING_REGISTER_FILES, descriptors, options->connections);
    free(descriptors);
    alive = options->connections;
}

void load_websocket(const struct load_options *load_options, struct load_clock *load_clock,
                    struct load_result *load_result)
{
    options = load_options;
    clock_ = load_clock;
    result = load_result;
    if (options->size > PAYLOAD_MAX)
        die("load: a message of a WebSocket", EMSGSIZE);
    ring_setup_fast(&ring, 1024, 16384);
    open_connections();
    ring_register_fd(&ring);
    load_start(options, clock_);
    for (unsigned index = 0; index < options->connections; index++) {
        arm_receive(index);
        ask(index);
    }
    do
        complete();
    while (alive && load_turn(options, &ring, clock_, result));
    if (!alive) {
        fprintf(stderr, "load: no connection is left\n");
        exit(1);
    }
    for (unsigned index = 0; index < options->connections; index++) {
        if (connections[index].asked && !connections[index].ended
            && clock_->ended - connections[index].sent_at > SILENCE_NS)
            give_up(index, "no echo for more than a second", 0);
        close(connections[index].fd);
    }
}
