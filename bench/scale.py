"""What more workers bring when each has a network interface of its own: 100 MB/s, by a throttled proxy before it."""

import contextlib
import json
import socket
import statistics

from clients import s3_server
from pool import Client, listens, workers
from tools import BIN, MIB, dd, drop_caches, free_port, log, process, table, wait_for

LINK_MB = 100


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
        members = []
        for i, port in enumerate(ports):
            slow = free_port()
            stack.enter_context(process(f"link-{i}", [BIN / "throttle-proxy", "--listen", f"127.0.0.1:{slow}", "--upstream",
                                                      f"127.0.0.1:{port}", "--rate-mb", LINK_MB, "--rtt-ms", 1], work))
            wait_for("throttle-proxy", lambda: listens(slow))
            members.append({"name": f"worker-{i}", "address": f"127.0.0.1:{slow}"})
        file = work / "links.json"
        file.write_text(json.dumps({"workers": members}))
        yield file


def scale(args, work):
    size = args.size * MIB
    rows = []
    with s3_server(work, size, "lan") as s3:
        for count in (1, 2, 4, 8):
            with workers(work, count, 2 * args.size // count + 256) as (members, ports):
                filler = Client(s3["direct"], work, "filler", members)
                try:
                    dd(filler.file)
                finally:
                    filler.close()
                held = [bytes_held(port) for port in ports]
                rates = []
                with links(work, ports) as slow:
                    for _ in range(args.runs):
                        drop_caches()
                        client = Client(s3["direct"], work, "reader", slow, memory="256Mi")
                        try:
                            rates.append(size / dd(client.file))
                            if client.origin_bytes() > 0.02 * size:
                                raise SystemExit("the pool had not got the file")
                        finally:
                            client.close()
            rate = statistics.median(rates)
            log(f"{count} workers: {rate / 1e6:.0f} MB/s")
            rows.append([count, f"{rate / 1e6:.0f}", f"{rate / (count * LINK_MB * 1e6):.2f}",
                         f"{sum(held) / max(held) / count:.2f}"])
    table(f"{args.size} MiB from workers of {LINK_MB} MB/s each, one reader, median of {args.runs}",
          ["workers", "MB/s", "of their links", "bound: the worker that holds most"], rows, "pool-scale", "MB/s")
