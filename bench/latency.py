"""How long single reads take: at random places of a large file, and of many small files.

The object store has just been written and answers from memory; what is new to a client is cold.
"""

import os
import random
import shutil
import statistics
import subprocess
import time

from clients import BUCKET, Sluice, peers, rclone_environment, s3_server
from tools import MIB, TOOLS, drop_caches, log, run, table

SMALL = 64 << 10
RANDOM_READS = 100
RANDOM_SIZES = (64 << 10, 128 << 10)


def percentile(values, share):
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def read_at_random(path, size, seed):
    """Milliseconds of each read; places are none twice."""
    places = random.Random(seed).sample(range(os.path.getsize(path) // size), RANDOM_READS)
    took = []
    file = os.open(path, os.O_RDONLY)
    try:
        for place in places:
            start = time.monotonic()
            if len(os.pread(file, size, place * size)) != size:
                raise SystemExit("a short read")
            took.append((time.monotonic() - start) * 1000)
    finally:
        os.close(file)
    return took


def random_reads(args, work):
    rows = []
    with s3_server(work, args.size * MIB, args.profile) as s3:
        for client in (Sluice, *peers()):
            for size in RANDOM_SIZES:
                shutil.rmtree(work / "cache", ignore_errors=True)
                mount = client(s3["slow"], work)
                try:
                    took = read_at_random(mount.mount / "model.bin", size, size)
                finally:
                    mount.close()
                p50 = f"{statistics.median(took):.1f}"
                log(f"{client.name}, {size >> 10} KiB: p50 {p50} ms")
                rows.append([client.name, size >> 10, p50, f"{percentile(took, 0.99):.0f}", f"{sum(took) / 1000:.1f}"])
    table(f"{RANDOM_READS} reads at random places of {args.size} MiB, profile {args.profile}",
          ["client", "KiB", "p50 ms", "p99 ms", "all, s"], rows, f"random-{args.profile}", "all, s", labels=2)


def write_small_files(directory, count):
    for i in range(count):
        folder = directory / f"{i // 1000:03d}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{i:06d}.bin").write_bytes(os.urandom(SMALL))


def local_files(args, work):
    """The same columns, as the limit."""
    directory = work / "local"
    write_small_files(directory, args.files)
    columns = []
    for program in (STAT_ALL, READ_ALL, READ_ALL):
        if len(columns) < 2:
            drop_caches()
        columns.append(f"{files_a_second(program, directory):.0f}")
    shutil.rmtree(directory)
    return columns


def make_small_files(work, count, endpoint):
    """Through rclone: one upload a file with curl would take minutes."""
    source = work / "small"
    write_small_files(source, count)
    env = rclone_environment(endpoint, work)
    run(TOOLS / "rclone", "copy", "--transfers", "32", source, f"R:{BUCKET}/small", env=env)
    shutil.rmtree(source)


# In a process of its own, so that nothing of the bench slows it down.
READ_ALL = """
import os, sys, time
start = time.monotonic()
count = 0
for folder, folders, files in os.walk(sys.argv[1]):
    folders.sort()
    for name in sorted(files):
        path = os.path.join(folder, name)
        os.stat(path)
        with open(path, "rb", buffering=0) as file:
            if len(file.read(1 << 20)) != 65536:
                raise SystemExit("a short read")
        count += 1
print(count / (time.monotonic() - start))
"""


STAT_ALL = """
import os, sys, time
start = time.monotonic()
count = 0
for folder, folders, files in os.walk(sys.argv[1]):
    for name in files:
        os.stat(os.path.join(folder, name))
        count += 1
print(count / (time.monotonic() - start))
"""


def files_a_second(program, directory):
    done = subprocess.run(["python3", "-c", program, directory], check=True, text=True, stdout=subprocess.PIPE)
    return float(done.stdout)


def small_files(args, work):
    rows = []
    with s3_server(work, 8 * MIB, args.profile) as s3:
        make_small_files(work, args.files, s3["direct"])
        for client in (Sluice, *peers()):
            shutil.rmtree(work / "cache", ignore_errors=True)
            mount = client(s3["slow"], work)
            try:
                stat = files_a_second(STAT_ALL, mount.mount / "small")
            finally:
                mount.close()
            mount = client(s3["slow"], work)
            try:
                cold = files_a_second(READ_ALL, mount.mount / "small")
                warm = files_a_second(READ_ALL, mount.mount / "small")
            finally:
                mount.close()
            log(f"{client.name}: {cold:.0f} files/s cold, {warm:.0f} warm")
            rows.append([client.name, f"{stat:.0f}", f"{cold:.0f}", f"{warm:.0f}"])
        rows.append(["the local directory", *local_files(args, work)])
    table(f"{args.files} files of 64 KiB, one reader, profile {args.profile}",
          ["client", "stat/s, first walk", "cold files/s", "warm files/s"], rows, f"small-files-{args.profile}", "cold files/s")
