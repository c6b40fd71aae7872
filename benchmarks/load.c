// A small HTTP/1.1 load generator: every connection is a thread that asks for the next URL of a shared list.
//
//     load HOST PORT URLS CONNECTIONS REQUESTS [HEADER ...]
//
// URLS is a file with one path a line, taken in order and from the start again until REQUESTS are sent
// (0: each once). A HEADER is "name: value", sent with every request. Prints one line of JSON: how long it
// took, how many answers were 200, how many came from a cache (X-Pims-Cache: HIT), exact latencies.
#define _GNU_SOURCE
#include <netdb.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MAX_ANSWER = 16 << 20, MAX_REQUEST = 8192, MAX_HEADERS = 2048, RETRIES = 2 };

static char **paths;
static long path_count, request_count;
static const char *host, *port;
static char more_headers[MAX_HEADERS];
static float *latencies; // milliseconds; -1 for a request that got no answer
static atomic_long next_request, answered, cached, failed, body_bytes;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static int dial(void) {
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found;
    if (getaddrinfo(host, port, &hints, &found)) return -1;
    int s = socket(found->ai_family, SOCK_STREAM, 0), on = 1;
    if (s >= 0 && connect(s, found->ai_addr, found->ai_addrlen)) {
        close(s);
        s = -1;
    }
    freeaddrinfo(found);
    if (s >= 0) setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return s;
}

// The head of an answer, as far as it matters here.
struct head {
    int status, closes, hit;
    long body; // bytes of the body; -1 when it does not say
};

static struct head parse(const char *text, const char *end) {
    struct head h = {.status = atoi(text + 9), .body = -1};
    for (const char *line = text; line < end;) {
        const char *eol = memmem(line, (size_t)(end + 2 - line), "\r\n", 2);
        if (!eol) break;
        size_t size = (size_t)(eol - line);
        if (!strncasecmp(line, "content-length:", 15)) h.body = atol(line + 15);
        else if (!strncasecmp(line, "connection:", 11)) h.closes = memmem(line, size, "close", 5) != NULL;
        else if (!strncasecmp(line, "x-pims-cache:", 13)) h.hit = memmem(line, size, "HIT", 3) != NULL;
        line = eol + 2;
    }
    return h;
}

// One request on an open connection; the status, or -1 when no complete answer came.
static int ask(int s, const char *path, char *buffer, struct head *h) {
    char request[MAX_REQUEST];
    int size = snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: %s:%s\r\nAccept: */*\r\n%s\r\n",
                        path, host, port, more_headers);
    if (size >= (int)sizeof request || send(s, request, (size_t)size, MSG_NOSIGNAL) != size) return -1;
    long have = 0;
    char *end = NULL;
    while (!end) {
        long got = recv(s, buffer + have, (size_t)(MAX_ANSWER - have), 0);
        if (got <= 0) return -1;
        have += got;
        end = memmem(buffer, (size_t)have, "\r\n\r\n", 4);
    }
    *h = parse(buffer, end);
    if (h->body < 0 || end + 4 - buffer + h->body > MAX_ANSWER) return -1;
    for (long missing = end + 4 - buffer + h->body - have; missing > 0;) {
        long got = recv(s, buffer + have, (size_t)missing, 0);
        if (got <= 0) return -1;
        have += got;
        missing -= got;
    }
    return h->status;
}

static void *work(void *unused) {
    (void)unused;
    char *buffer = malloc(MAX_ANSWER);
    int s = -1;
    for (;;) {
        long i = atomic_fetch_add(&next_request, 1);
        if (i >= request_count) break;
        struct head h = {0};
        int status = -1;
        double start = now();
        for (int attempt = 0; status < 0 && attempt <= RETRIES; attempt++) { // the server may have hung up
            if (s < 0) s = dial();
            if (s >= 0) status = ask(s, paths[i % path_count], buffer, &h);
            if (s >= 0 && (status < 0 || h.closes)) {
                close(s);
                s = -1;
            }
        }
        latencies[i] = status < 0 ? -1 : (float)((now() - start) * 1e3);
        if (status == 200) {
            answered++;
            cached += h.hit;
            body_bytes += h.body;
        } else failed++;
    }
    if (s >= 0) close(s);
    free(buffer);
    return NULL;
}

static void read_paths(const char *name) {
    FILE *file = fopen(name, "r");
    if (!file) {
        perror(name);
        exit(2);
    }
    char *line = NULL;
    size_t room = 0;
    long capacity = 0;
    for (ssize_t size; (size = getline(&line, &room, file)) > 0;) {
        while (size && (line[size - 1] == '\n' || line[size - 1] == '\r')) line[--size] = 0;
        if (!size) continue;
        if (path_count == capacity) {
            capacity = capacity ? 2 * capacity : 1024;
            paths = realloc(paths, (size_t)capacity * sizeof *paths);
        }
        paths[path_count++] = strdup(line);
    }
    free(line);
    fclose(file);
}

static int ascending(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

int main(int count, char **arguments) {
    if (count < 6) {
        fprintf(stderr, "usage: load HOST PORT URLS CONNECTIONS REQUESTS [HEADER ...]\n");
        return 2;
    }
    host = arguments[1];
    port = arguments[2];
    read_paths(arguments[3]);
    int connections = atoi(arguments[4]);
    request_count = atol(arguments[5]) > 0 ? atol(arguments[5]) : path_count;
    for (int i = 6, used = 0; i < count && used < MAX_HEADERS; i++)
        used += snprintf(more_headers + used, sizeof more_headers - (size_t)used, "%s\r\n", arguments[i]);
    if (!path_count || connections < 1) {
        fprintf(stderr, "load: no URLs, or no connections\n");
        return 2;
    }
    latencies = calloc((size_t)request_count, sizeof *latencies);
    pthread_t *threads = calloc((size_t)connections, sizeof *threads);
    double start = now();
    for (int i = 0; i < connections; i++) pthread_create(&threads[i], NULL, work, NULL);
    for (int i = 0; i < connections; i++) pthread_join(threads[i], NULL);
    double seconds = now() - start;

    long n = 0;
    for (long i = 0; i < request_count; i++)
        if (latencies[i] >= 0) latencies[n++] = latencies[i];
    qsort(latencies, (size_t)n, sizeof *latencies, ascending);
    double p50 = n ? latencies[(n - 1) / 2] : 0, p99 = n ? latencies[(n - 1) * 99 / 100] : 0;
    printf("{\"requests\": %ld, \"answered\": %ld, \"cached\": %ld, \"failed\": %ld, \"seconds\": %.6f, "
           "\"body_bytes\": %ld, \"p50_ms\": %.4f, \"p99_ms\": %.4f}\n",
           request_count, (long)answered, (long)cached, (long)failed, seconds, (long)body_bytes, p50, p99);
    return failed ? 1 : 0;
}
