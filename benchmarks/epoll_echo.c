// TCP echo server on epoll, level-triggered: what a careful readiness-based server costs.
//
// Per message: epoll_wait (shared by all that are ready), read, write. What the socket does not take at once is kept,
// and the connection is not read until it is gone: a connection waits either for input or for output, never for both.
#include <stdbool.h>
#include <sys/epoll.h>

#include "echo.h"

enum { EVENTS_MAX = 512 };

struct connection {
    int fd;
    unsigned char *rest;     // not yet written; NULL when everything was
    size_t offset, length;   // of the rest
};

static unsigned char *buffer;
static size_t buffer_size;
static int epoll, listener;
static unsigned connection_count, connections_max;

static void watch(int operation, int fd, uint32_t events, void *owner)
{
    struct epoll_event event = {.events = events, .data.ptr = owner};
    echo_check(epoll_ctl(epoll, operation, fd, &event), "epoll_ctl");
}

static void end(struct connection *connection)
{
    if (connection_count-- == connections_max)
        watch(EPOLL_CTL_MOD, listener, EPOLLIN, &listener);
    close(connection->fd);   // leaves the epoll set with it
    free(connection->rest);
    free(connection);
}

static void accept_all(void)
{
    while (connection_count < connections_max) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0)
            return;
        struct connection *connection = calloc(1, sizeof *connection);
        if (!connection) {
            close(fd);
            return;
        }
        connection->fd = fd;
        connection_count++;
        watch(EPOLL_CTL_ADD, fd, EPOLLIN, connection);
    }
    watch(EPOLL_CTL_MOD, listener, 0, &listener);
}

static bool would_block(void)
{
    return errno == EAGAIN || errno == EINTR;
}

static void keep_rest(struct connection *connection, const unsigned char *data, size_t length)
{
    connection->rest = malloc(length);
    if (!connection->rest) {
        end(connection);
        return;
    }
    memcpy(connection->rest, data, length);
    connection->offset = 0;
    connection->length = length;
    watch(EPOLL_CTL_MOD, connection->fd, EPOLLOUT, connection);
}

static void read_and_write(struct connection *connection)
{
    ssize_t length = recv(connection->fd, buffer, buffer_size, 0);
    if (length < 0 && would_block())
        return;
    if (length <= 0) {
        end(connection);
        return;
    }
    ssize_t written = send(connection->fd, buffer, (size_t)length, MSG_NOSIGNAL);
    if (written < 0 && !would_block())
        end(connection);
    else if (written < length)
        keep_rest(connection, buffer + (written < 0 ? 0 : written), (size_t)(length - (written < 0 ? 0 : written)));
}

static void write_rest(struct connection *connection)
{
    ssize_t written = send(connection->fd, connection->rest + connection->offset, connection->length, MSG_NOSIGNAL);
    if (written < 0) {
        if (!would_block())
            end(connection);
        return;
    }
    connection->offset += (size_t)written;
    connection->length -= (size_t)written;
    if (connection->length == 0) {
        free(connection->rest);
        connection->rest = NULL;
        watch(EPOLL_CTL_MOD, connection->fd, EPOLLIN, connection);
    }
}

int main(int count, char **arguments)
{
    struct echo_options options = echo_parse(count, arguments);
    echo_raise_descriptor_limit();
    buffer_size = options.buffer_size;
    connections_max = options.connections;
    buffer = malloc(buffer_size);
    echo_check(epoll = epoll_create1(EPOLL_CLOEXEC), "epoll_create1");
    int end_signal = echo_end_signal();
    listener = echo_listen(&options, SOCK_NONBLOCK);
    watch(EPOLL_CTL_ADD, listener, EPOLLIN, &listener);
    watch(EPOLL_CTL_ADD, end_signal, EPOLLIN, &end_signal);

    struct epoll_event events[EVENTS_MAX];
    for (bool running = buffer != NULL; running;) {
        int ready = epoll_wait(epoll, events, EVENTS_MAX, -1);
        for (int i = 0; i < ready; i++) {
            void *owner = events[i].data.ptr;
            if (owner == &listener)
                accept_all();
            else if (owner == &end_signal)
                running = false;
            else if (((struct connection *)owner)->rest)
                write_rest(owner);
            else
                read_and_write(owner);
        }
    }
    free(buffer);
    return 0;
}
