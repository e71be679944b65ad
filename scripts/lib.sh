# shellcheck shell=bash
# shellcheck disable=SC2034
# Shared by the scripts: places, messages, and the keys by which caches know what they hold.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
CACHE=${SLUICE_CACHE:-$HOME/.cache/sluice}
# The pinned toolchain is the one that runs: Go must not fetch another, nor stamp the work tree's state.
export GOTOOLCHAIN=local GOFLAGS=-buildvcs=false PIP_DISABLE_PIP_VERSION_CHECK=1
# Objects compiled in one clone or build folder serve in another.
export CCACHE_BASEDIR=$ROOT CCACHE_NOHASHDIR=1

say() { printf '%s\n' "$*" >&2; }
die() {
	printf '%s: %s\n' "${0##*/}" "$*" >&2
	exit 1
}

need_root() { ((EUID == 0)) || die "must run as root (try: sudo $0 $*)"; }

# admission_review NAMESPACE: what the API server sends a webhook when the pod on standard input is created there.
admission_review() {
	jq --arg ns "$1" '{
		apiVersion: "admission.k8s.io/v1", kind: "AdmissionReview",
		request: {
			uid: "by-hand", kind: {group: "", version: "v1", kind: "Pod"}, operation: "CREATE",
			resource: {group: "", version: "v1", resource: "pods"}, namespace: $ns, object: .}}'
}

# hash_of FILE|DIR...: one key for the contents of all of them, whatever their owners and times.
hash_of() {
	tar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -C / -cf - "${@#/}" 2>/dev/null | sha256sum | cut -c1-16
}

# version_at_least HAVE WANT
version_at_least() { [[ $(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1) == "$2" ]]; }
