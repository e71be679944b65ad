#!/usr/bin/env python3
"""Reads every #include of our modules against the layer table and names each edge that breaks it.

CMake's link lists keep our own modules apart, but system headers are visible to every target; this
test is what keeps, say, gRPC out of the webhook. The table is docs/architecture.md's.
"""

import pathlib
import re
import sys

# module -> our modules it may include (its own is always allowed)
LAYERS = {
    "core": set(),
    "ports": {"core"},
    "platform": {"core"},
    "yaml": {"core", "ports", "platform"},
    "kube": {"core", "ports", "platform"},
    "origin": {"core", "ports", "platform"},
    "pool": {"core", "ports", "platform"},
    "cache": {"core", "ports", "platform"},
    "broker": {"core", "platform"},
    "certs": {"core", "ports", "platform"},
    "fuse-client": {"core", "ports", "platform", "origin", "pool", "cache", "broker"},
    "prefetcher": {"core", "platform"},
    "webhook": {"core", "ports", "platform", "kube", "certs", "yaml"},
    "csi": {"core", "ports", "platform", "kube", "broker"},
    "controller": {"core", "ports", "platform", "kube", "certs"},
    "cli": {"core", "ports", "platform", "origin", "pool", "cache", "broker", "fuse-client", "kube", "yaml"},
}

# third-party header pattern -> modules that may include it
EXTERNAL = {
    r"httplib\.h": {"kube", "webhook", "platform", "cli"},
    r"grpc(pp)?/.*|google/protobuf/.*": {"csi"},
    r"fuse3/.*|fuse(_lowlevel|_common|_opt|_log)?\.h": {"fuse-client"},
    r"curl/.*": {"origin"},
    r"openssl/pem\.h": {"platform", "certs"},  # reading PEM is platform/openssl.h's
    r"yaml-cpp/.*": {"kube", "yaml"},
    r"CLI/.*": {"cli", "fuse-client", "webhook", "csi", "controller", "prefetcher"},
}

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')


def violations(root: pathlib.Path):
    for module, allowed in LAYERS.items():
        for path in sorted((root / module).rglob("*")):
            if path.suffix not in {".h", ".cc"}:
                continue
            for number, line in enumerate(path.read_text().splitlines(), 1):
                match = INCLUDE.match(line)
                if not match:
                    continue
                header = match.group(2)
                where = f"{path.relative_to(root)}:{number}"
                if header.startswith("sluice/"):
                    target = header.split("/")[1].replace("_", "-")
                    if target in LAYERS and target != module and target not in allowed:
                        yield f"{where}: {module} may not include {target} ({header})"
                for pattern, modules in EXTERNAL.items():
                    if re.fullmatch(pattern, header) and module not in modules:
                        yield f"{where}: {module} may not include {header}"
        if module == "fuse-client":
            users = {
                str(path.relative_to(root))
                for path in (root / module).rglob("*.cc")
                if re.search(r'#\s*include\s*[<"]fuse(3/|_lowlevel|\.h)', path.read_text())
            }
            binding = {f"{module}/src/binding.cc", f"{module}/src/binding_write.cc"}
            if users - binding:
                others = ", ".join(sorted(users - binding))
                yield f"libfuse belongs to the binding, found in: {others}"


def main() -> int:
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ".").resolve()
    found = list(violations(root))
    for text in found:
        print(text)
    missing = [m for m in LAYERS if not (root / m / "CMakeLists.txt").exists()]
    for module in missing:
        print(f"{module}: in the table, but no such module")
    return 1 if found or missing else 0


if __name__ == "__main__":
    sys.exit(main())
