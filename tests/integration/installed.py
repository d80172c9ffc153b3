#!/usr/bin/env python3
"""Installs Troupe into a directory, moves that elsewhere, and builds and runs against it what others
write: a kind, loaded by the installed node, and a client, linked by what pkg-config says.

    installed.py SOURCE BUILD COUNTER_GEN [COMPILER OPTION]...
"""
import os
import signal
import subprocess
import sys
import tempfile
import time

SOURCE, BUILD, GEN, OPTIONS = sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4:]
DEADLINE_S = 60

CLIENT = r"""
#include <stdio.h>
#include <troupe/client.h>

int main(int argc, char **argv)
{
    struct troupe_client *client;
    struct troupe_client_options options = {.addresses = argv[argc - 1]};
    char why[256];
    if (troupe_client_open(&client, &options, why, sizeof why) != 0)
        return fprintf(stderr, "%s\n", why), 1;
    struct troupe_batch *batch = troupe_batch_new(client);
    troupe_batch_add(batch, troupe_bytes_of("counter"), troupe_bytes_of("7"), troupe_bytes_of("incr"),
                     troupe_bytes_of("{}"), TROUPE_ACK_MEMORY, TROUPE_CALL_JSON);
    int rc = troupe_batch_send_wait(batch, 20000);
    const struct troupe_call_result *r = troupe_batch_result(batch, 0);
    printf("%d %d %.*s\n", rc, (int)r->status, (int)r->payload.len, (const char *)r->payload.data);
    troupe_batch_free(batch);
    troupe_client_close(client);
    return 0;
}
"""


def run(*words, **more):
    done = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, check=False, **more)
    if done.returncode != 0:
        sys.exit("installed: %s ended with %d: %s" % (" ".join(words), done.returncode, done.stdout))
    return done.stdout


def find(top, name):
    for directory, _, files in os.walk(top):
        if name in files:
            return directory
    sys.exit("installed: no %s below %s" % (name, top))


def wait_ready(node, ready):
    end = time.monotonic() + DEADLINE_S
    while not (os.path.exists(ready) and os.path.getsize(ready) > 0):
        if node.poll() is not None or time.monotonic() > end:
            sys.exit("installed: the node does not start; see above")
        time.sleep(0.02)
    with open(ready, encoding="ascii") as file:
        return file.read().strip()


def main():
    with tempfile.TemporaryDirectory() as work:
        run("cmake", "--install", BUILD, "--prefix", os.path.join(work, "first"))
        prefix = os.path.join(work, "moved")
        os.rename(os.path.join(work, "first"), prefix)
        libraries = find(prefix, "libtroupe.so")
        env = dict(os.environ, PKG_CONFIG_PATH=find(prefix, "troupe.pc"), LD_LIBRARY_PATH=libraries)
        flags = run("pkg-config", "--cflags", "--libs", "troupe", env=env).split()
        client, kind = os.path.join(work, "client"), os.path.join(work, "counter.so")
        with open(client + ".c", "w", encoding="ascii") as file:
            file.write(CLIENT)
        # Into a directory of its own: no header of the source tree may help.
        run("cc", "-std=gnu17", *OPTIONS, "-o", client, client + ".c", *flags, cwd=work)
        run("cc", "-std=gnu17", "-Werror=implicit-function-declaration", *OPTIONS, "-shared", "-fPIC",
            "-I", os.path.join(prefix, "include"), "-I", GEN, "-o", kind,
            os.path.join(SOURCE, "apps/examples/counter/counter.c"), os.path.join(GEN, "counter.pb-c.c"),
            "-lprotobuf-c", cwd=work)
        ready = os.path.join(work, "ready")
        node = subprocess.Popen([os.path.join(prefix, "bin", "troupe-node"), "--name", "installed", "--kinds", kind,
                                 "--listen", "127.0.0.1:0", "--ready-file", ready, "--log-level", "warn"], cwd=work)
        try:
            address = wait_ready(node, ready)
            said = run(client, address, env=env)
            if said != '0 0 {"value":"1"}\n':
                sys.exit("installed: the client says %r" % said)
            said = run(os.path.join(prefix, "bin", "troupe"), "--node", address, "call", "counter/7", "read")
            if "1" not in said:
                sys.exit("installed: the command says %r" % said)
            node.send_signal(signal.SIGTERM)
            if node.wait(DEADLINE_S) != 0:
                sys.exit("installed: the node ended with %d" % node.returncode)
        finally:
            if node.poll() is None:
                node.kill()
                node.wait()
        print("installed, moved, built against, run")


main()
