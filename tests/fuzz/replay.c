/* Runs a fuzz target without a fuzzer: over each file of its corpus, each beginning of it, and each
 * of its bytes changed in a few ways. It is how every ordinary test run exercises the targets, with
 * any compiler; libFuzzer (tools/fuzz) goes on from there. Every input stands in a block of exactly
 * its size, so that the address sanitizer sees a read beyond the end. */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    INPUT_BYTES_MAX = 1 << 20,
    CHANGED_BYTES_MAX = 2048, /* of one file: its first ones */
};

static uint64_t runs;

static void run(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size == 0 ? 1 : size);
    if (copy == NULL)
        abort();
    memcpy(copy, data, size);
    LLVMFuzzerTestOneInput(copy, size);
    free(copy);
    runs++;
}

static void run_variants(uint8_t *data, size_t size)
{
    run(data, size);
    size_t changed = size < CHANGED_BYTES_MAX ? size : CHANGED_BYTES_MAX;
    for (size_t i = 0; i < changed; i++) {
        run(data, i);
        uint8_t was = data[i];
        const uint8_t others[] = {0x00, 0xFF, (uint8_t)(was ^ 0x80), (uint8_t)(was + 1)};
        for (size_t k = 0; k < sizeof others; k++) {
            data[i] = others[k];
            run(data, size);
        }
        data[i] = was;
    }
}

static int run_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    uint8_t *data = malloc(INPUT_BYTES_MAX);
    if (file == NULL || data == NULL) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        free(data);
        if (file != NULL)
            fclose(file);
        return -1;
    }
    size_t size = fread(data, 1, INPUT_BYTES_MAX, file);
    run_variants(data, size);
    fclose(file);
    free(data);
    return 0;
}

static int run_folder(const char *path)
{
    DIR *dir = opendir(path);
    if (dir == NULL) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        return -1;
    }
    int rc = 0;
    int files = 0;
    struct dirent *entry;
    while (rc == 0 && (entry = readdir(dir)) != NULL) {
        char name[PATH_MAX];
        if (entry->d_name[0] == '.')
            continue;
        snprintf(name, sizeof name, "%s/%s", path, entry->d_name);
        rc = run_file(name);
        files++;
    }
    closedir(dir);
    if (rc == 0 && files == 0) {
        fprintf(stderr, "%s: no input in there\n", path);
        rc = -1;
    }
    printf("%d files, %llu runs\n", files, (unsigned long long)runs);
    return rc;
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: %s FOLDER\n", argv[0]);
        return 2;
    }
    return run_folder(argv[1]) == 0 ? 0 : 1;
}
