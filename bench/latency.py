"""How long single reads take: at random places of a large file, and of many small files."""

import os
import random
import shutil
import statistics
import subprocess
import time

from clients import BUCKET, Rclone, RcloneDefault, S3fs, Sluice, rclone_environment, s3_server
from tools import MIB, TOOLS, drop_caches, log, run, table

CLIENTS = [Sluice, Rclone, RcloneDefault, S3fs]
SMALL = 64 << 10
RANDOM_READS = 200


def percentile(values, share):
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def random_reads(args, work):
    rows = []
    with s3_server(work, args.size * MIB, args.profile) as s3:
        for client in CLIENTS:
            shutil.rmtree(work / "cache", ignore_errors=True)
            drop_caches()
            mount = client(s3["slow"], work)
            try:
                places = random.Random(7).sample(range(args.size * MIB // SMALL), RANDOM_READS)
                took = []
                file = os.open(mount.mount / "model.bin", os.O_RDONLY)
                try:
                    for place in places:
                        start = time.monotonic()
                        if len(os.pread(file, SMALL, place * SMALL)) != SMALL:
                            raise SystemExit("a short read")
                        took.append((time.monotonic() - start) * 1000)
                finally:
                    os.close(file)
            finally:
                mount.close()
            log(f"{client.name}: p50 {statistics.median(took):.0f} ms")
            rows.append([client.name, f"{statistics.median(took):.1f}", f"{percentile(took, 0.99):.0f}"])
    table(f"{RANDOM_READS} reads of 64 KiB at random places of {args.size} MiB, profile {args.profile}",
          ["client", "p50 ms", "p99 ms"], rows, f"random-{args.profile}", "p50 ms")


def make_small_files(work, count, endpoint):
    """Through rclone: one upload a file with curl would take minutes."""
    source = work / "small"
    for i in range(count):
        folder = source / f"{i // 1000:03d}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{i:06d}.bin").write_bytes(os.urandom(SMALL))
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


def files_a_second(directory):
    done = subprocess.run(["python3", "-c", READ_ALL, directory], check=True, text=True, stdout=subprocess.PIPE)
    return float(done.stdout)


def small_files(args, work):
    rows = []
    with s3_server(work, 8 * MIB, args.profile) as s3:
        make_small_files(work, args.files, s3["direct"])
        for client in CLIENTS:
            shutil.rmtree(work / "cache", ignore_errors=True)
            drop_caches()
            mount = client(s3["slow"], work)
            try:
                cold = files_a_second(mount.mount / "small")
                warm = files_a_second(mount.mount / "small")
            finally:
                mount.close()
            log(f"{client.name}: {cold:.0f} files/s cold, {warm:.0f} warm")
            rows.append([client.name, f"{cold:.0f}", f"{warm:.0f}"])
    table(f"{args.files} files of 64 KiB, one reader, profile {args.profile}",
          ["client", "cold files/s", "warm files/s"], rows, f"small-files-{args.profile}", "cold files/s")
