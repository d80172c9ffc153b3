/* See clock.h. */
#include "node/shell/clock.h"

#include <time.h>

struct runtime_time clock_now(void)
{
    struct timespec boot, real;
    clock_gettime(CLOCK_BOOTTIME, &boot);
    clock_gettime(CLOCK_REALTIME, &real);
    return (struct runtime_time){
        .mono_ns = (uint64_t)boot.tv_sec * 1000000000 + (uint64_t)boot.tv_nsec,
        .wall_ms = (uint64_t)real.tv_sec * 1000 + (uint64_t)real.tv_nsec / 1000000,
    };
}
