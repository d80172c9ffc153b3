/* Base64 (RFC 4648): how JSON carries bytes. */
#ifndef TROUPE_PROTO_JSON_BASE64_H
#define TROUPE_PROTO_JSON_BASE64_H

#include "troupe/bytes.h"

/* Characters that len bytes become. len is below SIZE_MAX / 2. */
size_t json_base64_size(size_t len);
/* The ordinary alphabet, with padding, no NUL. Returns the size above. */
size_t json_base64_encode(struct troupe_bytes data, char *out);
/* The ordinary or the URL-safe alphabet, padding optional. out has room for 3/4 of text.len; may be
 * the text itself. Returns the bytes written, or -1 when it is not base64. */
long json_base64_decode(struct troupe_bytes text, uint8_t *out);

#endif
