// Load generator: many connections to an echo server, every byte that comes back compared, latencies in a histogram.
//
// It runs on io_uring in one thread, because it must cost less than what it measures: a turn is one system call for
// the messages of all connections that are ready. A message's latency runs from the turn that submits it to the turn
// that finds its last byte. The result is one JSON object on standard output; trouble is told on standard error, with
// exit status 1.
#include <getopt.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/un.h>
#include <time.h>

#include "load.h"

static const char usage[] =
    "usage: load HOST PORT [options]    or: load --unix PATH [options]\n"
    "  --connections N     connections (50)\n"
    "  --active-percent P  how many of them send; the others exchange one message and stay silent (100)\n"
    "  --size BYTES        bytes per message (64)\n"
    "  --pipeline K        messages in flight per connection (1)\n"
    "  --seconds S         measured time (3)\n"
    "  --warmup S          time before it that is not measured (0.5)\n"
    "  --mode echo|connect lasting connections, or a new connection per message (echo)\n"
    "  --udp               datagrams\n"
    "  --tls               TLS; the server's certificate is not checked\n"
    "  --announce          write the lines begin and end to standard error around the measured time, and keep the\n"
    "                      connections afterwards until the end of standard input\n";

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000ULL + (uint64_t)now.tv_nsec;
}

static double cpu_seconds(void)
{
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    return (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec)
         + (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
}

void load_start(const struct load_options *options, struct load_clock *clock)
{
    clock->now = now_ns();
    clock->begin = clock->now + (uint64_t)(options->warmup * 1e9);
    clock->end = clock->begin + (uint64_t)(options->seconds * 1e9);
    clock->measuring = false;
}

bool load_turn(const struct load_options *options, struct ring *ring, struct load_clock *clock,
               struct load_result *result)
{
    static const struct __kernel_timespec tick = {.tv_nsec = 50 * 1000 * 1000};
    ring_turn(ring, &tick);
    clock->now = now_ns();
    if (!clock->measuring && clock->now >= clock->begin) {
        uint64_t errors = result->errors, lost = result->lost;  // trouble counts whenever it came
        *result = (struct load_result){.errors = errors, .lost = lost};
        if (options->announcing)
            fputs("begin\n", stderr);
        clock->measuring = true;
        clock->cpu_seconds = cpu_seconds();
        clock->began = clock->now = now_ns();
        clock->end = clock->began + (uint64_t)(options->seconds * 1e9);
    } else if (clock->measuring && clock->now >= clock->end) {
        if (options->announcing)
            fputs("end\n", stderr);
        clock->ended = clock->now;
        clock->cpu_seconds = cpu_seconds() - clock->cpu_seconds;
        while (options->announcing && getchar() != EOF)
            ;
        return false;
    }
    return true;
}

const struct sockaddr *load_address(const struct load_options *options, socklen_t *length)
{
    static struct sockaddr_storage address;
    static socklen_t address_length;
    if (!address_length && options->unix_path) {
        struct sockaddr_un *path = (struct sockaddr_un *)&address;
        path->sun_family = AF_UNIX;
        if (strlen(options->unix_path) >= sizeof path->sun_path)
            die(options->unix_path, ENAMETOOLONG);
        strcpy(path->sun_path, options->unix_path);
        address_length = sizeof *path;
    } else if (!address_length) {
        struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found;
        int error = getaddrinfo(options->host, options->port, &hints, &found);
        if (error) {
            fprintf(stderr, "load: %s port %s: %s\n", options->host, options->port, gai_strerror(error));
            exit(1);
        }
        memcpy(&address, found->ai_addr, found->ai_addrlen);
        address_length = found->ai_addrlen;
        freeaddrinfo(found);
    }
    *length = address_length;
    return (const struct sockaddr *)&address;
}

void load_set_nodelay(int fd)
{
    int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);  // on a Unix socket it fails and need not succeed
}

