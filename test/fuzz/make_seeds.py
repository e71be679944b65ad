#!/usr/bin/env python3
"""Writes the fuzzers' first inputs, made from the goldens, and their dictionary.

make_seeds.py SOURCE_ROOT OUTPUT: OUTPUT/<target>/<case> and OUTPUT/words.dict
"""

import json
import re
import sys
from pathlib import Path

# Bits of SituationOf (test/webhook/admission_properties.cc).
NATIVE, AUTOMATIC_SIDECAR, PREFETCHER, PLATFORM_KEY = 1, 2, 4, 8
NAMESPACES = {"oracle": 0, "opted-in": 1 << 6, "oracle-ref": 2 << 6, "opted-out": 3 << 6}
# Rows of test/fuzz/annotations.cc.
VALUES = {
    "nothing": [],
    "prefetch": ["pvc://jfs/a/../b*;pvc://alx2", "true", "60", "A=1 B=2", "image:tag"],
    "prefetch-defaults": ["<ALL>", "", "", "", "image:tag", "", " b , a,, jfs"],
    "random": ["", "", "", "", "i", "", "", "random-suffix", "default", "true", "true", "", "g-"],
    "hooks": [""] * 11 + ["n", "", "oracle", "", "", "true", "false", "true"],
    "unprivileged": [""] * 19 + ["true", "true", "x", "required", "required", "x", "default"],
    "gates": [""] * 14 + ["true", "false"],
    "sluice-prefetch": [""] * 28 + ["jfs/a/*;alx2", "async", "60"],
}


def compact(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def situation(settings: dict, namespace: str) -> bytes:
    choice = NAMESPACES.get(namespace, 0)
    choice |= NATIVE if settings.get("placement") == "native-sidecar" else 0
    choice |= AUTOMATIC_SIDECAR if settings.get("automaticSidecar") else 0
    choice |= PREFETCHER if settings.get("prefetcherImage") else 0
    choice |= PLATFORM_KEY if settings.get("serverlessPlatformKey") else 0
    return bytes([choice])


def seeds(source: Path) -> dict[str, bytes]:
    made: dict[str, bytes] = {}
    for case in sorted((source / "test/golden/injection").iterdir()):
        if not case.is_dir():
            continue
        settings_file = case / "settings.json"
        settings = json.loads(settings_file.read_text()) if settings_file.exists() else {}
        if "profile" in settings:
            made[f"profile/{case.name}"] = settings["profile"].encode()
        if not (case / "review.json").exists():
            made[f"review/{case.name}"] = json.loads((case / "http.json").read_text())["body"].encode()
            continue
        review = json.loads((case / "review.json").read_text())
        made[f"review/{case.name}"] = compact(review)
        request = review["request"]
        if "object" in request:
            first = situation(settings, request.get("namespace", ""))
            made[f"pod/{case.name}"] = first + compact(request["object"])
    for name, values in VALUES.items():
        for mode in range(3):
            head = bytes([mode * 5 % 4 | PREFETCHER | PLATFORM_KEY, mode])
            made[f"annotations/{name}-{mode}"] = head + b"\0".join(v.encode() for v in values)
    # Each fenced example and the chart's defaults are what an administrator starts from.
    examples = re.findall(r"```yaml\n(.*?)```", (source / "docs/webhook.md").read_text(), re.DOTALL)
    for number, text in enumerate(examples):
        made[f"profile/example-{number}"] = text.encode()
    made["profile/chart"] = (source / "manifests/sluice/values.yaml").read_bytes()
    made["profile/merge"] = b"a: &a {x: 1, <<: {y: 0x1F}}\nb: {<<: [*a], z: 'q'}\n--- |\n l\n--- !!str 1\n"
    return made


def words(source: Path) -> list[str]:
    texts = set()
    for file in ("core/src/injection/keys.h", "core/src/injection/settings.cc"):
        texts.update(re.findall(r'"([A-Za-z][A-Za-z0-9./-]+)"', (source / file).read_text()))
    texts -= {text for text in texts if text.endswith(".h")}
    texts.update(["plugins", "serverful", "serverless", "withDataset", "withoutDataset", "pluginConfig"])
    texts.update(["args", "preferred", "required", "weight", "nodeLabels", "podLabels", "taintKeys"])
    texts.update(["pvc://jfs", "<ALL>", "random-suffix", "unprivileged", "spec", "volumes", "containers"])
    return sorted(texts)


def main() -> None:
    source, output = Path(sys.argv[1]), Path(sys.argv[2])
    for name, content in seeds(source).items():
        path = output / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (output / "words.dict").write_text("".join(f'"{word}"\n' for word in words(source)))


main()
