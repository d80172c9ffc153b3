#!/usr/bin/env python3
"""The main job on real data, told in figures: tools/quickstart runs it.

Three nodes are started, venues are made of real places, and gigs are booked there, some of the slots wanted
by two users at once. In the midst of it one node is killed with SIGKILL and its guardian starts it again;
another falls silent altogether, the others take over from it, and later it comes back; a third is stopped
and started again. The clients go on. Then everything is counted: each booking that was acknowledged has to
be at its venue, no slot may be booked twice, and each user's own list has to say the same as the venues.

What a client was told is what `troupe load --replies` wrote down; what is there is read through the
nodes' ordinary methods.

    story.py --build DIR --data DIR [--store URL] [--once]

Exit code: 0 everything was as promised, 1 something was not.
"""
import argparse
import collections
import datetime
import importlib.machinery
import importlib.util
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))

VENUES = 1000    # of the sample's, where gigs are booked
USERS = 500      # who book
GIGS = 40000     # slots that somebody wants
RIVALS = 10      # every tenth of them is wanted by two
CRASH_AT, SILENT_AT, BACK_AT, STOP_AT = 0.15, 0.35, 0.55, 0.75  # of the gigs acknowledged
NODES = 3
START_S = 60     # to be patient for on a slow machine
STOP_S = 90
LISTS_S = 120    # until all users have heard of their gigs

Gig = collections.namedtuple("Gig", "venue slot user reference")


class Broken(Exception):
    """Something was not as promised."""


def say(text=""):
    print(text, flush=True)


def count(n):
    return format(n, ",d")


def load_module(name, path):
    loader = importlib.machinery.SourceFileLoader(name, path)
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(name, loader))
    sys.dont_write_bytecode = True
    loader.exec_module(module)
    return module


# ---- the node and its clients ----

def first_lent_port():
    """From here on the system lends ports to connections that go out."""
    try:
        with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="ascii") as limits:
            return int(limits.read().split()[0])
    except (OSError, ValueError):
        return 32768


def free_port(taken):
    """Of those that no outgoing connection is given: a node that is down finds its own again."""
    last = first_lent_port() - 1
    if last < 2048:  # nothing to choose from
        return bind_to(0)
    for _ in range(1000):
        port = random.randint(max(1024, last - 20000), last)
        if port not in taken and bind_to(port):
            return port
    raise Broken("no free port between %d and %d on 127.0.0.1" % (last - 20000, last))


def bind_to(port):
    """The port when it is free, else None; 0 takes any."""
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return None
        return probe.getsockname()[1]


class Node:
    """A troupe-node, started and stopped by its process id, which is that of its guardian."""

    def __init__(self, name, port, build, data, store, cluster):
        self.name = name
        self.binary = os.path.join(build, "bin", "troupe-node")
        self.kinds = os.path.join(build, "lib", "gigbook.so")
        self.log = os.path.join(data, name + ".log")
        self.ready = os.path.join(data, name + ".ready")
        self.store, self.cluster = store, cluster
        self.address = "127.0.0.1:%d" % port
        self.process = None

    def start(self):
        self.forget_ready()
        with open(self.log, "ab") as log:
            # A session of its own: Ctrl-C is for this script, which then stops the node.
            self.process = subprocess.Popen(
                [self.binary, "--kinds", self.kinds, "--store", self.store, "--name", self.name,
                 "--cluster", self.cluster, "--listen", self.address,
                 "--peer-listen", "127.0.0.1:0", "--gossip-listen", "127.0.0.1:0",
                 "--ready-file", self.ready],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)

    def forget_ready(self):
        if os.path.exists(self.ready):
            os.unlink(self.ready)

    def wait_ready(self):
        began = time.monotonic()
        while not os.path.exists(self.ready):
            if self.process.poll() is not None:
                raise Broken("troupe-node ended with %d at its start:\n%s"
                             % (self.process.returncode, self.log_tail()))
            if time.monotonic() - began > START_S:
                raise Broken("troupe-node does not serve within %d s:\n%s"
                             % (START_S, self.log_tail()))
            time.sleep(0.01)
        return time.monotonic() - began

    def proper(self):
        """The process that the guardian guards."""
        path = "/proc/%d/task/%d/children" % (self.process.pid, self.process.pid)
        with open(path, encoding="ascii") as children:
            return int(children.read().split()[0])

    def crash(self):
        """kill -9 of the node proper; the guardian sees to the rest."""
        pid = self.proper()
        self.forget_ready()
        os.kill(pid, signal.SIGKILL)
        return pid

    def kill(self):
        """kill -9 of the guardian, and the node goes with it."""
        self.process.kill()
        self.process.wait()

    def stop(self):
        """SIGTERM: it persists everything and exits with 0."""
        if self.process is None or self.process.poll() is not None:
            return
        self.process.terminate()
        try:
            code = self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise Broken("troupe-node does not stop within %d s:\n%s" % (STOP_S, self.log_tail()))
        if code != 0:
            raise Broken("troupe-node ended with %d:\n%s" % (code, self.log_tail()))

    def log_tail(self):
        with open(self.log, encoding="utf-8", errors="replace") as log:
            return "".join("    " + line for line in log.readlines()[-15:])


