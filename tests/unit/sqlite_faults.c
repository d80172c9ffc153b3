/* See sqlite_faults.h. Each file is ours in front and the real one behind it. */
#include "tests/unit/sqlite_faults.h"

#include <sqlite3.h>
#include <stdatomic.h>
#include <stddef.h>

struct faulty_file {
    sqlite3_file base; /* methods: ours */
};

static sqlite3_vfs *real_vfs, faulty_vfs;
static atomic_int countdown; /* operations until the fault; 0: none is armed */
static atomic_int armed;     /* enum sqlite_fault */
static atomic_bool lasting_fault, happened;
static _Atomic(void (*)(void)) at_sync;

static sqlite3_file *real_of(sqlite3_file *file)
{
    return (sqlite3_file *)((struct faulty_file *)file + 1);
}

/* Whether this operation, which may fail in the given way, is the one. */
static bool strikes(bool is_sync)
{
    if ((atomic_load(&armed) == FAULT_SYNC) != is_sync || atomic_load(&countdown) <= 0)
        return false;
    int left = atomic_fetch_sub(&countdown, 1) - 1;
    if (left > 0)
        return false;
    atomic_store(&happened, true);
    if (atomic_load(&lasting_fault))
        atomic_store(&countdown, 1);
    return true;
}

static int file_write(sqlite3_file *file, const void *bytes, int n, sqlite3_int64 at)
{
    sqlite3_file *real = real_of(file);
    if (!strikes(false))
        return real->pMethods->xWrite(real, bytes, n, at);
    if (atomic_load(&armed) == FAULT_TORN)
        real->pMethods->xWrite(real, bytes, n / 2, at);
    return atomic_load(&armed) == FAULT_FULL ? SQLITE_FULL : SQLITE_IOERR_WRITE;
}

static int file_truncate(sqlite3_file *file, sqlite3_int64 size)
{
    sqlite3_file *real = real_of(file);
    return strikes(false) ? SQLITE_IOERR_TRUNCATE : real->pMethods->xTruncate(real, size);
}

static int file_sync(sqlite3_file *file, int flags)
{
    sqlite3_file *real = real_of(file);
    void (*call)(void) = atomic_exchange(&at_sync, NULL);
    if (call != NULL)
        call();
    return strikes(true) ? SQLITE_IOERR_FSYNC : real->pMethods->xSync(real, flags);
}

/* ---- what is passed on as it is ---- */

static int file_close(sqlite3_file *file)
{
    return real_of(file)->pMethods->xClose(real_of(file));
}

static int file_read(sqlite3_file *file, void *bytes, int n, sqlite3_int64 at)
{
    return real_of(file)->pMethods->xRead(real_of(file), bytes, n, at);
}

static int file_size(sqlite3_file *file, sqlite3_int64 *size)
{
    return real_of(file)->pMethods->xFileSize(real_of(file), size);
}

static int file_lock(sqlite3_file *file, int level)
{
    return real_of(file)->pMethods->xLock(real_of(file), level);
}

static int file_unlock(sqlite3_file *file, int level)
{
    return real_of(file)->pMethods->xUnlock(real_of(file), level);
}

static int file_check_lock(sqlite3_file *file, int *held)
{
    return real_of(file)->pMethods->xCheckReservedLock(real_of(file), held);
}

static int file_control(sqlite3_file *file, int op, void *arg)
{
    return real_of(file)->pMethods->xFileControl(real_of(file), op, arg);
}

static int file_sector_size(sqlite3_file *file)
{
    return real_of(file)->pMethods->xSectorSize(real_of(file));
}

static int file_characteristics(sqlite3_file *file)
{
    return real_of(file)->pMethods->xDeviceCharacteristics(real_of(file));
}

static int file_shm_map(sqlite3_file *file, int page, int size, int extend, void volatile **at)
{
    return real_of(file)->pMethods->xShmMap(real_of(file), page, size, extend, at);
}

static int file_shm_lock(sqlite3_file *file, int offset, int n, int flags)
{
    return real_of(file)->pMethods->xShmLock(real_of(file), offset, n, flags);
}

static void file_shm_barrier(sqlite3_file *file)
{
    real_of(file)->pMethods->xShmBarrier(real_of(file));
}

static int file_shm_unmap(sqlite3_file *file, int remove)
{
    return real_of(file)->pMethods->xShmUnmap(real_of(file), remove);
}

static const sqlite3_io_methods methods = {
    .iVersion = 2,
    .xClose = file_close,
    .xRead = file_read,
    .xWrite = file_write,
    .xTruncate = file_truncate,
    .xSync = file_sync,
    .xFileSize = file_size,
    .xLock = file_lock,
    .xUnlock = file_unlock,
    .xCheckReservedLock = file_check_lock,
    .xFileControl = file_control,
    .xSectorSize = file_sector_size,
    .xDeviceCharacteristics = file_characteristics,
    .xShmMap = file_shm_map,
    .xShmLock = file_shm_lock,
    .xShmBarrier = file_shm_barrier,
    .xShmUnmap = file_shm_unmap,
};

static int faulty_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *out)
{
    (void)vfs;
    int rc = real_vfs->xOpen(real_vfs, name, real_of(file), flags, out);
    file->pMethods = real_of(file)->pMethods == NULL ? NULL : &methods;
    return rc;
}

void sqlite_faults_install(void)
{
    real_vfs = sqlite3_vfs_find(NULL);
    faulty_vfs = *real_vfs;
    faulty_vfs.zName = "faulty";
    faulty_vfs.szOsFile = (int)sizeof(struct faulty_file) + real_vfs->szOsFile;
    faulty_vfs.xOpen = faulty_open;
    sqlite3_vfs_register(&faulty_vfs, 1);
}

void sqlite_faults_arm(enum sqlite_fault fault, unsigned n, bool lasting)
{
    atomic_store(&happened, false);
    atomic_store(&armed, (int)fault);
    atomic_store(&lasting_fault, lasting);
    atomic_store(&countdown, (int)n);
}

bool sqlite_faults_disarm(void)
{
    atomic_store(&countdown, 0);
    return atomic_load(&happened);
}

void sqlite_faults_at_sync(void (*call)(void))
{
    atomic_store(&at_sync, call);
}
