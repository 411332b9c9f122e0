// What the C echo servers have in common: options, the listening socket, the end by a signal.
#ifndef BENCHMARKS_ECHO_H
#define BENCHMARKS_ECHO_H

#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

struct echo_options {
    unsigned port;           // 0: any
    const char *unix_path;   // instead of TCP
    unsigned buffer_size;    // bytes received at once
    unsigned connections;    // at most this many at a time
};

static inline struct echo_options echo_parse(int count, char **arguments)
{
    static const struct option known[] = {{"port", required_argument, NULL, 'p'},
                                          {"unix", required_argument, NULL, 'u'},
                                          {"buffer-size", required_argument, NULL, 'b'},
                                          {"connections", required_argument, NULL, 'c'},
                                          {NULL, 0, NULL, 0}};
    struct echo_options options = {.port = 0, .buffer_size = 4096, .connections = 1024};
    int option;
    while ((option = getopt_long(count, arguments, "", known, NULL)) != -1) {
        if (option == 'p')
            options.port = (unsigned)strtoul(optarg, NULL, 10);
        else if (option == 'u')
            options.unix_path = optarg;
        else if (option == 'b')
            options.buffer_size = (unsigned)strtoul(optarg, NULL, 10);
        else if (option == 'c')
            options.connections = (unsigned)strtoul(optarg, NULL, 10);
        else
            exit(2);
    }
    if (optind != count || options.port > 65535 || !options.connections || !options.buffer_size) {
        fprintf(stderr, "usage: %s [--port N | --unix PATH] [--buffer-size BYTES] [--connections N]\n", arguments[0]);
        exit(2);
    }
    return options;
}

static inline void echo_check(int result, const char *what)
{
    if (result < 0) {
        fprintf(stderr, "%s: %s\n", what, strerror(errno));
        exit(1);
    }
}

// Listens and says where, on standard output.
static inline int echo_listen(const struct echo_options *options, int type_flags)
{
    int one = 1, listener;
    if (options->unix_path) {
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        if (strlen(options->unix_path) >= sizeof address.sun_path) {
            fprintf(stderr, "%s: the path is too long for a socket\n", options->unix_path);
            exit(1);
        }
        strcpy(address.sun_path, options->unix_path);
        unlink(options->unix_path);
        echo_check(listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | type_flags, 0), "socket");
        echo_check(bind(listener, (struct sockaddr *)&address, sizeof address), "bind");
        echo_check(listen(listener, 4096), "listen");
        printf("listening on %s\n", options->unix_path);
    } else {
        struct sockaddr_in address = {.sin_family = AF_INET,
                                      .sin_port = htons((uint16_t)options->port),
                                      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        socklen_t length = sizeof address;
        echo_check(listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | type_flags, 0), "socket");
        setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
        setsockopt(listener, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);  // accepted sockets inherit it
        echo_check(bind(listener, (struct sockaddr *)&address, sizeof address), "bind");
        echo_check(listen(listener, 4096), "listen");
        echo_check(getsockname(listener, (struct sockaddr *)&address, &length), "getsockname");
        printf("listening on 127.0.0.1:%u\n", ntohs(address.sin_port));
    }
    fflush(stdout);
    return listener;
}

// A descriptor that becomes readable when SIGINT or SIGTERM came: a handler could come just before a wait and be
// missed.
static inline int echo_end_signal(void)
{
    sigset_t ends;
    sigemptyset(&ends);
    sigaddset(&ends, SIGINT);
    sigaddset(&ends, SIGTERM);
    signal(SIGINT, SIG_DFL);  // a shell's background job starts with SIGINT ignored, which drops it even when blocked
    signal(SIGPIPE, SIG_IGN);
    sigprocmask(SIG_BLOCK, &ends, NULL);
    int descriptor = signalfd(-1, &ends, SFD_CLOEXEC);
    echo_check(descriptor, "signalfd");
    return descriptor;
}

static inline void echo_raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

#endif
