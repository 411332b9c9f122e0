// TLS by OpenSSL. A connection's state, its buffers included, lives until the process ends.
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>

#include "load_tls.h"

struct load_tls {
    SSL *ssl;
    BIO *incoming, *outgoing;
    unsigned char *sealed;
    size_t sealed_room;
};

static void fail(const char *what)
{
    fprintf(stderr, "load: %s: %s\n", what, ERR_reason_error_string(ERR_peek_error()));
    exit(1);
}

struct load_tls *load_tls_open(int fd)
{
    static SSL_CTX *context;
    if (!context && !(context = SSL_CTX_new(TLS_client_method())))
        fail("TLS");
    struct load_tls *tls = calloc(1, sizeof *tls);
    if (!tls || !(tls->ssl = SSL_new(context)) || !SSL_set_fd(tls->ssl, fd) || SSL_connect(tls->ssl) != 1)
        fail("TLS handshake");
    // From here on OpenSSL sees memory only.
    tls->incoming = BIO_new(BIO_s_mem());
    tls->outgoing = BIO_new(BIO_s_mem());
    if (!tls->incoming || !tls->outgoing)
        fail("TLS");
    SSL_set_bio(tls->ssl, tls->incoming, tls->outgoing);
    return tls;
}

const unsigned char *load_tls_seal(struct load_tls *tls, const unsigned char *data, size_t length, size_t *sealed)
{
    size_t taken;
    if (!SSL_write_ex(tls->ssl, data, length, &taken) || taken != length)
        return NULL;
    size_t pending = BIO_ctrl_pending(tls->outgoing);
    if (pending > tls->sealed_room) {
        free(tls->sealed);
        tls->sealed = malloc(tls->sealed_room = pending);
        if (!tls->sealed)
            return NULL;
    }
    return BIO_read_ex(tls->outgoing, tls->sealed, pending, sealed) && *sealed == pending ? tls->sealed : NULL;
}

void load_tls_feed(struct load_tls *tls, const unsigned char *data, size_t length)
{
    size_t taken;
    if (!BIO_write_ex(tls->incoming, data, length, &taken) || taken != length)
        fail("TLS memory");
}

int load_tls_read(struct load_tls *tls, unsigned char *data, size_t room)
{
    size_t count;
    if (SSL_read_ex(tls->ssl, data, room, &count))
        return (int)count;
    return SSL_get_error(tls->ssl, 0) == SSL_ERROR_WANT_READ ? 0 : -1;
}
