/* placeholder */
#include "node/runtime/internal.h"
int owners__init(struct runtime *rt)
{
    (void)rt;
    return 0;
}
void owners__close(struct runtime *rt)
{
    (void)rt;
}
void owners__told(struct runtime *rt, uint32_t pid)
{
    (void)rt;
    (void)pid;
}
void owners__frame(struct runtime *rt, struct troupe_bytes frame)
{
    (void)rt;
    (void)frame;
}
void owners__tick(struct runtime *rt)
{
    (void)rt;
}
uint64_t owners__next_ns(const struct runtime *rt)
{
    (void)rt;
    return UINT64_MAX;
}
uint64_t owners__hash(const struct runtime *rt)
{
    (void)rt;
    return 0;
}
