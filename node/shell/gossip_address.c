/* Addresses of peers come out of other nodes' frames, so they are held against HOST:PORT, [V6]:PORT
 * and [V6%INTERFACE]:PORT before nng sees them. */
#include <stdio.h>
#include <string.h>

#include "client/scope.h"
#include "node/shell/gossip_impl.h"

enum { HOST_BYTES_MAX = 253, PORT_DIGITS_MAX = 5, PORT_MAX = 65535 };

static bool port_is_valid(const char *port)
{
    unsigned number = 0;
    size_t digits = strspn(port, "0123456789");
    if (port[digits] != '\0' || digits > PORT_DIGITS_MAX)
        return false;
    for (size_t i = 0; i < digits; i++)
        number = number * 10 + (unsigned)(port[i] - '0');
    return number >= 1 && number <= PORT_MAX;
}

bool gossip__address_url(const char *address, uint32_t attempt, char url[GOSSIP_URL_BYTES])
{
    static const char name_characters[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_";
    bool v6 = address[0] == '[';
    const char *host = v6 ? address + 1 : address;
    size_t len = strspn(host, v6 ? "0123456789abcdefABCDEF:." : name_characters);
    const char *rest = host + len;
    if (v6 && *rest == '%') {
        size_t scope = strspn(rest + 1, name_characters);
        if (scope == 0)
            return false;
        rest += 1 + scope;
    }
    if (len == 0 || rest - host > HOST_BYTES_MAX || (v6 && *rest++ != ']') || *rest++ != ':' ||
        !port_is_valid(rest))
        return false;
    bool number = strspn(host, "0123456789.") == len;
    bool six = v6 || (!number && attempt % 2 == 1);
    snprintf(url, GOSSIP_URL_BYTES, "%s://%s", six ? "tcp6" : "tcp4", address);
    scope_keep_case(url, GOSSIP_URL_BYTES);
    return true;
}