class Load:
    """A `troupe load` under way."""

    def __init__(self, build, addresses, lines, data, name, options=()):
        calls = os.path.join(data, name + ".calls")
        self.replies_path = os.path.join(data, name + ".replies")
        with open(calls, "w", encoding="utf-8") as file:
            file.writelines(line + "\n" for line in lines)
        open(self.replies_path, "w", encoding="utf-8").close()
        self.output = tempfile.TemporaryFile("w+", encoding="utf-8")
        self.process = subprocess.Popen(
            [os.path.join(build, "bin", "troupe"), "load", calls, "--node", addresses,
             "--replies", self.replies_path, *options],
            stdin=subprocess.DEVNULL, stdout=self.output, stderr=self.output,
            start_new_session=True)
        self.began = time.monotonic()
        self.at = 0

    def new_replies(self):
        """The replies that have come since the last time."""
        with open(self.replies_path, encoding="utf-8") as file:
            file.seek(self.at)
            text = file.read()
        whole = text[:text.rfind("\n") + 1]
        self.at += len(whole.encode())
        return [json.loads(line) for line in whole.splitlines()]

    def wait(self):
        self.process.wait()
        self.seconds = time.monotonic() - self.began

    def said(self):
        self.output.seek(0)
        return self.output.read()

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.output.close()


def line(entity, method, payload):
    return json.dumps({"entity": entity, "method": method, "payload": payload}, ensure_ascii=False)


# ---- the story ----

