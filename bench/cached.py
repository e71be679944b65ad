"""Reading again what a client has cached, past the kernel's page cache: the client's own path."""

import contextlib
import os
import pathlib
import shutil
import statistics
import threading
import time

from clients import Rclone, S3fs, Sluice, s3_server
from tools import MIB, ROOT, cpu_seconds, dd, drop_caches, log, process, run, table, wait_for

READ_AHEAD_KB = "8192"  # as Sluice sets it


class SluiceDaemon(Sluice):
    name = "sluice, no passthrough"

    def __init__(self, endpoint, work):
        super().__init__(endpoint, work, more=["--no-passthrough"])


class RcloneCached(Rclone):
    name = "rclone, full cache"

    def __init__(self, endpoint, work):
        self.extra = ["--vfs-cache-mode", "full", "--cache-dir", str(work / "cache"), "--vfs-read-ahead", "64M",
                      "--vfs-read-chunk-size", "8M", "--vfs-read-chunk-streams", "16"]
        super().__init__(endpoint, work)


class S3fsCached(S3fs):
    name = "s3fs, use_cache"

    def __init__(self, endpoint, work):
        self.extra = ["-o", f"use_cache={work / 'cache'}"]
        super().__init__(endpoint, work)


def forget_pages(path):
    """The kernel's pages of this file; those of the cache behind it stay."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(fd)


def read_in_parts(path, size, parts):
    """Seconds until so many processes have read a part each, all at once."""
    if parts == 1:
        return dd(path)
    count = size // MIB // parts
    start_together = threading.Barrier(parts + 1)

    def read(i):
        start_together.wait()
        run("dd", f"if={path}", "of=/dev/null", "bs=1M", f"skip={i * count}", f"count={count}")

    threads = [threading.Thread(target=read, args=(i,)) for i in range(parts)]
    for t in threads:
        t.start()
    start_together.wait()
    start = time.monotonic()
    for t in threads:
        t.join()
    return time.monotonic() - start


@contextlib.contextmanager
def bare_fuse(work, size):
    """The file of a server that has nothing to do but to answer, and its process."""
    binary, mount = work / "fuse_limit", work / "bare"
    flags = run("pkg-config", "--cflags", "--libs", "fuse3").stdout.split()
    run("c++", "-std=c++20", "-O2", "-o", binary, ROOT / "bench/fuse_limit.cc", *flags)
    mount.mkdir()
    with process("fuse_limit", [binary, size, mount], work) as server:
        wait_for("the bare FUSE server", lambda: os.path.ismount(mount))
        device = os.stat(mount).st_dev
        pathlib.Path(f"/sys/class/bdi/{os.major(device)}:{os.minor(device)}/read_ahead_kb").write_text(READ_AHEAD_KB)
        yield mount / "data", server.pid


def read_again(name, file, pid, size, runs):
    """Rows of what 1 and 8 readers get of the file, without the kernel's pages of it."""
    rows = []
    for threads in (1, 8):
        rates, cpu = [], 0.0
        for _ in range(runs):
            forget_pages(file)
            before = cpu_seconds(pid)
            rates.append(size / read_in_parts(file, size, threads))
            cpu = (cpu_seconds(pid) - before) / (size / 1e9)
        rows.append([name, threads, f"{statistics.median(rates) / 1e6:.0f}", f"{cpu:.2f}"])
    return rows


def cached_read(args, work):
    size = args.size * MIB
    rows = []
    with s3_server(work, size, "lan") as s3:
        for client in (SluiceDaemon, RcloneCached, S3fsCached):
            shutil.rmtree(work / "cache", ignore_errors=True)
            drop_caches()
            mount = client(s3["direct"], work)
            try:
                file = mount.mount / "model.bin"
                dd(file)
                if client is SluiceDaemon:
                    wait_for("the whole file", lambda: next(mount.cache.glob("objects/*.data"), None), 60)
                rows += read_again(client.name, file, mount.pid(), size, args.runs)
            finally:
                mount.close()
            log(f"{client.name}: {rows[-2][2]} MB/s")
        with bare_fuse(work, size) as (file, pid):
            rows += read_again("libfuse that answers from one buffer", file, pid, size, args.runs)
        for threads in (1, 8):
            rate = statistics.median(size / read_in_parts(s3["source"], size, threads) for _ in range(args.runs))
            rows.append(["the local file", threads, f"{rate / 1e6:.0f}", ""])
    table(f"{args.size} MiB that the client has cached, kernel's pages of the mount dropped, median of {args.runs}",
          ["client", "readers", "MB/s", "CPU s/GB"], rows, "cached-read", "MB/s", labels=2)
