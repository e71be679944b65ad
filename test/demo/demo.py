"""What the demo's pods run: fill a bucket with models, read it straight, and read it through a mount.

    demo.py seed    --endpoint URL --bucket B --prefix P   upload a real model and a generated one
    demo.py stream  --endpoint URL --bucket B --prefix P   read every object from S3 in one stream
    demo.py verify  DIR --sums FILE                        read every file of a mount and load the weights

`stream` and `verify` compare SHA-256 sums with the ones `seed` recorded. Each prints one last line
"RESULT {...}" and exits 0 only when every sum is right.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import queue
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

BLOCK = 8 << 20
TENSOR_SHAPE = (4096, 4096)
TENSOR_BYTES = TENSOR_SHAPE[0] * TENSOR_SHAPE[1] * 2  # F16
GENERATOR = "philox-1"  # named in the record, so that other contents are not taken for these

Sums = dict[str, dict[str, Any]]  # path below the prefix -> {"sha256": hex, "bytes": n}


class Hasher:
    """SHA-256 of a stream on a thread of its own, so that reading waits for nothing but the data."""

    def __init__(self) -> None:
        self._sum = hashlib.sha256()
        self._queue: queue.Queue[bytes | None] = queue.Queue(maxsize=8)
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while (block := self._queue.get()) is not None:
            self._sum.update(block)

    def update(self, block: bytes) -> None:
        self._queue.put(block)

    def hexdigest(self) -> str:
        self._queue.put(None)
        self._thread.join()
        return self._sum.hexdigest()


def log(message: str) -> None:
    print(message, flush=True)


def finish(result: dict[str, Any]) -> int:
    """Prints the result; the exit status says whether anything was wrong."""
    log("RESULT " + json.dumps(result, separators=(",", ":")))
    return 1 if result.get("wrong") else 0


def s3_client(endpoint: str, credentials: Path | None) -> Any:
    import boto3
    from botocore.config import Config

    keys = {}
    if credentials:  # a Secret's directory
        keys = {
            "aws_access_key_id": (credentials / "accessKey").read_text().strip(),
            "aws_secret_access_key": (credentials / "secretKey").read_text().strip(),
        }
    config = Config(
        s3={"addressing_style": "path"},
        retries={"max_attempts": 10, "mode": "standard"},
        connect_timeout=5,
        read_timeout=60,
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    return boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1", config=config, **keys)


# ---------------------------------------------------------------- seed


def generated_model(size: int) -> Iterator[bytes]:
    """A safetensors file of about `size` bytes: F16 tensors of finite values, always the same."""
    import numpy

    count = max(1, size // TENSOR_BYTES)
    header: dict[str, Any] = {"__metadata__": {"generator": GENERATOR}}
    for i in range(count):
        header[f"layers.{i:03d}.weight"] = {
            "dtype": "F16",
            "shape": list(TENSOR_SHAPE),
            "data_offsets": [i * TENSOR_BYTES, (i + 1) * TENSOR_BYTES],
        }
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    yield struct.pack("<Q", len(text)) + text
    for i in range(count):
        words = numpy.random.Philox(key=42, counter=[0, 0, 0, i]).random_raw(TENSOR_BYTES // 8)
        # Without the top exponent bit no half-precision number is infinite or not a number.
        words &= numpy.uint64(0xBFFFBFFFBFFFBFFF)
        yield words.tobytes()


class ReadableStream:
    """A file object over an iterator of blocks that hashes and counts what passes."""

    def __init__(self, blocks: Iterable[bytes], progress: Callable[[int], None]) -> None:
        self._blocks = iter(blocks)
        self._rest = memoryview(b"")
        self._hasher = Hasher()
        self._progress = progress
        self.size = 0

    def read(self, size: int = -1) -> bytes:
        parts: list[memoryview] = []
        wanted = size if size >= 0 else sys.maxsize
        while wanted > 0:
            if not self._rest:
                block = next(self._blocks, None)
                if block is None:
                    break
                self._hasher.update(block)
                self.size += len(block)
                self._progress(self.size)
                self._rest = memoryview(block)
            part = self._rest[:wanted]
            self._rest = self._rest[len(part) :]
            parts.append(part)
            wanted -= len(part)
        return b"".join(parts)

    def hexdigest(self) -> str:
        return self._hasher.hexdigest()


def blocks_of(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            yield block


def sources(model_dir: Path, size: int) -> Iterator[tuple[str, Callable[[], Iterable[bytes]]]]:
    for path in sorted(p for p in model_dir.rglob("*") if p.is_file()):
        yield str(path.relative_to(model_dir)), lambda path=path: blocks_of(path)
    yield "generated-2g/model.safetensors", lambda: generated_model(size)


def present(client: Any, bucket: str, prefix: str, sums: Sums) -> bool:
    """Whether every object of a record lies in the bucket with the size that it says."""
    from botocore.exceptions import ClientError

    for path, entry in sums.items():
        try:
            head = client.head_object(Bucket=bucket, Key=prefix + path)
        except ClientError:
            return False
        if head["ContentLength"] != entry["bytes"]:
            return False
    return True


def seed(args: argparse.Namespace) -> int:
    from boto3.s3.transfer import TransferConfig
    from botocore.exceptions import ClientError

    client = s3_client(args.endpoint, args.credentials)
    record_key = args.prefix.rstrip("/") + ".sums.json"
    try:
        client.create_bucket(Bucket=args.bucket)
    except ClientError as error:
        if error.response["Error"]["Code"] not in ("BucketAlreadyOwnedByYou", "BucketAlreadyExists"):
            raise
    try:
        record = json.loads(client.get_object(Bucket=args.bucket, Key=record_key)["Body"].read())
        same = record.get("generator") == GENERATOR and record.get("size") == args.size
        if same and present(client, args.bucket, args.prefix, record["sums"]):
            log("the bucket holds the models already")
            return finish({"sums": record["sums"], "seconds": 0.0, "cached": True})
    except ClientError:
        pass  # no record: the first run

    start = time.monotonic()
    shown = start
    sums: Sums = {}
    transfer = TransferConfig(multipart_threshold=64 << 20, multipart_chunksize=64 << 20, max_concurrency=2)
    for path, open_source in sources(args.model, args.size):

        def progress(done: int, path: str = path) -> None:
            nonlocal shown
            if time.monotonic() - shown >= 2:
                shown = time.monotonic()
                log(f"{path}: {done >> 20} MiB")

        stream = ReadableStream(open_source(), progress)
        client.upload_fileobj(stream, args.bucket, args.prefix + path, Config=transfer)
        sums[path] = {"sha256": stream.hexdigest(), "bytes": stream.size}
        log(f"uploaded {path} ({stream.size} bytes)")
    record = {"generator": GENERATOR, "size": args.size, "sums": sums}
    client.put_object(Bucket=args.bucket, Key=record_key, Body=json.dumps(record).encode())
    return finish({"sums": sums, "seconds": round(time.monotonic() - start, 3), "cached": False})


# ---------------------------------------------------------------- reading


def read_all(sums: Sums, open_source: Callable[[str], Iterable[bytes]]) -> dict[str, Any]:
    """Reads every file once, in one stream, and compares the sums."""
    wrong: list[str] = []
    total = 0
    start = time.monotonic()
    for path, entry in sorted(sums.items()):
        hasher = Hasher()
        size = 0
        try:
            for block in open_source(path):
                hasher.update(block)
                size += len(block)
        except OSError as error:
            wrong.append(f"{path}: {error}")
        digest = hasher.hexdigest()
        if digest != entry["sha256"]:
            wrong.append(f"{path}: SHA-256 is {digest}, {entry['sha256']} expected")
        total += size
    seconds = time.monotonic() - start
    return {"bytes": total, "seconds": round(seconds, 3), "files": len(sums), "wrong": wrong}


def stream(args: argparse.Namespace) -> int:
    client = s3_client(args.endpoint, args.credentials)

    def open_object(path: str) -> Iterable[bytes]:
        body = client.get_object(Bucket=args.bucket, Key=args.prefix + path)["Body"]
        return body.iter_chunks(BLOCK)

    return finish(read_all(load_sums(args.sums), open_object))


def unbuffered_blocks(path: Path) -> Iterator[bytes]:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        while block := os.read(descriptor, BLOCK):
            yield block
    finally:
        os.close(descriptor)


def load_weights(directory: Path, sums: Sums) -> dict[str, Any]:
    """Loads every tensor of every safetensors file, and touches all of it."""
    import numpy
    from safetensors import safe_open

    tensors = 0
    parameters = 0
    start = time.monotonic()
    for path in sorted(p for p in sums if p.endswith(".safetensors")):
        with safe_open(directory / path, framework="numpy") as weights:
            for name in weights.keys():  # noqa: SIM118 (no mapping)
                tensor = weights.get_tensor(name)
                if tensor.dtype.kind == "f" and not numpy.isfinite(tensor).all():
                    return {"wrong": [f"{path}: {name} holds values that are no numbers"]}
                tensors += 1
                parameters += tensor.size
    seconds = time.monotonic() - start
    return {"load_seconds": round(seconds, 3), "tensors": tensors, "parameters": parameters}


def verify(args: argparse.Namespace) -> int:
    sums = load_sums(args.sums)
    listed = {str(p.relative_to(args.directory)) for p in args.directory.rglob("*") if p.is_file()}
    result: dict[str, Any] = read_all(sums, lambda path: unbuffered_blocks(args.directory / path))
    log(f"first read: {result['bytes']} bytes in {result['seconds']} s")
    result["wrong"] += [f"{path}: not listed" for path in sorted(set(sums) - listed)]
    result["wrong"] += [f"{path}: listed, but never uploaded" for path in sorted(listed - set(sums))]
    again = read_all(sums, lambda path: unbuffered_blocks(args.directory / path))
    result["again_seconds"] = again["seconds"]
    result["wrong"] += again["wrong"]
    log(f"second read: {again['seconds']} s")
    loaded = load_weights(args.directory, sums)
    result["wrong"] += loaded.pop("wrong", [])
    result |= loaded
    return finish(result)


def load_sums(path: Path) -> Sums:
    return json.loads(path.read_text())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    for name, run in (("seed", seed), ("stream", stream)):
        command = commands.add_parser(name)
        command.set_defaults(run=run)
        command.add_argument("--endpoint", required=True)
        command.add_argument("--bucket", required=True)
        command.add_argument("--prefix", required=True, help='ends with "/"')
        command.add_argument("--credentials", type=Path, help="directory with accessKey and secretKey")
        if name == "seed":
            command.add_argument("--model", type=Path, default=Path("/usr/share/sluice-demo"))
            command.add_argument("--size", type=int, default=2 << 30, help="bytes of the generated file")
        else:
            command.add_argument("--sums", type=Path, required=True)
    command = commands.add_parser("verify")
    command.set_defaults(run=verify)
    command.add_argument("directory", type=Path)
    command.add_argument("--sums", type=Path, required=True)
    args = parser.parse_args()
    return args.run(args)


if __name__ == "__main__":
    sys.exit(main())
