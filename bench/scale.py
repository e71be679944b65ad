"""What more workers bring when each has a network interface of its own: 100 MB/s, by a throttled proxy before it."""

import contextlib
import socket
import statistics
import subprocess
import threading
import time

from cached import forget_pages
from clients import s3_server
from pool import Client, behind_link, fill, from_the_pool, member_list, workers
from tools import MIB, dd, drop_caches, log, table

LINK_MB = 100
READERS = 4
SETTLE_SECONDS = 3  # until all read ahead as far as they will


def bytes_held(port):
    with socket.create_connection(("127.0.0.1", port), 5) as s:
        s.sendall(b"stats\r\n")
        text = b""
        while not text.endswith(b"END\r\n"):
            text += s.recv(65536)
    return next(int(line.split()[2]) for line in text.splitlines() if line.startswith(b"STAT bytes "))


@contextlib.contextmanager
def links(work, ports):
    """The file that lists the same workers behind their links."""
    with contextlib.ExitStack() as stack:
        yield member_list(work / "links.json", [stack.enter_context(behind_link(work, port, (LINK_MB, 1))) for port in ports])


def read_on(client, size, first, stop, failed):
    """Reads the file again and again until it is told to stop, the first time from a place of its own."""
    skip = first // MIB
    while not stop.is_set():
        forget_pages(client.file)
        with subprocess.Popen(["dd", f"if={client.file}", "of=/dev/null", "bs=1M", f"skip={skip}", "status=none"]) as reader:
            while reader.poll() is None:
                if stop.wait(0.05):
                    reader.kill()
        if reader.returncode > 0:
            failed.append(client.file)
            return
        skip = 0


def of_all_readers(clients, size, seconds):
    """Bytes a second that the clients get from the workers while all of them read."""
    stop, failed = threading.Event(), []
    threads = [threading.Thread(target=read_on, args=(client, size, i * size // len(clients), stop, failed))
               for i, client in enumerate(clients)]
    for t in threads:
        t.start()
    try:
        time.sleep(SETTLE_SECONDS)
        start, before = time.monotonic(), sum(c.pool_bytes() for c in clients)
        time.sleep(seconds)
        rate = (sum(c.pool_bytes() for c in clients) - before) / (time.monotonic() - start)
    finally:
        stop.set()
        for t in threads:
            t.join()
    if failed:
        raise SystemExit(f"dd failed: {failed}")
    return rate


def scale(args, work):
    size = args.size * MIB
    rows = []
    with s3_server(work, size, "lan") as s3:
        for count in (1, 2, 4, 8):
            with workers(work, count, 2 * args.size // count + 256) as (members, ports):
                fill(s3, work, members)
                held = [bytes_held(port) for port in ports]
                one = []
                with links(work, ports) as slow, contextlib.ExitStack() as stack:
                    for _ in range(args.runs):
                        drop_caches()
                        client = Client(s3["direct"], work, "reader", slow, memory="256Mi")
                        try:
                            one.append(size / dd(client.file))
                            from_the_pool([client], size)
                        finally:
                            client.close()
                    clients = []
                    for i in range(READERS):
                        clients.append(Client(s3["direct"], work, f"reader-{i}", slow, memory="256Mi"))
                        stack.callback(clients[-1].close)
                    together = of_all_readers(clients, size, args.seconds)
                    from_the_pool(clients, size)
            links_rate = count * LINK_MB * 1e6
            log(f"{count} workers: {together / 1e6:.0f} MB/s")
            rows.append([count, f"{together / 1e6:.0f}", f"{together / links_rate:.2f}", f"{statistics.median(one) / 1e6:.0f}",
                         f"{statistics.median(one) / links_rate:.2f}", f"{sum(held) / max(held) / count:.2f}"])
    table(f"{args.size} MiB from workers of {LINK_MB} MB/s each: {READERS} clients that read all the time, for {args.seconds} s; "
          f"one client that reads it once, median of {args.runs}",
          ["workers", f"{READERS} clients MB/s", "of the links", "one MB/s", "of the links", "its bound: the worker that holds most"],
          rows, "pool-scale", f"{READERS} clients MB/s")
