/* The head of an HTTP response, written byte by byte. */
#ifndef IORING_HTTP_H
#define IORING_HTTP_H

#include <Python.h>
#include <arpa/inet.h>
#include <string.h>

/* Headers that decide about the framing, or that the server adds when the application does not give them. */
enum {
    IORING_HTTP_OTHER,
    IORING_HTTP_DATE,
    IORING_HTTP_HOST,
    IORING_HTTP_SERVER,
    IORING_HTTP_EXPECT,
    IORING_HTTP_UPGRADE,
    IORING_HTTP_CONNECTION,
    IORING_HTTP_CONTENT_LENGTH,
    IORING_HTTP_TRANSFER_ENCODING
};

/* Whether a byte may stand in a name (RFC 9110, section 5.6.2). */
static inline int ioring_http_token(unsigned char c)
{
    static const unsigned char others[] = "!#$%&'*+-.^_`|~";

    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c && memchr(others, c, sizeof(others) - 1));
}

/* Whether a byte may not stand in a value: a control byte other than a tab (RFC 9110, section 5.5). */
static inline int ioring_http_control(unsigned char c)
{
    return (c < 0x20 && c != '\t') || c == 0x7f;
}

static inline int ioring_http_is(const char *name, const char *lower, Py_ssize_t length)
{
    for (Py_ssize_t i = 0; i < length; i++)
        if ((name[i] | 0x20) != lower[i])
            return 0;
    return 1;
}

static inline int ioring_http_known(const char *name, Py_ssize_t length)
{
    switch (length) {
    case 4:
        return ioring_http_is(name, "date", 4)   ? IORING_HTTP_DATE
               : ioring_http_is(name, "host", 4) ? IORING_HTTP_HOST
                                                 : IORING_HTTP_OTHER;
    case 6:
        return ioring_http_is(name, "server", 6)   ? IORING_HTTP_SERVER
               : ioring_http_is(name, "expect", 6) ? IORING_HTTP_EXPECT
                                                   : IORING_HTTP_OTHER;
    case 7:
        return ioring_http_is(name, "upgrade", 7) ? IORING_HTTP_UPGRADE : IORING_HTTP_OTHER;
    case 10:
        return ioring_http_is(name, "connection", 10) ? IORING_HTTP_CONNECTION : IORING_HTTP_OTHER;
    case 14:
        /* '-' | 0x20 is '-' itself, and so is '\r' | 0x20: the name was, or will be, looked at as a token. */
        return ioring_http_is(name, "content-length", 14) ? IORING_HTTP_CONTENT_LENGTH : IORING_HTTP_OTHER;
    case 17:
        return ioring_http_is(name, "transfer-encoding", 17) ? IORING_HTTP_TRANSFER_ENCODING : IORING_HTTP_OTHER;
    default:
        return IORING_HTTP_OTHER;
    }
}

/* Writes "name: value\r\n"; there is room for it. How much that is; -1 for a byte in the name, -2 for one in the value
 * that none may have. */
static inline Py_ssize_t ioring_http_field(char *to, const char *name, Py_ssize_t name_length, const char *value,
                                           Py_ssize_t value_length)
{
    char *at = to;

    if (name_length == 0)
        return -1;
    for (Py_ssize_t i = 0; i < name_length; i++) {
        if (!ioring_http_token((unsigned char)name[i]))
            return -1;
        *at++ = name[i];
    }
    *at++ = ':';
    *at++ = ' ';
    for (Py_ssize_t i = 0; i < value_length; i++) {
        if (ioring_http_control((unsigned char)value[i]))
            return -2;
        *at++ = value[i];
    }
    *at++ = '\r';
    *at++ = '\n';
    return at - to;
}

/* Whether these bytes may be the value of a field. */
static inline int ioring_http_is_value(const char *value, Py_ssize_t length)
{
    for (Py_ssize_t i = 0; i < length; i++)
        if (ioring_http_control((unsigned char)value[i]))
            return 0;
    return 1;
}

/* A non-negative number of digits alone; -1 when it is none, or does not fit. */
static inline long long ioring_http_number(const char *digits, Py_ssize_t length)
{
    long long number = 0;

    if (length == 0 || length > 18)
        return -1;
    for (Py_ssize_t i = 0; i < length; i++) {
        if (digits[i] < '0' || digits[i] > '9')
            return -1;
        number = number * 10 + (digits[i] - '0');
    }
    return number;
}

/* Whether a list such as "keep-alive, Upgrade" has the item (which is in lower case). */
static inline int ioring_http_lists(const char *list, Py_ssize_t length, const char *item)
{
    Py_ssize_t size = (Py_ssize_t)strlen(item), start = 0;

    while (start < length) {
        Py_ssize_t end = start, stop;

        while (end < length && list[end] != ',')
            end++;
        stop = end;
        while (start < stop && (list[start] == ' ' || list[start] == '\t'))
            start++;
        while (stop > start && (list[stop - 1] == ' ' || list[stop - 1] == '\t'))
            stop--;
        if (stop - start == size && ioring_http_is(list + start, item, size))
            return 1;
        start = end + 1;
    }
    return 0;
}

