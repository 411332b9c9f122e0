// TLS for the load generator: bytes are sealed before they are sent and opened after they were received, in memory,
// so that the ring stays the only thing that touches the socket.
#ifndef BENCHMARKS_LOAD_TLS_H
#define BENCHMARKS_LOAD_TLS_H

#include <stddef.h>

struct load_tls;

// Shakes hands on a connected blocking socket. The server's certificate is not checked. Exits with a message on
// failure.
struct load_tls *load_tls_open(int fd);
// Seals; the result is valid until the next call for the same connection. NULL on failure.
const unsigned char *load_tls_seal(struct load_tls *tls, const unsigned char *data, size_t length, size_t *sealed);
// Takes received bytes; what they open to is then read until 0 (no more for now) or -1 (broken).
void load_tls_feed(struct load_tls *tls, const unsigned char *data, size_t length);
int load_tls_read(struct load_tls *tls, unsigned char *data, size_t room);

#endif
