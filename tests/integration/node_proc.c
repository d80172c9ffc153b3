/* See node_proc.h. */
#include "tests/integration/node_proc.h"

#include <arpa/inet.h>
#include <nng/protocol/reqrep0/req.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/name.h"

/* last: cmocka wants the ones above */
#include <cmocka.h>

enum { ARGS_MAX = 64, CALL_TIMEOUT_MS = 10000 };

const char NODE_PROGRAM[] = TEST_NODE_PROGRAM;
const char NODE_GIGBOOK[] = TEST_GIGBOOK;
const char NODE_COUNTER[] = TEST_COUNTER;

/* ---- processes ---- */

void node_start_env(struct proc *p, const char *dir, const char *const *args,
                    const char *const *env)
{
    const char *argv[ARGS_MAX] = {NODE_PROGRAM,   "--listen", "127.0.0.1:0",
                                  "--log-format", "json",     NULL};
    size_t n = 5;
    for (; args != NULL && *args != NULL; args++) {
        assert_true(n < ARGS_MAX - 1);
        argv[n++] = *args;
    }
    proc_start(p, &(struct proc_options){.argv = argv, .env = env, .dir = dir});
}

void node_start(struct proc *p, const char *dir, const char *const *args)
{
    node_start_env(p, dir, args, NULL);
}

void node_wait_ready(struct proc *p, char address[NODE_ADDRESS_BYTES])
{
    static const char key[] = "\"address\":\"";
    const char *line = proc_wait_line(p, "\"msg\":\"ready\"", PROC_TIMEOUT_MS);
    if (line == NULL)
        proc_give_up("the node does not start; see above");
    const char *at = strstr(line, key);
    assert_non_null(at);
    at += sizeof key - 1;
    size_t len = strcspn(at, "\"");
    assert_true(len > 0 && len < NODE_ADDRESS_BYTES);
    memcpy(address, at, len);
    address[len] = '\0';
}

void node_stop(struct proc *p)
{
    proc_signal(p, SIGTERM);
    assert_int_equal(proc_wait_exit(p, PROC_TIMEOUT_MS), 0);
    proc_close(p);
}

/* ---- calls ---- */

nng_socket node_dial(const char *address)
{
    char url[NODE_ADDRESS_BYTES + 8];
    nng_socket socket;
    snprintf(url, sizeof url, "tcp://%s", address);
    assert_int_equal(nng_req0_open(&socket), 0);
    nng_socket_set_ms(socket, NNG_OPT_REQ_RESENDTIME, NNG_DURATION_INFINITE);
    nng_socket_set_ms(socket, NNG_OPT_RECVTIMEO, CALL_TIMEOUT_MS);
    nng_socket_set_ms(socket, NNG_OPT_SENDTIMEO, CALL_TIMEOUT_MS);
    nng_socket_set_size(socket, NNG_OPT_RECVMAXSZ, RPC_FRAME_BYTES_MAX);
    int rc = nng_dial(socket, url, NULL, 0);
    if (rc != 0)
        proc_give_up("%s: %s", url, nng_strerror(rc));
    return socket;
}

static void copy_text(char text[NODE_REPLY_BYTES], struct troupe_bytes bytes)
{
    size_t len = bytes.len < NODE_REPLY_BYTES - 1 ? bytes.len : NODE_REPLY_BYTES - 1;
    if (len > 0)
        memcpy(text, bytes.data, len);
    text[len] = '\0';
}

/* Takes msg. The first result's status, or that of the whole. */
static int exchange(nng_socket socket, nng_msg *msg, char text[NODE_REPLY_BYTES])
{
    struct arena arena;
    struct rpc_reply reply;
    const char *why;
    text[0] = '\0';
    assert_int_equal(nng_sendmsg(socket, msg, 0), 0);
    if (nng_recvmsg(socket, &msg, 0) != 0)
        return -1;
    arena_init(&arena, 0, 0);
    struct troupe_bytes frame = {nng_msg_body(msg), nng_msg_len(msg)};
    assert_int_equal(rpc_reply_decode(&arena, frame, &reply, &why), 0);
    nng_msg_free(msg);
    int status = reply.status;
    if (reply.results_n > 0) {
        status = reply.results[0].status;
        copy_text(text, status == TROUPE_OK ? reply.results[0].payload : reply.results[0].message);
    } else {
        copy_text(text, reply.message);
    }
    arena_close(&arena);
    return status;
}

int node_call(nng_socket socket, const char *entity, const char *method, const char *json,
              char text[NODE_REPLY_BYTES])
{
    struct rpc_call call = {
        .method = troupe_bytes_of(method), .payload = troupe_bytes_of(json), .format = RPC_JSON};
    const char *why;
    assert_int_equal(name_parse(troupe_bytes_of(entity), &call.kind, &call.id, &why), 0);
    struct rpc_request request = {.timeout_ms = 5000, .calls = &call, .calls_n = 1};
    nng_msg *msg;
    assert_int_equal(nng_msg_alloc(&msg, rpc_request_size(&request)), 0);
    rpc_request_encode(&request, nng_msg_body(msg));
    return exchange(socket, msg, text);
}

int node_call_once(const char *address, const char *entity, const char *method, const char *json,
                   char text[NODE_REPLY_BYTES])
{
    nng_socket socket = node_dial(address);
    int status = node_call(socket, entity, method, json, text);
    nng_close(socket);
    return status;
}

int node_send_raw(nng_socket socket, const void *bytes, size_t len, char text[NODE_REPLY_BYTES])
{
    nng_msg *msg;
    assert_int_equal(nng_msg_alloc(&msg, 0), 0);
    assert_int_equal(nng_msg_append(msg, bytes, len), 0);
    return exchange(socket, msg, text);
}

/* ---- below nng ---- */

int node_connect_plain(const char *address)
{
    static const unsigned char hello[8] = {0, 'S', 'P', 0, 0, 0x30, 0, 0}; /* REQ */
    unsigned char peer[8];
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    const char *colon = strrchr(address, ':');
    assert_non_null(colon);
    addr.sin_port = htons((uint16_t)atoi(colon + 1));
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof addr), 0);
    assert_int_equal(send(fd, hello, sizeof hello, MSG_NOSIGNAL), sizeof hello);
    assert_int_equal(recv(fd, peer, sizeof peer, MSG_WAITALL), sizeof peer);
    assert_memory_equal(peer, ((unsigned char[8]){0, 'S', 'P', 0, 0, 0x31, 0, 0}), 8);
    return fd;
}

bool node_wait_hangup(int fd, int timeout_ms)
{
    long deadline_ms = proc_now_ms() + timeout_ms;
    char buf[4096];
    for (;;) {
        struct pollfd pfd = {.fd = fd, .events = POLLIN};
        long left = deadline_ms - proc_now_ms();
        if (left <= 0 || poll(&pfd, 1, (int)left) <= 0)
            return false;
        if (recv(fd, buf, sizeof buf, 0) <= 0)
            return true;
    }
}
