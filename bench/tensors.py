"""Loading a model with the real safetensors library, which maps the file: the first time and again."""

import json
import os
import shutil
import statistics
import struct
import subprocess

from clients import BUCKET, Rclone, S3fs, Sluice, curl_s3, s3_server
from tools import MIB, ROOT, drop_caches, log, run, table

LOAD = """
import sys, time
from safetensors.numpy import load_file
start = time.monotonic()
tensors = load_file(sys.argv[1])
print(sum(t.nbytes for t in tensors.values()) / (time.monotonic() - start))
"""


def make_model(path, size):
    """Tensors of 64 MiB, as the weights of a layer are."""
    count = size // (64 * MIB)
    header = {f"layer.{i}": {"dtype": "F32", "shape": [16 * MIB], "data_offsets": [i * 64 * MIB, (i + 1) * 64 * MIB]}
              for i in range(count)}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for _ in range(count):
            f.write(os.urandom(64 * MIB))


def load(packages, path):
    """Bytes a second, of which most are a copy out of the mapping."""
    env = dict(os.environ, PYTHONPATH=str(packages))
    done = subprocess.run(["python3", "-c", LOAD, path], check=True, text=True, stdout=subprocess.PIPE, env=env)
    return float(done.stdout)


def tensors(args, work):
    packages = work / "packages"
    run(ROOT / "scripts/python-packages", "demo", packages)
    model = work / "model.safetensors"
    make_model(model, args.size * MIB)
    rows = []
    with s3_server(work, 8 * MIB, args.profile) as s3:
        curl_s3(s3["direct"], "PUT", f"{BUCKET}/model.safetensors", "--upload-file", model)
        for client in (Sluice, Rclone, S3fs):
            shutil.rmtree(work / "cache", ignore_errors=True)
            drop_caches()
            mount = client(s3["slow"], work)
            try:
                file = mount.mount / "model.safetensors"
                first = load(packages, file)
                again = statistics.median(load(packages, file) for _ in range(args.runs))
            finally:
                mount.close()
            log(f"{client.name}: {first / 1e6:.0f} MB/s, again {again / 1e6:.0f}")
            rows.append([client.name, f"{first / 1e6:.0f}", f"{again / 1e6:.0f}"])
        load(packages, model)
        again = statistics.median(load(packages, model) for _ in range(args.runs))
        rows.append(["the local file", "", f"{again / 1e6:.0f}"])
    table(f"safetensors.numpy.load_file of {args.size} MiB, profile {args.profile}",
          ["client", "first MB/s", "again MB/s"], rows, f"safetensors-{args.profile}", "again MB/s")
