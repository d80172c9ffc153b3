#!/usr/bin/env python3
"""Does what docs/kinds.md says: takes the files out of it, runs its commands, looks at what they made.

    kinds_doc.py SOURCE [NODE CLI]

The files have to be those of apps/examples/counter. With a node and a CLI it also runs the kind.
"""
import ctypes
import os
import re
import subprocess
import sys
import tempfile

BLOCK = re.compile(r"^```(\w+)(?: (\S+))?\n(.*?)^```$", re.M | re.S)


class Plugin(ctypes.Structure):
    _fields_ = [("abi", ctypes.c_uint32), ("name", ctypes.c_char_p), ("version", ctypes.c_char_p),
                ("kinds", ctypes.POINTER(ctypes.POINTER(ctypes.c_char_p))),
                ("kinds_n", ctypes.c_size_t)]


def read(*path):
    with open(os.path.join(*path), encoding="utf-8") as file:
        return file.read()


def expect(condition, text):
    if not condition:
        sys.exit("kinds_doc: " + text)


def take_apart(text):
    """The files that the page shows, and its build commands in order."""
    files, commands = {}, []
    for language, name, body in BLOCK.findall(text):
        if language == "sh" and name == "build":
            commands.append(body)
        elif language != "sh" and name:
            pieces = files.setdefault(name, [])
            pieces.append(body)
    return {name: "\n".join(pieces) for name, pieces in files.items()}, commands


def main():
    source = os.path.abspath(sys.argv[1])
    files, commands = take_apart(read(source, "docs", "kinds.md"))
    expect(sorted(files) == ["counter.c", "counter.proto", "test.c"],
           "the page shows %s" % ", ".join(sorted(files)))
    for name in ("counter.c", "counter.proto"):
        shipped = read(source, "apps/examples/counter", name)
        expect(files[name] == shipped, "%s in the page differs from apps/examples/counter" % name)
    expect(len(commands) == 2, "the page has %d build blocks" % len(commands))
    with tempfile.TemporaryDirectory() as work:
        for name, body in files.items():
            with open(os.path.join(work, name), "w", encoding="utf-8") as file:
                file.write(body)
        for command in commands:
            done = subprocess.run(["sh", "-ec", command], cwd=work, stdin=subprocess.DEVNULL,
                                  env=dict(os.environ, TROUPE=source), text=True,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            print(done.stdout, end="")
            expect(done.returncode == 0, "failed with %d: %s" % (done.returncode, command))
            expect("warning" not in done.stdout, "warnings from: " + command)
        # Lazily: the node that has the functions is not here.
        so = ctypes.CDLL(os.path.join(work, "counter.so"), mode=os.RTLD_LAZY)
        so.troupe_plugin.restype = ctypes.POINTER(Plugin)
        plugin = so.troupe_plugin().contents
        expect((plugin.abi, plugin.name, plugin.kinds_n) == (2, b"counter", 1), "a strange plug-in")
        expect(plugin.kinds[0][0] == b"counter", "a strange kind")
    print("kinds_doc: the page builds, and its test passes")


if __name__ == "__main__":
    main()
