"""Reading through a pool of memcached workers: how fast, and how often the origin is read."""

import contextlib
import json
import re
import socket
import statistics
import subprocess
import threading
import time
import urllib.request

from clients import PROFILES, Sluice, run_at_once, s3_server
from tools import BIN, MIB, cpu_seconds, dd, drop_caches, free_port, log, process, table, wait_for

CHUNK = 4 * MIB


@contextlib.contextmanager
def workers(work, count, megabytes):
    """So many workers, and the file that lists them."""
    with contextlib.ExitStack() as stack:
        ports = []
        for i in range(count):
            port = free_port()
            stack.enter_context(process(f"worker-{i}", ["memcached", "-u", "nobody", "-l", "127.0.0.1", "-p", port, "-I", "8m",
                                                        "-m", megabytes, "-t", 2, "-c", 4096], work))
            ports.append(port)
            wait_for("memcached", lambda: listens(port))
        yield member_list(work / "workers.json", ports), ports


def member_list(file, ports):
    """The file, which now lists the workers at these ports."""
    file.write_text(json.dumps({"workers": [{"name": f"worker-{i}", "address": f"127.0.0.1:{port}"}
                                            for i, port in enumerate(ports)]}))
    return file


def listens(port):
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def bare_read(port, size):
    """MB/s of a client that does nothing but get chunks of 4 MiB, one after the other, on one connection."""
    with socket.create_connection(("127.0.0.1", port)) as s:
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        value = bytes(CHUNK)
        count = size // CHUNK
        for i in range(count):
            s.sendall(b"ms bare-%d %d\r\n" % (i, CHUNK) + value + b"\r\n")
            if not s.recv(64).startswith(b"HD"):
                raise SystemExit("memcached did not store")
        buffer = memoryview(bytearray(CHUNK + 64))
        start = time.monotonic()
        for i in range(count):
            s.sendall(b"mg bare-%d v\r\n" % i)
            head = s.recv_into(buffer)
            line = bytes(buffer[:64]).split(b"\r\n", 1)[0]
            left = len(line) + 2 + CHUNK + 2 - head
            while left > 0:
                left -= s.recv_into(buffer, min(left, CHUNK))
        seconds = time.monotonic() - start
        s.sendall(b"flush_all\r\n")
        s.recv(64)
    return size / seconds


def metric(port, name):
    """A series, or the sum over all labels."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        text = answer.read().decode()
    return sum(float(v) for v in re.findall(rf"^{re.escape(name)}(?:\{{[^}}]*\}})? (\S+)$", text, re.M))


class Client:
    """A mount without a node cache: what its memory has not got comes from the pool or the origin."""

    def __init__(self, endpoint, work, name, members, memory="64Mi"):
        self.port = free_port()
        more = ["--metrics", f"127.0.0.1:{self.port}", "--memory", memory]
        if members:
            more += ["--pool", members]
        self.mount = Sluice(endpoint, work, cache=False, name=name, more=more)
        self.file = self.mount.mount / "model.bin"

    def origin_bytes(self):
        return metric(self.port, "sluice_origin_read_bytes_total")

    def pool_bytes(self):
        return metric(self.port, 'sluice_pooled_read_bytes_total{from="pool"}')

    def close(self):
        self.mount.close()


def read_all(clients, source):
    """Seconds until all have read the file and compared it; they start together."""
    start_together = threading.Barrier(len(clients))
    wrong = []

    def read(client):
        start_together.wait()
        # A program of its own: Python would not let so many read at a time.
        done = subprocess.run(["cmp", client.file, source], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            wrong.append(done.stdout + done.stderr)

    threads = [threading.Thread(target=read, args=(c,)) for c in clients]
    start = time.monotonic()
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    if wrong:
        raise SystemExit(f"wrong bytes: {wrong[0]}")
    return time.monotonic() - start


def together(args, work, s3):
    size = args.size * MIB
    rows = []
    # Thirty-two without a pool would be the link's time, over and over.
    for count, pooled in ((1, False), (1, True), (8, False), (8, True), (32, True)):
        with workers(work, 2, 2 * args.size) as (members, _), contextlib.ExitStack() as stack:
            clients = []
            for i in range(count):
                clients.append(Client(s3["slow"], work, f"sluice-{i}", members if pooled else None))
                stack.callback(clients[-1].close)
            seconds = read_all(clients, s3["source"])
            origin = sum(c.origin_bytes() for c in clients)
        log(f"{count} clients, {'pool' if pooled else 'no pool'}: {seconds:.1f} s")
        rows.append([count, "2 workers" if pooled else "none", f"{seconds:.1f}", f"{count * size / seconds / 1e6:.0f}",
                     f"{origin / size:.3f}"])
    table(f"Clients that start together on {args.size} MiB, profile {args.profile}; all compared",
          ["clients", "pool", "seconds", "MB/s of all", "origin bytes / size"], rows, f"pool-together-{args.profile}", "seconds",
          labels=2)


def fill(s3, work, members):
    """Brings all of the file into the pool."""
    filler = Client(s3["direct"], work, "filler", members)
    try:
        dd(filler.file)
    finally:
        filler.close()


def from_the_pool(clients, size):
    """Ends the bench when the clients have read more than a little of the origin."""
    if sum(c.origin_bytes() for c in clients) > 0.02 * size:
        raise SystemExit("the pool had not got the file")


@contextlib.contextmanager
def behind_link(work, port, link):
    """A port that leads to the worker over a `link` (MB/s and ms of round trip; or none)."""
    if link is None:
        yield port
        return
    slow = free_port()
    with process(f"link-{port}", [BIN / "throttle-proxy", "--listen", f"127.0.0.1:{slow}", "--upstream", f"127.0.0.1:{port}",
                                  "--rate-mb", link[0], "--rtt-ms", link[1]], work, preexec_fn=run_at_once):
        wait_for("throttle-proxy", lambda: listens(slow))
        yield slow


def from_pool(args, work, s3):
    size = args.size * MIB
    rows = []
    for where, link in (("the same machine", None), ("lan", (int(PROFILES["lan"] / 1e6), 2))):
        ours, bare, cpu = [], [], 0.0
        with workers(work, 1, 2 * args.size) as (members, ports), behind_link(work, ports[0], link) as port:
            fill(s3, work, members)
            member_list(members, [port])
            for _ in range(args.runs):
                drop_caches()
                client = Client(s3["direct"], work, "reader", members)
                try:
                    pid = client.mount.pid()
                    before = cpu_seconds(pid)
                    ours.append(size / dd(client.file))
                    cpu = (cpu_seconds(pid) - before) / (size / 1e9)
                    from_the_pool([client], size)
                finally:
                    client.close()
        for _ in range(args.runs):
            with workers(work, 1, 2 * args.size) as (_, ports), behind_link(work, ports[0], link) as port:
                bare.append(bare_read(port, size))
        a, b = statistics.median(ours), statistics.median(bare)
        rows.append([where, "dd bs=1M through the mount", f"{a / 1e6:.0f}", f"{a / b:.2f}", f"{cpu:.2f}"])
        rows.append([where, "bare client, one connection", f"{b / 1e6:.0f}", "1", ""])
    table(f"{args.size} MiB from one worker, one reader, median of {args.runs}",
          ["worker", "reader", "MB/s", "of the bare client", "CPU s/GB"], rows, "pool-one-worker", "MB/s", labels=2)


def pool(args, work):
    with s3_server(work, args.size * MIB, args.profile) as s3:
        from_pool(args, work, s3)
        together(args, work, s3)