int load_connect(const struct load_options *options)
{
    socklen_t length;
    const struct sockaddr *address = load_address(options, &length);
    int fd = socket(address->sa_family, (options->datagrams ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC, 0);
    if (fd < 0)
        die("load: socket", errno);
    if (connect(fd, address, length) < 0) {
        int error = errno;
        if (options->unix_path)
            fprintf(stderr, "load: cannot connect to %s: %s\n", options->unix_path, strerror(error));
        else
            fprintf(stderr, "load: cannot connect to %s port %s: %s\n", options->host, options->port, strerror(error));
        exit(1);
    }
    load_set_nodelay(fd);
    return fd;
}

static void refuse(const char *why)
{
    fprintf(stderr, "load: %s\n%s", why, usage);
    exit(2);
}

static double number(const char *text, double least, double most)
{
    char *rest;
    double value = strtod(text, &rest);
    if (*rest || rest == text || !(value >= least && value <= most))
        refuse("a number is missing or out of range");
    return value;
}

static struct load_options parse(int count, char **arguments)
{
    static const struct option known[] = {
        {"connections", required_argument, NULL, 'c'}, {"active-percent", required_argument, NULL, 'a'},
        {"size", required_argument, NULL, 'b'},        {"pipeline", required_argument, NULL, 'k'},
        {"seconds", required_argument, NULL, 's'},     {"warmup", required_argument, NULL, 'w'},
        {"mode", required_argument, NULL, 'm'},        {"unix", required_argument, NULL, 'u'},
        {"udp", no_argument, NULL, 'd'},               {"announce", no_argument, NULL, 'n'},
        {"tls", no_argument, NULL, 't'},               {NULL, 0, NULL, 0}};
    struct load_options options = {.connections = 50, .pipeline = 1, .size = 64, .seconds = 3, .warmup = 0.5};
    double active_percent = 100;
    int option;
    while ((option = getopt_long(count, arguments, "", known, NULL)) != -1) {
        switch (option) {
        case 'c': options.connections = (unsigned)number(optarg, 1, 1 << 20); break;
        case 'a': active_percent = number(optarg, 0, 100); break;
        case 'b': options.size = (size_t)number(optarg, 1, 1 << 30); break;
        case 'k': options.pipeline = (unsigned)number(optarg, 1, 1 << 16); break;
        case 's': options.seconds = number(optarg, 0.001, 1e6); break;
        case 'w': options.warmup = number(optarg, 0, 1e6); break;
        case 'u': options.unix_path = optarg; break;
        case 't': options.tls = true; break;
        case 'd': options.datagrams = true; break;
        case 'n': options.announcing = true; break;
        case 'm':
            options.connecting = !strcmp(optarg, "connect");
            if (!options.connecting && strcmp(optarg, "echo"))
                refuse("the modes are echo and connect");
            break;
        default: refuse("unknown option");
        }
    }
    options.active = (unsigned)((double)options.connections * active_percent / 100 + 0.5);
    if (count - optind != (options.unix_path ? 0 : 2))
        refuse("a host and a port are needed, or --unix PATH");
    if (options.datagrams && (options.unix_path || options.connecting || options.pipeline > 1 || options.size > 65507))
        refuse("--udp goes with neither --unix, --mode connect, --pipeline nor more than 65507 bytes");
    if (options.tls && (options.datagrams || options.connecting))
        refuse("--tls goes with neither --udp nor --mode connect");
    if (!options.unix_path) {
        options.host = arguments[optind];
        options.port = arguments[optind + 1];
    }
    return options;
}

static void raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static void report(const struct load_options *options, const struct load_clock *clock, const struct load_result *result)
{
    const struct histogram *latencies = &result->latencies;
    double seconds = (double)(clock->ended - clock->began) / 1e9;
    printf("{\"mode\": \"%s\", \"connections\": %u, \"active\": %u, \"size\": %zu, \"pipeline\": %u, ",
           options->connecting ? "connect" : "echo", options->connections, options->active, options->size,
           options->pipeline);
    printf("\"seconds\": %.6f, ", seconds);
    printf("\"messages\": %llu, \"messages_per_second\": %.1f, \"latency_us\": {",
           (unsigned long long)latencies->total, (double)latencies->total / seconds);
    static const struct { const char *name; double fraction; } quantiles[] = {
        {"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p99.9", 0.999}};
    for (size_t i = 0; i < sizeof quantiles / sizeof *quantiles; i++)
        printf("\"%s\": %.2f, ", quantiles[i].name, (double)histogram_quantile(latencies, quantiles[i].fraction) / 1e3);
    printf("\"max\": %.2f}, \"errors\": %llu, \"lost\": %llu, \"load_cpu_seconds\": %.6f}\n",
           (double)latencies->largest / 1e3, (unsigned long long)result->errors, (unsigned long long)result->lost,
           clock->cpu_seconds);
}

int main(int count, char **arguments)
{
    static struct load_result result;
    struct load_options options = parse(count, arguments);
    struct load_clock clock;
    raise_descriptor_limit();
    (options.connecting ? load_connections : load_echo)(&options, &clock, &result);
    report(&options, &clock, &result);
    if (result.errors)
        fprintf(stderr, "load: %llu errors\n", (unsigned long long)result.errors);
    if (!result.latencies.total && options.active)
        fprintf(stderr, "load: not one message came back\n");
    return result.errors || (!result.latencies.total && options.active);
}
