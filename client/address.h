/* The addresses a client is opened with: parsed once, then dialled in turn. */
#ifndef TROUPE_CLIENT_ADDRESS_H
#define TROUPE_CLIENT_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>

enum {
    ADDRESSES_MAX = 64,       /* endpoints after names have been spread over IPv4 and IPv6 */
    ADDRESS_TEXT_BYTES = 300, /* a DNS name of 253 bytes, a port, brackets */
};

struct address {
    char url[ADDRESS_TEXT_BYTES];  /* as nng wants it: tcp4://host:7700, ipc:///path */
    char text[ADDRESS_TEXT_BYTES]; /* as the user knows it: host:7700 */
    bool ipc;                      /* has another framing than tcp */
};

struct address_list {
    struct address *items;
    size_t count;
};

/* Parses "host:port", "tcp://host:port", "[v6]:port" or "ipc://path", separated by commas; a port
 * left out is 7700. A host that is a name becomes two endpoints, IPv4 and IPv6, because nng dials
 * only the first address that a name resolves to. Errors: TROUPE_EINVAL with errmsg naming the bad
 * part, TROUPE_ENOMEM. */
int address_list_parse(struct address_list *list, const char *text, char *errmsg,
                       size_t errmsg_bytes);
void address_list_close(struct address_list *list);

#endif
