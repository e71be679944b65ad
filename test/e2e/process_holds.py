"""Whether a process of a pod holds these bytes in memory that it may write: exit status 0 if so.

    process_holds.py POD_UID COMMAND TEXT

The pod's containers have to run on this machine. 2: it cannot be told.
"""

from __future__ import annotations

import pathlib
import sys


def processes(pod_uid: str, command: str) -> list[pathlib.Path]:
    found = []
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            groups = (process / "cgroup").read_text().replace("_", "-")
            if pod_uid in groups and (process / "comm").read_text().strip() == command:
                found.append(process)
        except OSError:  # it has ended
            continue
    return found


def holds(process: pathlib.Path, text: bytes) -> bool:
    with (process / "mem").open("rb", buffering=0) as memory:
        for line in (process / "maps").read_text().splitlines():
            addresses, mode = line.split()[:2]
            if not mode.startswith("rw"):
                continue
            at, end = (int(a, 16) for a in addresses.split("-"))
            tail = b""
            while at < end:
                try:
                    memory.seek(at)
                    part = memory.read(min(end - at, 16 << 20))
                except OSError:
                    break
                if not part:
                    break
                if text in tail + part:
                    return True
                tail = part[-len(text) :]
                at += len(part)
    return False


def main() -> int:
    pod_uid, command, text = sys.argv[1:]
    found = processes(pod_uid, command)
    if not found:
        print(f"pod {pod_uid} has no process {command}", file=sys.stderr)
        return 2
    return 0 if any(holds(process, text.encode()) for process in found) else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Exception as error:  # which would end with 1
        print(error, file=sys.stderr)
        sys.exit(2)
