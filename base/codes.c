/* The names and texts of statuses and error codes, out of their X-macros. */
#include "troupe/error.h"
#include "troupe/status.h"

const char *troupe_status_name(int status)
{
    switch (status) {
#define X(name, number, text)                                                                      \
    case number:                                                                                   \
        return #name;
        TROUPE_STATUS_MAP(X)
#undef X
    default:
        return "STATUS?";
    }
}

const char *troupe_error_name(int code)
{
    switch (code) {
    case 0:
        return "OK";
#define X(name, number, text)                                                                      \
    case number:                                                                                   \
        return #name;
        TROUPE_ERROR_MAP(X)
#undef X
    default:
        return "E?";
    }
}

const char *troupe_error_text(int code)
{
    switch (code) {
    case 0:
        return "success";
#define X(name, number, text)                                                                      \
    case number:                                                                                   \
        return text;
        TROUPE_ERROR_MAP(X)
#undef X
    default:
        return "unknown error code";
    }
}
