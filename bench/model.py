#!/usr/bin/env python3
"""A model on paper of pods that start together on the same data: what bounds them, and when they have it.

    bench/model.py            the cases of docs/scale.md
    bench/model.py --pods 200 --gb 140 --nodes 25 --workers 25 --nic-gbit 100 --cores 16

Every byte leaves the origin once. A client (one on each node, or one in each pod with a sidecar) reads all of it from
the workers, which run on the same nodes. Constants are measured on one machine, with the command beside each, or
assumed and said so.
"""

import argparse
import dataclasses

GB = 1e9

# Measured, seconds of one core for each GB.
CLIENT = 1.83  # a client that keeps what it reads in its node's cache: bench/run first-read (docs/performance.md)
WORKER = 143e-9 / 1024 * GB  # memcached 1.6.18 sending 4 MiB values
WORKER_RATE = 2.7 * GB  # bytes/s of one worker over loopback, 4 MiB values

# Assumed.
CLIENT_THREADS = 4  # of a client that are busy at once: receiving (2), answering the kernel, writing the cache
WIRE = 0.94  # of an interface's rate that TCP leaves to payload
CORES_FOR_DATA = 0.8  # of a node's cores while it loads
DISK = 2 * GB  # bytes/s that a node's disk takes


@dataclasses.dataclass
class Case:
    name: str
    pods: int
    gb: float
    nodes: int
    workers: int
    nic_gbit: float
    cores: int
    origin_gbs: float
    sidecars: bool = False
    disk: bool = True

    def seconds(self):
        """By resource, the seconds that it alone would take: the longest bounds the start, the rest overlaps."""
        clients = self.pods if self.sidecars else min(self.nodes, self.pods)
        nic = self.nic_gbit / 8 * GB * WIRE
        cores = self.cores * CORES_FOR_DATA
        size = self.gb * GB
        on_node = size * clients / self.nodes  # bytes that the clients of one node receive
        from_worker = size * clients / self.workers
        return {
            "origin": size / (self.origin_gbs * GB),
            "network into a node": (on_node + size / self.nodes) / nic,
            "network out of a node": from_worker * max(1, self.workers / self.nodes) / nic,
            "a worker's own rate": from_worker / WORKER_RATE,
            "a client's own rate": size / GB * CLIENT / CLIENT_THREADS,
            "processor of a node": (on_node / GB * CLIENT + from_worker / GB * WORKER * self.workers / self.nodes) / cores,
            "disk of a node": on_node / DISK if self.disk else 0.0,
        }

    def alone(self):
        """Seconds without Sluice: every pod reads all of it from the origin."""
        nic = self.nic_gbit / 8 * GB * WIRE
        return max(self.pods * self.gb / self.origin_gbs, self.gb * GB * self.pods / self.nodes / nic)


CASES = [
    Case("100 pods × 30 GB, 25 Gbit/s, one client a node", 100, 30, 25, 25, 25, 16, 10),
    Case("100 pods × 30 GB, 25 Gbit/s, a sidecar in each pod, cache in memory", 100, 30, 25, 25, 25, 16, 10, sidecars=True,
         disk=False),
    Case("340 GiB model on 8 nodes of 100 Gbit/s, cache in memory", 8, 340 * 1.0737, 8, 8, 100, 96, 10, disk=False),
    Case("the same with four workers on each node", 8, 340 * 1.0737, 8, 32, 100, 96, 10, disk=False),
    Case("the same with the cache on disk", 8, 340 * 1.0737, 8, 32, 100, 96, 10),
    Case("340 GiB model on 100 nodes, two workers on each, cache in memory", 100, 340 * 1.0737, 100, 200, 100, 96, 10, disk=False),
]


def show(case):
    seconds = case.seconds()
    bound = max(seconds, key=seconds.get)
    print(f"\n### {case.name}\n\n| resource | seconds |\n| --- | --- |")
    for resource, value in seconds.items():
        print(f"| {resource}{' (bound)' if resource == bound else ''} | {value:.0f} |")
    print(f"\nTogether {seconds[bound]:.0f} s; each pod alone from the origin {case.alone():.0f} s: "
          f"{case.alone() / seconds[bound]:.1f} ×.")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pods", type=int)
    parser.add_argument("--gb", type=float, default=30)
    parser.add_argument("--nodes", type=int, default=25)
    parser.add_argument("--workers", type=int, default=25)
    parser.add_argument("--nic-gbit", type=float, default=25)
    parser.add_argument("--cores", type=int, default=16)
    parser.add_argument("--origin-gbs", type=float, default=10, help="GB/s that the origin gives in all")
    parser.add_argument("--sidecars", action="store_true", help="a client in each pod instead of one a node")
    parser.add_argument("--memory", action="store_true", help="the node cache is in memory")
    args = parser.parse_args()
    if args.pods is None:
        for case in CASES:
            show(case)
        return
    if min(args.pods, args.gb, args.nodes, args.workers, args.nic_gbit, args.cores, args.origin_gbs) <= 0:
        parser.error("every number must be above 0")
    show(Case("as asked", args.pods, args.gb, args.nodes, args.workers, args.nic_gbit, args.cores, args.origin_gbs,
              args.sidecars, not args.memory))


if __name__ == "__main__":
    main()