class Story:
    def __init__(self, args, calls):
        self.args, self.calls = args, calls
        places = calls.read_places(os.path.join(HERE, "data", "places.tsv"), None)
        self.places = list(places)
        self.data = args.data
        ports = []
        while len(ports) < NODES:
            ports.append(free_port(ports))
        self.nodes = [Node("node-%d" % (i + 1), port, args.build, self.data, args.store,
                           args.cluster) for i, port in enumerate(ports)]
        self.loads = []

    def load(self, name, lines, *options):
        load = Load(self.args.build, self.addresses(), lines, self.data, name, options)
        self.loads.append(load)
        return load

    def ask(self, name, lines, *options):
        """Makes the calls, all of which must succeed; the replies in the order of the lines."""
        load = self.load(name, lines, *options)
        load.wait()
        replies = {reply["line"]: reply for reply in load.new_replies()}
        for number in range(1, len(lines) + 1):
            reply = replies.get(number)
            if reply is None or reply["status"] != "OK":
                raise Broken("%s\n    was answered: %s\n%s"
                             % (lines[number - 1], json.dumps(reply), load.said()))
        return [replies[number].get("reply") or {} for number in range(1, len(lines) + 1)], load

    def tell(self):
        self.start()
        self.make_venues()
        gigs, acknowledged, early = self.book()
        self.check_venues(gigs, acknowledged, early)
        self.check_users(gigs, acknowledged)

    def addresses(self):
        return ",".join(node.address for node in self.nodes)

    def start(self):
        began = time.monotonic()
        for node in self.nodes:
            node.start()
        for node in self.nodes:
            node.wait_ready()
        self.wait_healthy()
        say("1. Three nodes")
        say("   They share a store, and found each other there in %.1f s; each has a third of the"
            " partitions." % (time.monotonic() - began))
        say("   Store: %s" % mask(self.args.store))
        self.show_members()

    def troupe(self, *arguments):
        return subprocess.run([os.path.join(self.args.build, "bin", "troupe"), *arguments,
                               "--node", self.addresses()], stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, check=False)

    def show_members(self):
        say()
        for text in self.troupe("members").stdout.splitlines():
            say("      " + text if text else "")
        say()

    def wait_healthy(self):
        """All serve, all agree, everything is where it belongs."""
        deadline = time.monotonic() + START_S
        while True:
            asked = self.troupe("status", "--json")
            ring = self.troupe("ring")
            if asked.returncode == 0 and "all are where the ring wants them" in ring.stdout:
                return
            if time.monotonic() > deadline:
                raise Broken("the nodes do not come to rest:\n%s%s\n%s"
                             % (asked.stdout, asked.stderr, ring.stdout))
            time.sleep(0.05)

    def make_venues(self):
        lines = [self.calls.create(place) for place in self.places]
        _, load = self.ask("venues", lines, "--ack", "durable")
        say()
        say("2. Venues")
        say("   %s venues made of real places in %.1f s, all of them committed: %s/s."
            % (count(len(lines)), load.seconds, count(int(len(lines) / load.seconds))))

    # -- booking, and a crash --

    def make_gigs(self):
        step = max(1, len(self.places) // VENUES)
        venues = [place["geonameid"] for place in self.places[::step]][:VENUES]
        first = datetime.datetime(2026, 12, 31, 20, 0)
        gigs = []
        for k in range(GIGS):
            slot = (first + datetime.timedelta(days=k // len(venues))).strftime(self.calls.SLOT)
            venue = venues[k % len(venues)]
            gigs.append(Gig(venue, slot, str(k * 7919 % USERS + 1), "gig-%d" % k))
            if k % RIVALS == 0:
                gigs.append(Gig(venue, slot, str(k * 7919 % USERS + 2), "rival-%d" % k))
        return gigs

    def book(self):
        gigs = self.make_gigs()
        rivals = len(gigs) - GIGS
        say()
        say("3. Gigs, and everything that can happen to a node")
        say("   Booking %s slots at %s venues for %s users; %s of the slots are wanted by two."
            % (count(GIGS), count(VENUES), count(USERS), count(rivals)))
        lines = [line("venue/" + gig.venue, "book",
                      {"slot": gig.slot, "user": gig.user, "reference": gig.reference})
                 for gig in gigs]
        load = self.load("gigs", lines, "--timeout", "120s")
        acknowledged, refused = set(), 0
        early = None
        events = [(CRASH_AT, self.crash), (SILENT_AT, self.fall_silent), (BACK_AT, self.come_back),
                  (STOP_AT, self.stop_one)]
        while True:
            running = load.process.poll() is None
            for reply in load.new_replies():
                if reply["status"] == "OK":
                    acknowledged.add(reply["line"] - 1)
                elif reply["status"] == "ALREADY_EXISTS":
                    refused += 1
                else:
                    raise Broken("%s\n    was answered: %s" % (lines[reply["line"] - 1],
                                                              json.dumps(reply)))
            if events and len(acknowledged) >= GIGS * events[0][0]:
                early = early or frozenset(acknowledged)
                events.pop(0)[1](len(acknowledged))
                continue
            if not running:
                break
            time.sleep(0.005)
        load.wait()
        if events:
            raise Broken("the bookings ended before everything had happened:\n" + load.said())
        say("   The clients retried by themselves until they knew: %s bookings acknowledged, %s"
            " refused as taken" % (count(len(acknowledged)), count(refused)))
        say("   (%.1f s in all)." % load.seconds)
        if len(acknowledged) != GIGS or refused != rivals:
            raise Broken("%d slots should have been booked, and %d requests refused:\n%s"
                         % (GIGS, rivals, load.said()))
        return gigs, acknowledged, early

    def crash(self, acknowledged):
        node = self.nodes[1]
        pid = node.crash()
        seconds = node.wait_ready()
        say("   After %s acknowledged bookings: kill -9 %d, the process of %s. Its guardian starts it"
            % (count(acknowledged), pid, node.name))
        say("   again, and it serves its own partitions after %.2f s." % seconds)

    def fall_silent(self, acknowledged):
        node = self.nodes[2]
        node.kill()
        say("   After %s: kill -9 of %s and its guardian, as if the machine were gone. The others take"
            % (count(acknowledged), node.name))
        say("   over what it had when its lease of 5 s has run out; calls for that wait.")

    def come_back(self, acknowledged):
        node = self.nodes[2]
        node.start()
        node.wait_ready()
        say("   After %s: %s is started again, and its partitions move to it while calls go on."
            % (count(acknowledged), node.name))

    def stop_one(self, acknowledged):
        node = self.nodes[0]
        began = time.monotonic()
        node.stop()
        say("   After %s: SIGTERM to %s, which the clients are connected to. Its partitions move to the"
            % (count(acknowledged), node.name))
        say("   others, it exits with 0 after %.2f s, and is started again."
            % (time.monotonic() - began))
        node.start()
        node.wait_ready()

    # -- counting --

    def check_venues(self, gigs, acknowledged, early):
        say()
        say("4. Is everything there?")
        names = [place["geonameid"] for place in self.places]
        replies, _ = self.ask("check-venues",
                              [line("venue/" + name, "bookings", {"limit": 1000}) for name in names])
        there, slots, doubles = {}, set(), 0
        for name, reply in zip(names, replies):
            for booking in reply.get("bookings", []):
                key = (name, booking["slot"])
                doubles += key in slots
                slots.add(key)
                there[Gig(name, booking["slot"], booking["user"], booking["reference"])] = booking
        missing = [gigs[k] for k in acknowledged if gigs[k] not in there]
        claims = collections.Counter((gigs[k].venue, gigs[k].slot) for k in acknowledged)
        doubles += sum(n > 1 for n in claims.values())
        say("   %s of %s venues are there." % (count(len(replies)), count(len(names))))
        say("   %s of %s acknowledged bookings are at their venues;"
            % (count(len(acknowledged) - len(missing)), count(len(acknowledged))))
        say("   of the %s from before the first crash: %s."
            % (count(len(early)), count(sum(gigs[k] in there for k in early))))
        say("   %s slots are booked twice or acknowledged to two users." % count(doubles))
        if missing or doubles:
            raise Broken("lost: %s" % missing[:5] if missing else "booked twice")
        if len(there) != len(acknowledged):
            raise Broken("%d bookings are there that nobody was told of"
                         % (len(there) - len(acknowledged)))

    def check_users(self, gigs, acknowledged):
        """The venues tell the users, and that takes a moment after the crash."""
        expected = collections.defaultdict(set)
        for k in acknowledged:
            expected[gigs[k].user].add(gigs[k])
        users = sorted(expected)
        deadline = time.monotonic() + LISTS_S
        while True:
            replies, _ = self.ask("check-users", [line("user/" + user, "bookings", {"limit": 1000})
                                                  for user in users])
            wrong = [user for user, reply in zip(users, replies)
                     if {Gig(gig["venue"], gig["slot"], user, gig["reference"])
                         for gig in reply.get("bookings", [])} != expected[user]]
            if not wrong:
                break
            if time.monotonic() > deadline:
                raise Broken("the lists of %d users differ from what the venues say, user/%s for one"
                             % (len(wrong), wrong[0]))
            time.sleep(0.2)
        say("   The lists of all %s users say the same." % count(len(users)))

    # -- afterwards --

    def stay(self):
        venue = self.make_gigs()[0].venue
        say()
        self.wait_healthy()
        say("The nodes stay up. Some commands to try:")
        say()
        say("    export PATH=%s/bin:$PATH TROUPE_NODE=%s" % (self.args.build, self.addresses()))
        say("    troupe get venue/%s" % venue)
        say("    troupe call venue/%s book '{\"slot\": \"2030-06-21T19:30Z\", \"user\": \"7\"}'"
            % venue)
        say("    troupe status; troupe members; troupe ring")
        say("    kill -9 %d     # %s: watch it come back with troupe members"
            % (self.nodes[1].proper(), self.nodes[1].name))
        say()
        say("Their logs: %s. Ctrl-C stops them." % os.path.join(self.data, "node-*.log"))
        while True:
            for node in self.nodes:
                if node.process.poll() is not None:
                    raise Broken("%s ended by itself with %d:\n%s"
                                 % (node.name, node.process.returncode, node.log_tail()))
            time.sleep(0.2)

    def close(self):
        for load in self.loads:
            load.close()
        broken = None
        for node in self.nodes:
            try:
                node.stop()
            except Broken as why:
                broken = broken or why
        return broken


def mask(url):
    """The url without its password."""
    head, at, tail = url.rpartition("@")
    scheme, colon, rest = head.partition("://")
    user, has_password, _ = rest.partition(":")
    return scheme + colon + user + ":***@" + tail if at and has_password else url


# ---- from the outside ----

def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", required=True, metavar="DIR", help="where bin/ and lib/ are")
    parser.add_argument("--data", required=True, metavar="DIR",
                        help="for a folder of this run with the log and, by default, the store")
    parser.add_argument("--store", metavar="URL", help="default: a new SQLite file")
    parser.add_argument("--once", action="store_true", help="exit after the story")
    args = parser.parse_args()
    args.build = os.path.abspath(args.build)
    os.makedirs(args.data, exist_ok=True)
    args.data = tempfile.mkdtemp(prefix="run-", dir=os.path.abspath(args.data))
    # A cluster of its own, so that a database which is used again has nothing of an earlier run.
    args.cluster = "quickstart-" + os.path.basename(args.data)[4:].replace("_", "-")
    if args.store is None:
        args.store = "sqlite:" + os.path.join(args.data, "troupe.db")
    return args


class Interrupted(Exception):
    pass


def interrupt(number, frame):
    raise Interrupted()


def main():
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)
    args = parse_arguments()
    calls = load_module("places_to_calls", os.path.join(HERE, "data", "places-to-calls"))
    story = Story(args, calls)
    code = 0
    told = False
    late = None
    try:
        try:
            say()
            story.tell()
            told = True
            if args.once:
                say()
                say("Everything was as promised.")
            else:
                story.stay()
        except Interrupted:
            code = 0 if told else 1
            say()
        finally:
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN)
            late = story.close()
            if late is None:
                say("The nodes have stopped; everything is persisted.")
        if late is not None:
            raise late
    except Broken as broken:
        code = 1
        if late not in (None, broken):
            broken = Broken("%s\nand then, at the end: %s" % (broken, late))
        print("quickstart: not as promised: %s" % broken, file=sys.stderr)
        print("quickstart: what happened is in %s" % args.data, file=sys.stderr)
    if code == 0:
        shutil.rmtree(args.data, ignore_errors=True)
    return code


if __name__ == "__main__":
    sys.exit(main())
