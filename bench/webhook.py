"""The speed of sluice-webhook over TLS beside Fluid's, with many datasets in its state.

State and pods are copies, under names of their own, of what Fluid's webhook was recorded with
(test/golden/injection). wrk drives the server through connections that are kept.
"""

import base64
import copy
import http.client
import json
import os
import shutil
import ssl
import subprocess
import uuid

from tools import BIN, MIB, ROOT, cpu_seconds, free_port, log, process, rss_kib, table, wait_for

GOLDENS = ROOT / "test/golden/injection"
GOLDEN = GOLDENS / "fluid-less-alx"
PATH = "/mutate-fluid-io-v1alpha1-schedulepod"
DATASETS = 10_000  # in state while requests are answered
REVIEWS = 200  # different ones, of as many datasets
PODS = ("no-op", "sidecar")  # the same, with and without the label that asks for the sidecar
# Fluid's webhook on two loaded cores, with 8 connections: requests/s, p50 and p99 in ms, ms of
# processor a request. None: not measured.
FLUID = {"sidecar": (832, 7.3, 40.0, 0.89), "no-op": (1841, None, None, 0.33)}
FLUID_CONNECTIONS = 8
FLUID_MIB = 49

# wrk's threads each get their own copy of all this; we start one.
WRK_SCRIPT = """
local requests, next_one = {}, 0
function init(args)
  for body in io.lines(args[1]) do
    requests[#requests + 1] = wrk.format("POST", nil, {["Content-Type"] = "application/json"}, body)
  end
end
function request()
  next_one = next_one % #requests + 1
  return requests[next_one]
end
function done(summary, latency)
  local failed = 0
  for _, count in pairs(summary.errors) do failed = failed + count end
  io.stderr:write(string.format('{"requests": %d, "microseconds": %d, "failed": %d, "p50": %f, "p99": %f}\\n',
    summary.requests, summary.duration, failed, latency:percentile(50), latency:percentile(99)))
end
"""


def renamed(text, index):
    """The recorded text of dataset oracle/alx for the dataset of this index; 100 are in a namespace."""
    return text.replace("oracle", f"team-{index // 100:03}").replace("alx", f"data-{index:05}")


def write_state(path, count):
    recorded = json.loads((GOLDENS / "cluster.json").read_text())["items"]
    of_dataset = [o for o in recorded if o["metadata"]["name"] in ("alx", "alx-fuse", "oracle-alx")
                  and o["metadata"].get("namespace", "oracle") == "oracle"]
    items = [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": f"team-{i:03}"}}
             for i in range((count + 99) // 100)]
    template = json.dumps(of_dataset)
    for i in range(count):
        items += json.loads(renamed(template, i))
    for version, item in enumerate(items):
        item["metadata"].update(uid=str(uuid.uuid4()), resourceVersion=str(1_000_000 + version))
    path.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))


def review_of(pod, index):
    review = json.loads(renamed((GOLDEN / "review.json").read_text(), index))
    review["request"]["uid"] = str(uuid.uuid4())
    if pod == "no-op":
        del review["request"]["object"]["metadata"]["labels"]
    return review


def apply_patch(document, patch):
    for operation in patch:
        *way, last = [t.replace("~1", "/").replace("~0", "~") for t in operation["path"].split("/")[1:]]
        target = document
        for token in way:
            target = target[int(token) if isinstance(target, list) else token]
        key = int(last) if isinstance(target, list) else last
        if operation["op"] == "remove":
            del target[key]
        elif operation["op"] == "add" and isinstance(target, list):
            target.insert(key, operation["value"])
        else:
            target[key] = operation["value"]
    return document


