/* See proof.h. The text: "boot=UUID ns=INODE pid=N start=TICKS", and behind it "pod=UID", or
 * outside of containers "machine=HASH". */
#include "node/shell/proof.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/name.h"

/* The inode of the first process-id namespace of every boot: PROC_PID_INIT_INO in Linux'
 * include/linux/proc_ns.h. */
#define NS_OF_INIT UINT64_C(0xEFFFFFFC)

enum { MACHINE_ID_BYTES = 32 };

struct identity {
    char boot[40], pod[40], machine[40];
    uint64_t ns, start;
    long pid;
};

/* When a process started (field 22 of /proc/PID/stat) and its state; false when there is none. */
static bool process_started(long pid, uint64_t *start, char *state)
{
    char path[64], line[1024];
    snprintf(path, sizeof path, "/proc/%ld/stat", pid);
    FILE *f = fopen(path, "re");
    if (f == NULL)
        return false;
    size_t len = fread(line, 1, sizeof line - 1, f);
    fclose(f);
    line[len] = '\0';
    char *p = strrchr(line, ')'); /* the name before it may contain anything */
    if (p == NULL || p[1] != ' ')
        return false;
    *state = p[2];
    p += 2;
    for (int field = 3; field < 22; field++) {
        p = strchr(p, ' ');
        if (p == NULL)
            return false;
        p++;
    }
    *start = strtoull(p, NULL, 10);
    return true;
}

/* The machine, whatever its boot: a hash of machine-id(5), which is not to be shown, and of the
 * host's name, by which most copies of a disk differ. Not in a container: its file is the image's.
 */
static void identify_machine(struct identity *me)
{
    char id[MACHINE_ID_BYTES + 1] = "", host[256] = "";
    FILE *f = me->ns == NS_OF_INIT && me->pod[0] == '\0' ? fopen("/etc/machine-id", "re") : NULL;
    if (f == NULL)
        return;
    size_t len = fread(id, 1, MACHINE_ID_BYTES, f);
    fclose(f);
    if (len == MACHINE_ID_BYTES && strspn(id, "0123456789abcdef") == len &&
        gethostname(host, sizeof host - 1) == 0)
        snprintf(me->machine, sizeof me->machine, "%016" PRIx64,
                 name_hash(troupe_bytes_of(id), troupe_bytes_of(host)));
}

static void identify(struct identity *me)
{
    *me = (struct identity){.pid = (long)getpid()};
    char state;
    struct stat st;
    const char *pod = getenv("TROUPE_POD_UID");
    FILE *f = fopen("/proc/sys/kernel/random/boot_id", "re");
    if (f != NULL) {
        size_t len = fread(me->boot, 1, 36, f);
        me->boot[len] = '\0';
        fclose(f);
    }
    if (stat("/proc/self/ns/pid", &st) == 0)
        me->ns = (uint64_t)st.st_ino;
    process_started(me->pid, &me->start, &state);
    if (pod != NULL && strlen(pod) < sizeof me->pod && strpbrk(pod, " =") == NULL)
        memcpy(me->pod, pod, strlen(pod) + 1);
    identify_machine(me);
}

void proof_make(char text[STORE_PROOF_BYTES_MAX + 1])
{
    struct identity me;
    char whole[2 * STORE_PROOF_BYTES_MAX];
    identify(&me);
    int len = snprintf(whole, sizeof whole, "boot=%s ns=%" PRIu64 " pid=%ld start=%" PRIu64,
                       me.boot, me.ns, me.pid, me.start);
    if (me.pod[0] != '\0')
        snprintf(whole + len, sizeof whole - (size_t)len, " pod=%s", me.pod);
    else if (me.machine[0] != '\0')
        snprintf(whole + len, sizeof whole - (size_t)len, " machine=%s", me.machine);
    text[0] = '\0'; /* proves nothing */
    if (strlen(whole) <= STORE_PROOF_BYTES_MAX)
        memcpy(text, whole, strlen(whole) + 1);
}

/* The text behind name in a proof, up to the next space; "" when it is not there. */
static void value_of(const char *proof, const char *name, char value[40])
{
    const char *at = strstr(proof, name);
    size_t len = at == NULL ? 0 : strcspn(at + strlen(name), " ");
    len = len < 39 ? len : 39;
    if (len > 0)
        memcpy(value, at + strlen(name), len);
    value[len] = '\0';
}

static uint64_t number_of(const char *proof, const char *name)
{
    char value[40];
    value_of(proof, name, value);
    return strtoull(value, NULL, 10);
}

/* Another boot of the same machine; or another container of the same pod, which ended before this
 * one began if it is the same one started again: a pod may have several, with names of their own.
 */
static bool came_before(const struct identity *me, const struct identity *other, bool same_name)
{
    bool pod = same_name && me->pod[0] != '\0' && strcmp(other->pod, me->pod) == 0;
    bool machine = me->machine[0] != '\0' && strcmp(other->machine, me->machine) == 0;
    return pod || (machine && other->ns == NS_OF_INIT && strcmp(other->boot, me->boot) != 0);
}

bool proof_is_gone(const char *text, bool same_name)
{
    struct identity me, other = {0};
    identify(&me);
    value_of(text, "boot=", other.boot);
    value_of(text, " pod=", other.pod);
    value_of(text, " machine=", other.machine);
    other.ns = number_of(text, " ns=");
    other.pid = (long)number_of(text, " pid=");
    other.start = number_of(text, " start=");
    if (other.boot[0] == '\0' || other.ns == 0 || other.pid <= 0 || other.start == 0 || me.ns == 0)
        return false;
    bool here = strcmp(other.boot, me.boot) == 0 && other.ns == me.ns;
    if (!here)
        return came_before(&me, &other, same_name);
    uint64_t start;
    char state;
    if (!process_started(other.pid, &start, &state)) /* it may be hidden: /proc with hidepid */
        return kill((pid_t)other.pid, 0) != 0 && errno == ESRCH;
    return start != other.start || state == 'Z' || state == 'X';
}
