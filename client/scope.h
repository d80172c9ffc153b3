/* Scoped IPv6 addresses, fe80::1%eth0: reachable through that interface only. */
#ifndef TROUPE_CLIENT_SCOPE_H
#define TROUPE_CLIENT_SCOPE_H

#include <stddef.h>

/* Replaces the interface's name in a url like tcp6://[fe80::1%Eth0]:7700 by its number where nng
 * would get the name wrong: it writes hosts in small letters, and an interface eth0 is another one.
 * A name that no interface has stays as it is. */
void scope_keep_case(char *url, size_t bytes);

#endif
