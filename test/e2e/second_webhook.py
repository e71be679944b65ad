"""A mutating webhook of somebody else's, for the cases in which it comes after Sluice's.

    second_webhook.py PORT CERTIFICATE KEY

What the pod's label "second-webhook" says is added to it, once:
    container   a container "second" that mounts the pod's volume "model" at /model
    volume      the same with a volume of its own that names claim "model"
"""

from __future__ import annotations

import base64
import copy
import http.server
import json
import ssl
import sys
from typing import Any


def operations(pod: dict[str, Any]) -> list[dict[str, Any]]:
    """JSON patch operations; none when the container is there already."""
    wanted = pod["metadata"].get("labels", {}).get("second-webhook")
    if any(c["name"] == "second" for c in pod["spec"]["containers"]):
        return []
    container = copy.deepcopy(pod["spec"]["containers"][-1])
    container["name"] = "second"
    # As its author would write it, who knows nothing of what other webhooks add to a mount.
    mounts = [m for m in container["volumeMounts"] if m["mountPath"] not in ("/model",)]
    added = []
    volume = "model"
    if wanted == "volume":
        volume = "second-model"
        claim = {"name": volume, "persistentVolumeClaim": {"claimName": "model"}}
        added = [{"op": "add", "path": "/spec/volumes/-", "value": claim}]
    container["volumeMounts"] = [*mounts, {"name": volume, "mountPath": "/model"}]
    return [*added, {"op": "add", "path": "/spec/containers/-", "value": container}]


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        request = review["request"]
        response: dict[str, Any] = {"uid": request["uid"], "allowed": True}
        patch = operations(request["object"])
        if patch:
            response["patchType"] = "JSONPatch"
            response["patch"] = base64.b64encode(json.dumps(patch).encode()).decode()
        body = json.dumps({"apiVersion": review["apiVersion"], "kind": "AdmissionReview", "response": response})
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())
        print(json.dumps({"name": request.get("name"), "patch": patch}), flush=True)


def main() -> None:
    port, certificate, key = sys.argv[1:]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", int(port)), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
