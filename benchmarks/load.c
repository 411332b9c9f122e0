// Load generator: many connections to an echo server, what comes back compared, latencies in a histogram.
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

enum { SOURCE_ADDRESSES = 64 };

static const char usage[] =
    "usage: load HOST PORT [options]    or: load --unix PATH [options]\n"
    "  --connections N     connections (50)\n"
    "  --active-percent P  how many of them send; the others exchange one message and stay silent (100)\n"
    "  --size BYTES        bytes per message (64)\n"
    "  --pipeline K        messages in flight per connection (1)\n"
    "  --seconds S         measured time (3)\n"
    "  --warmup S          time before it that is not measured (0.5)\n"
    "  --mode MODE         echo: lasting connections; connect: a new connection per message; upload, download: one\n"
    "                      message after the other, each through a connection of its own, without an echo; websocket: binary\n"
    "                      messages of WebSockets; http: requests on lasting connections; http-connect: a new\n"
    "                      connection per request (echo)\n"
    "  --request FILE      of HTTP: the bytes of the request\n"
    "  --expect FILE       of HTTP: the body of the answer, whose status must be 200\n"
    "  --rate N            of HTTP: requests per second, over all connections, each on schedule whatever becomes of\n"
    "                      the others; latency runs from the scheduled moment. Without it a connection sends the\n"
    "                      next when it has the answer\n"
    "  --compare-every N   compare the bytes of one message in N; of the others only the length counts (1)\n"
    "  --spin              never sleep, so that no latency has the waking up of this process in it\n"
    "  --udp               datagrams\n"
    "  --tls               TLS; the server's certificate is not checked\n"
    "  --announce          write the lines begin and end to standard error around the measured time, and keep the\n"
    "                      connections afterwards until the end of standard input\n";

uint64_t load_now_ns(void)
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
    clock->now = load_now_ns();
    clock->begin = clock->now + (uint64_t)(options->warmup * 1e9);
    clock->end = clock->begin + (uint64_t)(options->seconds * 1e9);
    clock->measuring = false;
}

bool load_turn(const struct load_options *options, struct ring *ring, struct load_clock *clock,
               struct load_result *result)
{
    static const struct __kernel_timespec tick = {.tv_nsec = 50 * 1000 * 1000};
    if (options->spinning)
        ring_poll(ring);
    else
        ring_turn(ring, &tick);
    return load_tick(options, clock, result);
}

bool load_tick(const struct load_options *options, struct load_clock *clock, struct load_result *result)
{
    clock->now = load_now_ns();
    if (!clock->measuring && clock->now >= clock->begin) {
        uint64_t errors = result->errors, lost = result->lost;  // trouble counts whenever it came
        *result = (struct load_result){.errors = errors, .lost = lost};
        if (options->announcing)
            fputs("begin\n", stderr);
        clock->measuring = true;
        clock->cpu_seconds = cpu_seconds();
        clock->began = clock->now = load_now_ns();
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

// The answer to "cannot assign requested address": 28,000 ports a source address, times as many as there are.
static void choose_source(int fd)
{
    static uint32_t turn;
    int one = 1;
    struct sockaddr_in source = {.sin_family = AF_INET,
                                 .sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1 + turn++ % SOURCE_ADDRESSES)};
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
    if (bind(fd, (struct sockaddr *)&source, sizeof source) < 0)
        die("load: bind", errno);
}

int load_socket(const struct load_options *options)
{
    socklen_t length;
    const struct sockaddr *address = load_address(options, &length);
    int fd = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        die("load: socket", errno);
    const struct sockaddr_in *internet = (const struct sockaddr_in *)address;
    if (address->sa_family == AF_INET && ntohl(internet->sin_addr.s_addr) >> 24 == 127)
        choose_source(fd);
    load_set_nodelay(fd);
    return fd;
}

static _Noreturn void refuse(const char *why)
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

static const char *const modes[] = {
    [LOAD_ECHO] = "echo", [LOAD_CONNECT] = "connect", [LOAD_UPLOAD] = "upload", [LOAD_DOWNLOAD] = "download",
    [LOAD_WEBSOCKET] = "websocket", [LOAD_HTTP] = "http", [LOAD_HTTP_CONNECT] = "http-connect"};

static enum load_mode mode(const char *name)
{
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
        if (!strcmp(name, modes[i]))
            return (enum load_mode)i;
    }
    refuse("the modes are echo, connect, upload, download, websocket, http and http-connect");
}

