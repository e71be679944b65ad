"""What the benches share: processes and what they cost, waiting, tables."""

import contextlib
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import time

from plot import bars

ROOT = pathlib.Path(__file__).resolve().parent.parent
BIN = pathlib.Path(os.environ.get("SLUICE_BIN", ROOT / "build/release/bin"))
TOOLS = pathlib.Path(os.environ.get("SLUICE_CACHE", pathlib.Path.home() / ".cache/sluice")) / "bin"
MIB = 1 << 20


def log(text):
    print(f"[{time.strftime('%H:%M:%S')}] {text}", file=sys.stderr, flush=True)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def run(*cmd, **kwargs):
    return subprocess.run([str(c) for c in cmd], check=True, text=True, capture_output=True, **kwargs)


def wait_for(what, check, seconds=30):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if check():
            return
        time.sleep(0.05)
    raise SystemExit(f"{what}: not there after {seconds} s")


@contextlib.contextmanager
def process(name, cmd, work, **kwargs):
    with open(work / f"{name}.log", "wb") as out:
        p = subprocess.Popen([str(c) for c in cmd], stdout=out, stderr=out, **kwargs)
    try:
        yield p
    finally:
        p.send_signal(signal.SIGTERM)
        try:
            p.wait(10)
        except subprocess.TimeoutExpired:
            p.kill()
            p.wait()


def cpu_seconds(pid):
    with contextlib.suppress(OSError):
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return 0.0


def rss_kib(pid, field="VmRSS"):
    with contextlib.suppress(OSError):
        match = re.search(rf"{field}:\s+(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text())
        return int(match.group(1)) if match else 0
    return 0


# Where plots go; None: nowhere.
plots = None


def table(title, header, rows, plot=None, column=None, labels=1):
    """Prints it. `plot` is the name of a plot of the column, whose bars are labelled by the first `labels` columns."""
    print(f"\n### {title}\n\n| {' | '.join(header)} |\n|{' --- |' * len(header)}")
    for row in rows:
        print(f"| {' | '.join(str(c) for c in row)} |")
    sys.stdout.flush()
    if plots is None or plot is None:
        return
    values = [(", ".join(str(c) for c in row[:labels]), float(row[header.index(column)])) for row in rows]
    plots.mkdir(parents=True, exist_ok=True)
    (plots / f"{plot}.svg").write_text(bars(title, column, values))


def drop_caches():
    os.sync()
    pathlib.Path("/proc/sys/vm/drop_caches").write_text("3")


def dd(path):
    start = time.monotonic()
    run("dd", f"if={path}", "of=/dev/null", "bs=1M")
    return time.monotonic() - start