/* Of a host: what may stand in a name (RFC 3986, section 3.2.2), besides percent-encoded bytes. */
static inline int ioring_http_unreserved(unsigned char c)
{
    static const unsigned char others[] = "-._~!$&'()*+,;=";

    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c && memchr(others, c, sizeof(others) - 1));
}

static inline int ioring_http_hex(unsigned char c)
{
    return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'f');
}

/* Whether this is an address such as ::1 or v1.x, as it stands between brackets. */
static inline int ioring_http_is_literal(const char *text, Py_ssize_t length)
{
    char copy[INET6_ADDRSTRLEN];
    struct in6_addr address;

    if (length > 2 && (text[0] | 0x20) == 'v') {
        Py_ssize_t at = 1;

        while (at < length && ioring_http_hex((unsigned char)text[at]))
            at++;
        if (at == 1 || at + 1 >= length || text[at] != '.')
            return 0;
        while (++at < length)
            if (text[at] != ':' && !ioring_http_unreserved((unsigned char)text[at]))
                return 0;
        return 1;
    }
    if (length >= (Py_ssize_t)sizeof(copy) || memchr(text, 0, length))
        return 0;
    memcpy(copy, text, length);
    copy[length] = 0;
    return inet_pton(AF_INET6, copy, &address) == 1;
}

/* Whether this is "host" or "host:port"; the host may be empty (RFC 9110, section 7.2). */
static inline int ioring_http_is_host(const char *text, Py_ssize_t length)
{
    Py_ssize_t at = 0;
    long port = 0;

    if (length && text[0] == '[') {
        const char *end = memchr(text, ']', length);

        if (!end || !ioring_http_is_literal(text + 1, end - text - 1))
            return 0;
        at = end - text + 1;
    } else {
        for (; at < length && text[at] != ':'; at++) {
            if (text[at] == '%') {
                if (length - at < 3 || !ioring_http_hex((unsigned char)text[at + 1]) ||
                    !ioring_http_hex((unsigned char)text[at + 2]))
                    return 0;
                at += 2;
            } else if (!ioring_http_unreserved((unsigned char)text[at])) {
                return 0;
            }
        }
    }
    if (at == length)
        return 1;
    if (text[at] != ':')
        return 0;
    while (++at < length) {
        if (text[at] < '0' || text[at] > '9')
            return 0;
        port = port * 10 + (text[at] - '0');
        if (port > 65535)
            return 0;
    }
    return 1;
}

/* Whether a header of a request decides what of a file is sent: its preconditions and ranges, or the encoding. */
enum { IORING_HTTP_PLAIN, IORING_HTTP_CONDITION, IORING_HTTP_ENCODING };

static inline int ioring_http_selects(const char *name, Py_ssize_t length)
{
    if (length > 3 && !memcmp(name, "if-", 3))
        return IORING_HTTP_CONDITION;
    if (length == 5 && !memcmp(name, "range", 5))
        return IORING_HTTP_CONDITION;
    return length == 15 && !memcmp(name, "accept-encoding", 15) ? IORING_HTTP_ENCODING : IORING_HTTP_PLAIN;
}

/* In lower case, a new bytes object; the same one again when it is so already. */
static inline PyObject *ioring_http_lower(PyObject *name)
{
    Py_ssize_t length = PyBytes_GET_SIZE(name), i = 0;
    const char *from = PyBytes_AS_STRING(name);
    PyObject *lower;
    char *to;

    while (i < length && !(from[i] >= 'A' && from[i] <= 'Z'))
        i++;
    if (i == length)
        return Py_NewRef(name);
    lower = PyBytes_FromStringAndSize(NULL, length);
    if (!lower)
        return NULL;
    to = PyBytes_AS_STRING(lower);
    for (i = 0; i < length; i++)
        to[i] = from[i] >= 'A' && from[i] <= 'Z' ? from[i] | 0x20 : from[i];
    return lower;
}

/* Whether these bytes begin with "method target HTTP/1.1\r\n". */
static inline int ioring_http_is_11(const char *data, Py_ssize_t length, const char *method, Py_ssize_t method_length,
                                    const char *target, Py_ssize_t target_length)
{
    static const char version[] = " HTTP/1.1\r\n";
    Py_ssize_t rest = method_length + 1 + target_length;

    return target_length && length >= rest + (Py_ssize_t)sizeof(version) - 1 && data[method_length] == ' ' &&
           !memcmp(data, method, method_length) && !memcmp(data + method_length + 1, target, target_length) &&
           !memcmp(data + rest, version, sizeof(version) - 1);
}

#endif
