#!/usr/bin/env python3
"""Writes the fuzzers' first inputs, made from the goldens, and their dictionary.

make_seeds.py SOURCE_ROOT OUTPUT: OUTPUT/<target>/<case> and OUTPUT/words.dict
"""

import json
import re
import struct
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


# What the target makes right of an index file (test/fuzz/state.cc).
HEADER, RECORDS = 1, 2
LISTING = """<?xml version="1.0" encoding="UTF-8"?>
<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>models</Name><Prefix></Prefix>
<KeyCount>2</KeyCount><EncodingType>url</EncodingType><IsTruncated>true</IsTruncated>
<NextContinuationToken>t/k==</NextContinuationToken>
<Contents><Key>a/b+c%2Bd%0A%C3%BC</Key><LastModified>2023-05-24T12:34:56.789Z</LastModified>
<ETag>&quot;abc&quot;</ETag><Size>123</Size><Owner><ID>x</ID></Owner></Contents>
<Contents><Key>a</Key><Size>5</Size></Contents><Contents><Key>../z</Key><Size>0</Size></Contents>
</ListBucketResult>"""
INDEX = """<html><h1>Index of /</h1><a href="../">../</a><a href="a%20b.bin">a b.bin</a>
<A HREF='sub/'>sub/</A><!-- <a href=x> --><a href=?C=N;O=D>N</a><script>"<a href=y>"</script>
<a href="https://host:8443/data%20sets/x/c&amp;d&#x20AC;"><a href=/data%20sets/x/e/f#g></html>"""
NGINX = """[{"name":"d","type":"directory"},
{"name":"a","type":"file","mtime":"Wed, 25 Mar 2015 21:40:12 GMT","size":3}]"""
OID = "0123456789abcdef0123456789abcdef01234567"
TREE = [
    {"type": "file", "path": "a/b", "oid": OID, "size": 3},
    {"type": "file", "path": "c", "oid": OID, "size": 3, "lfs": {"oid": OID + OID[:24], "size": 9}},
]
CREDENTIALS = {"AccessKeyId": "ASIA1", "SecretAccessKey": "s/+=", "Expiration": "2026-11-26T18:00:00Z"}
ASSUMED = """<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
<AssumeRoleWithWebIdentityResult><Credentials><SessionToken>t&amp;</SessionToken>
<SecretAccessKey>s/+=</SecretAccessKey><Expiration>2026-11-26T18:00:00.123Z</Expiration>
<AccessKeyId>ASIA1</AccessKeyId></Credentials></AssumeRoleWithWebIdentityResult>
</AssumeRoleWithWebIdentityResponse>"""
NAMES = {
    "objects": b"models/a.bin\nmodels\nmodels/b/c\n../x\nmodels/a.bin",
    "pods": b"default\nmodel\nkube-system\na%2f..\n..\n.",
    "patterns": b"models/**/*.bin\nmodels/a/b/c.bin\n[!a-c]?*/x\nd1/x\n**\nx",
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
    made |= reader_seeds(source)
    made["profile/merge"] = b"a: &a {x: 1, <<: {y: 0x1F}}\nb: {<<: [*a], z: 'q'}\n--- |\n l\n--- !!str 1\n"
    return made


def reader_seeds(source: Path) -> dict[str, bytes]:
    """Of what servers send and disks keep."""
    made = {
        "listing/page": LISTING.encode(),
        "listing/error": b"<Error><Code>AuthorizationHeaderMalformed</Code><Region>eu-west-1</Region></Error>",
        "listing/entity": b'<!DOCTYPE l [<!ENTITY a "b">]><ListBucketResult>&a;</ListBucketResult>',
    }
    made |= {
        "index/html": INDEX.encode(),
        "index/nginx": NGINX.encode(),
        "index/lines": b"a\r\nb/c d\n./e\n../f\n",
        "index/manifest": compact(["a", {"path": "b/c", "size": 7, "etag": "x"}]),
        "index/tree": compact(TREE),
        "index/revision": compact({"sha": OID, "lastModified": "2024-02-19T11:01:02.000Z", "siblings": []}),
        "index/link": b'<https://h/api?cursor=x%3D>; rel="next", <https://h/?a>; rel="prev"',
        "index/redirect": b"https://other:1/../a/./b?c#d",
    }
    made["identity/agent"] = compact(CREDENTIALS | {"Token": "t"})
    made["identity/instance"] = compact({"Code": "Success", **CREDENTIALS, "Token": "t&<"})
    made["identity/failed"] = compact({"Code": "AssumeRoleUnauthorizedAccess", "Message": "m"})
    made["identity/sts"] = ASSUMED.encode()
    made["identity/refusal"] = b"<ErrorResponse><Error><Code>AccessDenied</Code></Error></ErrorResponse>"
    objects = json.loads((source / "test/golden/injection/cluster.json").read_text())["items"][:8]
    listed = {"metadata": {"resourceVersion": "7", "continue": "c"}, "items": objects[:2]}
    made["watch/list"] = b"\0" + compact(listed)
    made["watch/status"] = b"\0" + compact({"kind": "Status", "code": 404, "message": "not found"})
    events = [compact({"type": "ADDED", "object": thing}) for thing in objects]
    events.append(compact({"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "9"}}}))
    events.append(compact({"type": "ERROR", "object": {"code": 410, "message": "too old"}}))
    for number, event in enumerate(events):
        made[f"watch/event-{number}"] = bytes([2 * number + 1]) + event
    made["watch/stream"] = b"\x0f" + b"\n".join(events[-3:]) + b"\n"
    key = struct.pack("<IQ", 256 << 10, 10 << 18)
    for text in (b"s3://bucket/prefix", b"models/a.bin", b"etag"):
        key += struct.pack("<I", len(text)) + text
    for right in (0, HEADER, HEADER | RECORDS):
        records = b"".join(struct.pack("<III", block, 7, 0) for block in (0, 9, 3, 10))
        made[f"state/repair-{right}"] = bytes([right, len(key), 200]) + bytes(12) + key + bytes(4) + records
    made["pool_reply/settings"] = b"\x07STAT item_size_max 8388608\r\nEND\r\n"
    made["pool_reply/hit"] = b"\x04VA 16 c5 f7 s16 O1\r\n0123456789abcdef\r\nEN\r\nHD O2\r\n"
    made["pool_reply/lease"] = b"\x00VA 0 c5 f0 s0 O1 W\r\n\r\nVA 3 O1\r\nabc\r\nSERVER_ERROR out of memory\r\n"
    made |= {f"object_name/{name}": b"\n" + text for name, text in NAMES.items()}
    return made


def words(source: Path) -> list[str]:
    texts = set()
    for file in ("core/src/injection/keys.h", "core/src/injection/settings.cc"):
        texts.update(re.findall(r'"([A-Za-z][A-Za-z0-9./-]+)"', (source / file).read_text()))
    texts -= {text for text in texts if text.endswith(".h")}
    texts.update(["plugins", "serverful", "serverless", "withDataset", "withoutDataset", "pluginConfig"])
    texts.update(["args", "preferred", "required", "weight", "nodeLabels", "podLabels", "taintKeys"])
    texts.update(["pvc://jfs", "<ALL>", "random-suffix", "unprivileged", "spec", "volumes", "containers"])
    texts.update(["ListBucketResult", "Contents", "Key", "Size", "ETag", "LastModified", "IsTruncated"])
    texts.update(["NextContinuationToken", "EncodingType", "2023-05-24T12:34:56.789Z", "<![CDATA[", "]]>"])
    texts.update(["<a href=", "&amp;", "&#x2F;", "%2e%2e", "%2F", "<!--", "-->", "</script", "file"])
    texts.update(["AccessKeyId", "SecretAccessKey", "SessionToken", "Token", "Expiration", "Code", "Success"])
    texts.update(["name", "type", "directory", "mtime", "size", "path", "etag", "oid", "lfs", "sha"])
    texts.update(["metadata", "resourceVersion", "ADDED", "ERROR", "BOOKMARK", "object", "/../", "**"])
    return sorted(texts)


def main() -> None:
    source, output = Path(sys.argv[1]), Path(sys.argv[2])
    for name, content in seeds(source).items():
        path = output / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (output / "words.dict").write_text("".join(f'"{word}"\n' for word in words(source)))


main()
