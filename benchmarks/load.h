// The load generator's options and results, shared by its modes.
#ifndef BENCHMARKS_LOAD_H
#define BENCHMARKS_LOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "histogram.h"
#include "ring.h"

struct load_options {
    const char *host, *port, *unix_path;
    bool datagrams;                    // UDP instead of TCP
    bool tls;
    bool spinning;                     // never sleep
    enum load_mode {
        LOAD_ECHO, LOAD_CONNECT, LOAD_UPLOAD, LOAD_DOWNLOAD, LOAD_WEBSOCKET, LOAD_HTTP, LOAD_HTTP_CONNECT
    } mode;
    bool announcing;                   // tell the harness what is measured: see usage in load.c
    unsigned connections, active;      // active: those that send; the others stay silent
    unsigned pipeline;                 // messages in flight per connection
    unsigned compare_every;            // of so many messages one is compared; the others are thrown away unseen
    size_t size;                       // bytes per message; of HTTP, in the body of the answer
    const unsigned char *request, *expected;  // of HTTP: the whole request, and the answer's body
    size_t request_length;
    double rate;                       // of HTTP: requests per second; 0: the next when there is an answer
    double seconds, warmup;
};

struct load_result {
    struct histogram latencies;        // nanoseconds
    uint64_t errors;                   // wrong bytes, resets, early ends
    uint64_t lost;                     // datagrams without an answer for a second
};

// What is measured lies between two instants; whatever completes before the first is forgotten.
struct load_clock {
    uint64_t now, begin, end;          // nanoseconds, CLOCK_MONOTONIC
    bool measuring;
    uint64_t began, ended;             // when measuring really began and ended
    double cpu_seconds;                // of this process while measuring
};

uint64_t load_now_ns(void);
// Keeps the clock. Returns false when the time is over.
bool load_tick(const struct load_options *options, struct load_clock *clock, struct load_result *result);
// Waits for completions, submits, and keeps the clock, in the same way.
bool load_turn(const struct load_options *options, struct ring *ring, struct load_clock *clock,
               struct load_result *result);
void load_start(const struct load_options *options, struct load_clock *clock);

// A connected blocking socket. Exits with a message when there is no server: without one there is nothing to measure.
int load_connect(const struct load_options *options);
// The address of the server, resolved once.
const struct sockaddr *load_address(const struct load_options *options, socklen_t *length);
void load_set_nodelay(int fd);
// A stream socket that is yet to be connected, once of many. Exits with a message when there is none to be had.
int load_socket(const struct load_options *options);

void load_echo(const struct load_options *options, struct load_clock *clock, struct load_result *result);
void load_connections(const struct load_options *options, struct load_clock *clock, struct load_result *result);
void load_transfers(const struct load_options *options, struct load_clock *clock, struct load_result *result);
void load_http(const struct load_options *options, struct load_clock *clock, struct load_result *result);
void load_websocket(const struct load_options *options, struct load_clock *clock, struct load_result *result);

// Bytes that differ from message to message and from place to place, so that any mix-up is found by comparing.
static inline void load_fill(unsigned char *message, size_t size, uint64_t seed)
{
    for (size_t i = 0; i < size; i++)
        message[i] = (unsigned char)((seed + i) * 0x9e3779b97f4a7c15ULL >> 56);
}

static inline void load_stamp(unsigned char *message, size_t size, uint64_t number)
{
    memcpy(message, &number, size < sizeof number ? size : sizeof number);
}

#endif