static unsigned char *contents(const char *path, size_t *length)
{
    FILE *file = fopen(path, "rb");
    if (!file)
        die(path, errno);
    size_t room = 1 << 16;
    unsigned char *bytes = malloc(room);
    for (*length = 0; bytes && !feof(file);) {
        *length += fread(bytes + *length, 1, room - *length, file);
        if (ferror(file))
            die(path, errno);
        if (*length == room)
            bytes = realloc(bytes, room *= 2);
    }
    if (!bytes)
        die(path, ENOMEM);
    fclose(file);
    return bytes;
}

static struct load_options parse(int count, char **arguments)
{
    static const struct option known[] = {
        {"connections", required_argument, NULL, 'c'}, {"active-percent", required_argument, NULL, 'a'},
        {"size", required_argument, NULL, 'b'},        {"pipeline", required_argument, NULL, 'k'},
        {"seconds", required_argument, NULL, 's'},     {"warmup", required_argument, NULL, 'w'},
        {"mode", required_argument, NULL, 'm'},        {"unix", required_argument, NULL, 'u'},
        {"udp", no_argument, NULL, 'd'},               {"announce", no_argument, NULL, 'n'},
        {"tls", no_argument, NULL, 't'},               {"compare-every", required_argument, NULL, 'e'},
        {"spin", no_argument, NULL, 'i'},              {"request", required_argument, NULL, 'r'},
        {"expect", required_argument, NULL, 'x'},      {"rate", required_argument, NULL, 'p'},
        {NULL, 0, NULL, 0}};
    struct load_options options = {
        .connections = 50, .pipeline = 1, .compare_every = 1, .size = 64, .seconds = 3, .warmup = 0.5};
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
        case 'e': options.compare_every = (unsigned)number(optarg, 1, 1 << 20); break;
        case 'i': options.spinning = true; break;
        case 'r': options.request = contents(optarg, &options.request_length); break;
        case 'x': options.expected = contents(optarg, &options.size); break;
        case 'p': options.rate = number(optarg, 0.001, 1e9); break;
        case 'm': options.mode = mode(optarg); break;
        default: refuse("unknown option");
        }
    }
    bool http = options.mode >= LOAD_HTTP;
    options.active = (unsigned)((double)options.connections * active_percent / 100 + 0.5);
    if (count - optind != (options.unix_path ? 0 : 2))
        refuse("a host and a port are needed, or --unix PATH");
    if (options.datagrams && (options.unix_path || options.mode || options.pipeline > 1 || options.size > 65507))
        refuse("--udp goes with neither --unix, --mode, --pipeline nor more than 65507 bytes");
    if (options.tls && (options.datagrams || options.mode))
        refuse("--tls goes with neither --udp nor --mode");
    if (options.compare_every > 1 && !http && (options.datagrams || options.tls || options.unix_path
                                               || options.mode || options.pipeline > 1))
        refuse("--compare-every goes with neither --udp, --tls, --unix, --mode (but HTTP's) nor --pipeline");
    if (http != (options.request && options.expected) || (!http && (options.request || options.expected)))
        refuse("--mode http and http-connect need --request and --expect; no other does");
    if ((http || options.mode == LOAD_WEBSOCKET) && options.pipeline > 1)
        refuse("--mode websocket, http and http-connect do not go with --pipeline");
    if (options.rate > 0 && !http)
        refuse("--rate goes with --mode http and http-connect only");
    if (options.rate > 0 && !options.active)
        refuse("--rate needs connections that are active");
    if (options.mode == LOAD_UPLOAD || options.mode == LOAD_DOWNLOAD)
        options.connections = options.active = 1;
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
           modes[options->mode], options->connections, options->active, options->size,
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
    static void (*const run[])(const struct load_options *, struct load_clock *, struct load_result *) = {
        [LOAD_ECHO] = load_echo, [LOAD_CONNECT] = load_connections,
        [LOAD_UPLOAD] = load_transfers, [LOAD_DOWNLOAD] = load_transfers,
        [LOAD_WEBSOCKET] = load_websocket, [LOAD_HTTP] = load_http, [LOAD_HTTP_CONNECT] = load_http};
    run[options.mode](&options, &clock, &result);
    report(&options, &clock, &result);
    if (result.errors)
        fprintf(stderr, "load: %llu errors\n", (unsigned long long)result.errors);
    if (!result.latencies.total && options.active)
        fprintf(stderr, "load: not one message came back\n");
    return result.errors || (!result.latencies.total && options.active);
}
