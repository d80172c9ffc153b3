"""Every place there is becomes a venue, all are persisted by a clean stop, and after a restart each one is read back and
compared with the file: names with quotes, apostrophes and any script, through the client, the node, the store and back.

    all_places.py TROUPE_NODE GIGBOOK_SO TROUPE PLACES_TO_CALLS PLACES.tsv.gz
"""

import gzip
import json
import os
import signal
import subprocess
import sys
import tempfile
import time

NODE, KINDS, TROUPE, TO_CALLS, PLACES = sys.argv[1:6]
DEADLINE_S = 60


def start(directory):
    ready = os.path.join(directory, "ready")
    if os.path.exists(ready):
        os.unlink(ready)
    node = subprocess.Popen([NODE, "--name", "all", "--kinds", KINDS, "--listen", "127.0.0.1:0", "--ready-file", ready,
                             "--log-level", "warn"], cwd=directory)
    end = time.monotonic() + DEADLINE_S
    while not (os.path.exists(ready) and os.path.getsize(ready) > 0):
        if node.poll() is not None or time.monotonic() > end:
            node.kill()
            sys.exit("the node does not start")
        time.sleep(0.02)
    with open(ready) as f:
        return node, f.read().strip()


def stop(node):
    node.send_signal(signal.SIGTERM)
    code = node.wait(120)
    if code != 0:
        sys.exit(f"the node ended with {code}")


def load(address, directory, calls, replies=None):
    path = os.path.join(directory, "calls")
    with open(path, "wb") as f:
        f.write(calls)
    extra = ["--replies", replies] if replies else []
    subprocess.run([TROUPE, "load", "--node", address, "--timeout", "120s", *extra, path], check=True)


def main():
    with gzip.open(PLACES, "rt", encoding="utf-8") as f:
        next(f)
        names = {row[0]: row[1] for row in (line.rstrip("\n").split("\t") for line in f)}
    with tempfile.TemporaryDirectory() as directory:
        node, address = start(directory)
        try:
            load(address, directory, subprocess.run([TO_CALLS, PLACES], check=True, stdout=subprocess.PIPE).stdout)
            stop(node)
            node, address = start(directory)
            ids = list(names)
            gets = "".join(json.dumps({"entity": f"venue/{i}", "method": "$get"}) + "\n" for i in ids)
            replies = os.path.join(directory, "replies")
            load(address, directory, gets.encode(), replies)
            seen = 0
            with open(replies, encoding="utf-8") as f:
                for line in f:
                    reply = json.loads(line)
                    place = reply["reply"]["place"]["name"]
                    expected = names[ids[reply["line"] - 1]]
                    if place != expected:
                        sys.exit(f"venue/{ids[reply['line'] - 1]} is {place!r}, not {expected!r}")
                    seen += 1
            if seen != len(names):
                sys.exit(f"{seen} of {len(names)} places are there")
            stop(node)
            print(f"{seen} places, written, persisted, read back")
        finally:
            if node.poll() is None:
                node.kill()
                node.wait()


main()
