/* See scope.h. */
#include "client/scope.h"

#include <ctype.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>

void scope_keep_case(char *url, size_t bytes)
{
    char name[IF_NAMESIZE] = "", port[16];
    char *zone = strchr(url, '%'), *end = zone == NULL ? NULL : strchr(zone, ']');
    if (end == NULL || (size_t)(end - zone) > sizeof name || strlen(end) >= sizeof port)
        return;
    memcpy(name, zone + 1, (size_t)(end - zone) - 1);
    const char *c = name;
    while (*c != '\0' && !isupper((unsigned char)*c))
        c++;
    unsigned number = *c == '\0' ? 0 : if_nametoindex(name);
    if (number == 0)
        return;
    snprintf(port, sizeof port, "%s", end);
    snprintf(zone, bytes - (size_t)(zone - url), "%%%u%s", number, port);
}