class Server:
    """One sluice-webhook with a state, on all processors but the last where there are several."""

    def __init__(self, work, state):
        self.certs = work / "certs"
        self.certs.mkdir(exist_ok=True)
        self.port = free_port()
        self.cpus = sorted(os.sched_getaffinity(0))
        self.running = process(
            "webhook", [BIN / "sluice-webhook", "--state", state, "--self-signed", "--listen",
                        f"127.0.0.1:{self.port}", "--metrics-addr", "127.0.0.1:0",
                        "--webhook-cert-dir", self.certs],
            work, env=dict(os.environ, MY_POD_NAMESPACE="fluid-system"),
            preexec_fn=lambda: os.sched_setaffinity(0, self.cpus[:-1] or self.cpus))

    def __enter__(self):
        self.pid = self.running.__enter__().pid
        wait_for("sluice-webhook", self.answers, 120)
        return self

    def __exit__(self, *failure):
        return self.running.__exit__(*failure)

    def connect(self):
        context = ssl.create_default_context(cafile=self.certs / "ca-cert.pem")
        return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=10, context=context)

    def answers(self):
        try:
            self.connect().connect()
            return True
        except OSError:
            return False

    def check(self, pod, indexes):
        """Asks once for each dataset; exits unless every answer is as recorded from Fluid."""
        connection = self.connect()
        for index in indexes:
            review = review_of(pod, index)
            connection.request("POST", PATH, json.dumps(review), {"Content-Type": "application/json"})
            answer = connection.getresponse()
            response = json.load(answer)["response"]
            patch = json.loads(base64.b64decode(response.get("patch", "W10=")))
            got = review["request"]["object"]
            wanted = copy.deepcopy(got)
            if pod == "sidecar":
                wanted = json.loads(renamed((GOLDEN / "patched_pod.json").read_text(), index))
            if not (answer.status == 200 and response["uid"] == review["request"]["uid"]
                    and response["allowed"] and apply_patch(got, patch) == wanted):
                raise SystemExit(f"{pod} pod of dataset {index}: wrong answer {response}")

    def load(self, bodies, script, connections, seconds):
        """wrk's numbers, and the server's processor seconds meanwhile."""
        before = cpu_seconds(self.pid)
        done = subprocess.run(
            ["wrk", "--threads", "1", "--connections", str(connections), "--duration", f"{seconds}s",
             "--timeout", "10s", "--script", script, f"https://127.0.0.1:{self.port}{PATH}", "--", bodies],
            check=True, text=True, capture_output=True,
            preexec_fn=lambda: os.sched_setaffinity(0, self.cpus[-1:]))
        numbers = json.loads(done.stderr)
        numbers["cpu"] = cpu_seconds(self.pid) - before
        if numbers["failed"] or not numbers["requests"]:
            raise SystemExit(f"of {numbers['requests']} requests {numbers['failed']} failed")
        return numbers


def beside(value, fluid, digits):
    """A number, and how many times Fluid's it is."""
    text = f"{value:.{digits}f}"
    return text if fluid is None else f"{text} ({value / fluid:.2f}×)"


def row(pod, connections, numbers, load):
    comparable = FLUID[pod] if connections == FLUID_CONNECTIONS else (None, None, None, FLUID[pod][3])
    rate = numbers["requests"] / numbers["microseconds"] * 1e6
    return [pod, connections, beside(rate, comparable[0], 0), beside(numbers["p50"] / 1e3, comparable[1], 2),
            beside(numbers["p99"] / 1e3, comparable[2], 2),
            beside(numbers["cpu"] / numbers["requests"] * 1e3, comparable[3], 3), f"{load:.1f}"]


def webhook(args, work):
    if shutil.which("wrk") is None:
        raise SystemExit("wrk is missing: run apt-get install wrk first")
    script = work / "load.lua"
    script.write_text(WRK_SCRIPT)
    rows, resident = [], []
    for count in (1000, DATASETS):
        state = work / "state.json"
        write_state(state, count)
        indexes = range(0, count, count // REVIEWS)
        with Server(work, state) as server:
            log(f"webhook with {count} datasets")
            at_start = rss_kib(server.pid)
            for pod in PODS:
                server.check(pod, indexes)
                bodies = work / "reviews"
                bodies.write_text("".join(json.dumps(review_of(pod, i)) + "\n" for i in indexes))
                for connections in (1, 8, 32) if count == DATASETS else (32,):
                    numbers = server.load(bodies, script, connections, args.seconds)
                    if count == DATASETS:
                        rows.append(row(pod, connections, numbers, os.getloadavg()[0]))
                server.check(pod, indexes)
            resident.append([count, f"{at_start * 1024 / MIB:.1f}",
                             beside(rss_kib(server.pid) * 1024 / MIB, FLUID_MIB, 1)])
    table(f"sluice-webhook, {DATASETS} datasets in state, TLS with kept connections (× of Fluid's)",
          ["pod", "connections", "requests/s", "p50 ms", "p99 ms", "CPU ms/request", "load average"], rows)
    table("Resident memory", ["datasets", "after start MiB", "after load MiB (× of Fluid's)"], resident)
