# shellcheck shell=bash
# The end-to-end cases, in order. Each is a function that fails by a failing command.

# ---------------------------------------------------------------- tools

# What a run could leave on the machine: mounts, interfaces, network namespaces, control groups, processes
# that hold files of ours.
snapshot() {
	echo "# mounts"
	cut -d' ' -f5 /proc/self/mountinfo | grep -v '/proc/sys/fs/binfmt_misc' | sort
	echo "# interfaces"
	ip -o link | awk -F': ' '{print $2}' | sort
	echo "# network namespaces"
	ip netns list 2>/dev/null | sort
	echo "# control groups"
	find /sys/fs/cgroup -type d -name 'sluice-*' 2>/dev/null | sort
	echo "# processes"
	pgrep -fa -- "$SLUICE_STATE|$CLUSTER_NAME" | cut -d' ' -f2- | grep -v -e 'e2e/run' -e sluice-up | sort || true
	echo "# top directories"
	find / -maxdepth 1 | sort
}

# refused CMD...: succeeds when CMD fails.
refused() {
	if "$@"; then
		echo "did not fail: $*"
		return 1
	fi
}

kn() { k -n "$NS" "$@"; }

# pod NAME CLAIM [EXTRA_JSON]: a pod that keeps a claim mounted at /model.
pod_document() {
	jq -n --arg name "$1" --arg claim "$2" --argjson extra "${3:-{\}}" '{
		apiVersion: "v1", kind: "Pod", metadata: {name: $name},
		spec: {
			restartPolicy: "Never", automountServiceAccountToken: false, terminationGracePeriodSeconds: 1,
			securityContext: {runAsNonRoot: true, runAsUser: 65534},
			containers: [{
				name: "demo", image: "sluice-demo:dev", imagePullPolicy: "IfNotPresent",
				command: ["/usr/bin/python3.11", "-c", "import os, time; print(sorted(os.listdir(\"/model\")), flush=True); time.sleep(3600)"],
				volumeMounts: [{name: "model", mountPath: "/model"}]}],
			volumes: [{name: "model", persistentVolumeClaim: {claimName: $claim}}]}} * $extra'
}

pod() { pod_document "$@" | kn create -f -; }

# dataset NAME MOUNT_POINT SECRET: a Dataset with its runtime, on the demo's S3 server.
dataset() {
	jq -n --arg name "$1" --arg point "$2" --arg secret "$3" '
		{apiVersion: "data.fluid.io/v1alpha1", kind: "Dataset", metadata: {name: $name}, spec: {mounts: [{
			mountPoint: $point, name: $name, path: "/",
			options: {endpoint: "http://minio.sluice-demo.svc.cluster.local:9000", region: "us-east-1", pathStyle: "true"},
			encryptOptions: [
				{name: "aws.accessKeyId", valueFrom: {secretKeyRef: {name: $secret, key: "accessKey"}}},
				{name: "aws.secretKey", valueFrom: {secretKeyRef: {name: $secret, key: "secretKey"}}}]}]}},
		{apiVersion: "data.fluid.io/v1alpha1", kind: "SluiceRuntime", metadata: {name: $name}, spec: {}}' | kn apply -f -
}

remove_dataset() { kn delete --ignore-not-found --timeout=90s "dataset/$1" "sluiceruntime/$1"; }
bound() { [[ $(kn get dataset "$1" -o 'jsonpath={.status.phase}') == Bound ]]; }
running() { [[ $(kn get pod "$1" -o 'jsonpath={.status.phase}') == Running ]]; }
gone() { [[ -z $(k get "$@" --ignore-not-found -o name) ]]; }

# event POD REGEX: a warning about the pod that says so.
event() {
	kn get events --field-selector "involvedObject.name=$1,type=Warning" -o 'jsonpath={range .items[*]}{.reason}: {.message}{"\n"}{end}' |
		grep -Ei -- "$2"
}

events_of() { kn get events --field-selector "involvedObject.name=$1" -o 'jsonpath={range .items[*]}{.reason}: {.message}{"\n"}{end}'; }

# wait_for SECONDS WHAT CMD...
wait_for() {
	local seconds=$1 what=$2
	shift 2
	until_true "$seconds" "$@" && return
	echo "not within $seconds s: $what"
	return 1
}

secret() { # NAME ACCESS_KEY SECRET_KEY
	printf '{"apiVersion":"v1","kind":"Secret","metadata":{"name":"%s"},"stringData":{"accessKey":"%s","secretKey":"%s"}}' "$@" |
		kn apply -f -
}

right_key() { kn get secret s3-credentials -o "jsonpath={.data.$1}" | base64 -d; }

# ---------------------------------------------------------------- the main job

e2e_one_command() {
	"$ROOT/sluice-up" | tee "$LOG_DIR/sluice-up.out"
	grep -q 'Both pods found every SHA-256 right' "$LOG_DIR/sluice-up.out"
	grep -q 'straight from S3' "$LOG_DIR/sluice-up.out"
	grep -q './sluice-up --down' "$LOG_DIR/sluice-up.out"
}

e2e_both_pods_read_right_sums() {
	local job
	for job in read-ordinary read-serverless; do
		result_of "$job"
		result_of "$job" | jq -e '.wrong == [] and .files >= 14 and .bytes > 2147483648 and .tensors >= 164'
	done
}

e2e_ordinary_pod_uses_the_node_plugin() {
	[[ $(node_of read-ordinary) == node-1 ]]
	kn get pod -l job-name=read-ordinary -o json |
		jq -e '.items[0].spec | ((.initContainers // []) | length) == 0 and any(.volumes[]; has("persistentVolumeClaim"))'
	k get csinode node-1 -o json | jq -e 'any(.spec.drivers[]; .name == "fuse.csi.fluid.io")'
}

e2e_serverless_job_with_sidecar_completes() {
	[[ $(node_of read-serverless) == node-2 ]]
	sidecar_injected
	kn get job read-serverless -o json | jq -e 'any(.status.conditions[]; .type == "Complete" and .status == "True")'
	kn get pod -l job-name=read-serverless -o json | jq -e '.items[0].status.phase == "Succeeded"'
	# No node plugin can have helped there.
	k get csinode node-2 -o json | jq -e '(.spec.drivers // []) | all(.name != "fuse.csi.fluid.io")'
}

e2e_fuse_client_is_unprivileged() {
	kn get daemonset model-fuse -o json | jq -e '.spec.template.spec | . as $pod | .hostNetwork != true and .hostPID != true and all(.containers[];
		.securityContext | .privileged != true and (.runAsUser // $pod.securityContext.runAsUser) == 65534
		and .allowPrivilegeEscalation == false and .readOnlyRootFilesystem == true and .capabilities.drop == ["ALL"])'
}

e2e_keys_stay_in_the_secret() {
	local key
	for key in "$(right_key accessKey)" "$(right_key secretKey)"; do
		[[ ${#key} -ge 20 ]]
		{
			k get pv,datasets,sluiceruntimes,pvc,configmaps,pods,daemonsets,podtemplates,events -A -o yaml
			k -n "$SYSTEM_NS" logs deployment/dataset-controller --tail=-1
			k -n "$SYSTEM_NS" logs daemonset/csi-nodeplugin-fluid --tail=-1
			k -n "$SYSTEM_NS" logs deployment/fluid-webhook --tail=-1
			kn logs daemonset/model-fuse --tail=-1
			cluster node sh -c 'cat /proc/[0-9]*/cmdline' | tr '\0' ' '
		} >"$WORK/everything" 2>/dev/null
		[[ $(wc -c <"$WORK/everything") -gt 10000 ]]
		refused grep -qF -- "$key" "$WORK/everything"
	done
	rm -f "$WORK/everything"
}

e2e_running_it_twice_works() {
	local t0=$SECONDS
	"$ROOT/sluice-up"
	echo "second run: $((SECONDS - t0)) s"
	((SECONDS - t0 < 240))
}

# ---------------------------------------------------------------- prefetching

# prefetching NAME ANNOTATIONS_JSON [EXTRA_JSON]: a pod of the dataset model that is prefetched for.
prefetching() {
	pod_document "$1" model "$(jq -n --argjson a "$2" '{metadata: {annotations: $a}}')" | jq --argjson extra "${3:-{\}}" '. * $extra'
}

# job_of: a pod read from standard input as a Job.
job_of() {
	jq '{apiVersion: "batch/v1", kind: "Job", metadata: {name: .metadata.name}, spec: {backoffLimit: 0, template: {
		metadata: {annotations: .metadata.annotations}, spec: .spec}}}'
}

# The application, in Python, that wants the whole dataset in the sidecar's cache before it reads anything.
WANTS_WARM='
import os, re, urllib.request
total = sum(os.path.getsize(os.path.join(d, f)) for d, _, files in os.walk("/model") for f in files)
text = urllib.request.urlopen("http://127.0.0.1:9568/metrics").read().decode()
cached = float(re.search(r"^sluice_cache_bytes(?:\{[^}]*\})? (\S+)", text, re.M).group(1))
print(f"{cached:.0f} of {total} bytes are cached at the start", flush=True)
raise SystemExit(0 if total > 2 << 30 and cached >= 0.99 * total else 1)'

prefetch_said() { kn logs "$1" -c sluice-prefetch | grep -Ei -- "$2"; }
complete() { kn get job "$1" -o json | jq -e 'any(.status.conditions[]?; .type == "Complete" and .status == "True")'; }
pod_of() { kn get pod -l "job-name=$1" -o 'jsonpath={.items[0].metadata.name}'; }

e2e_prefetch_warms_a_serverless_job_before_it_starts() {
	local name
	prefetching prefetched '{"sluice.io/prefetch": "true"}' \
		'{"spec": {"nodeSelector": {"type": "virtual-kubelet"}, "tolerations": [{"key": "virtual-kubelet.io/provider", "operator": "Exists"}]}}' |
		jq --arg program "$WANTS_WARM" '.spec.containers[0].command = ["/usr/bin/python3.11", "-c", $program]' | job_of | kn create -f -
	wait_for 240 "the Job completes" complete prefetched
	name=$(pod_of prefetched)
	kn logs "$name" -c demo
	kn get pod "$name" -o json | jq -e '[.spec.initContainers[].name] | (.[0] | startswith("fluid-fuse")) and .[1] == "sluice-prefetch"'
	prefetch_said "$name" 'prefetched [0-9]+ files, 2\.[0-9] GB'
	events_of "$name"
	event "$name" 'Startup probe failed: (counting files|prefetched [0-9]+ of [0-9]+ files)'
	kn delete job prefetched --cascade=foreground --timeout=60s
}

e2e_prefetch_reads_what_a_glob_says_through_the_node_plugin() {
	local files
	prefetching prefetch-glob '{"sluice.io/prefetch": "pvc://model/**/*.json", "sluice.io/prefetch-timeout-seconds": "120"}' | kn create -f -
	wait_for 120 "the pod runs" running prefetch-glob
	[[ $(kn get pod prefetch-glob -o 'jsonpath={.spec.nodeName}') == node-1 ]]
	kn get pod prefetch-glob -o json | jq -e '.spec | [.initContainers[].name] == ["sluice-prefetch"] and any(.volumes[]; has("persistentVolumeClaim"))'
	files=$(kn exec prefetch-glob -c demo -- /usr/bin/python3.11 -c 'import pathlib; print(len(list(pathlib.Path("/model").rglob("*.json"))))')
	((files > 1))
	prefetch_said prefetch-glob "prefetched $files files, "
	kn exec prefetch-glob -c sluice-prefetch -- /usr/bin/sluice-prefetch --status | grep "prefetched $files files, "
	kn delete pod prefetch-glob --timeout=60s
}

e2e_prefetch_that_fails_is_told_and_holds_nobody_back() {
	prefetching prefetch-missing '{"sluice.io/prefetch": "**/*.json;no-such-*.bin"}' | kn create -f -
	wait_for 120 "the application runs all the same" running prefetch-missing
	kn get pod prefetch-missing -o json | jq .status.initContainerStatuses
	kn get pod prefetch-missing -o json | jq -e '.status.initContainerStatuses[] | select(.name == "sluice-prefetch") |
		.ready and .restartCount == 1 and (.lastState.terminated | .exitCode == 1 and (.message | test("prefetch failed: .*no-such-.*no such file")))'
	events_of prefetch-missing
	event prefetch-missing 'Startup probe failed: prefetch failed: .*no-such-.*no such file'
	kn exec prefetch-missing -c sluice-prefetch -- /usr/bin/sluice-prefetch --status | grep 'prefetch failed'
	kn delete pod prefetch-missing --timeout=60s
}

e2e_prefetch_by_fluids_annotations_ends_with_its_job() {
	local name
	prefetching fluids-prefetch '{"file-prefetcher.fluid.io/inject": "true", "file-prefetcher.fluid.io/file-list": "pvc://model/**/*.json"}' |
		jq '.spec.containers[0].command = ["/usr/bin/python3.11", "-c", "print(1)"]' | job_of | kn create -f -
	wait_for 120 "the Job completes" complete fluids-prefetch
	name=$(pod_of fluids-prefetch)
	kn get pod "$name" -o json | jq -e '.status.containerStatuses[] | select(.name == "fluid-file-prefetcher") | .state.terminated |
		.exitCode == 0 and (.message | test("^prefetched [0-9]+ files"))'
	refused event "$name" 'PostStartHook'
	kn delete job fluids-prefetch --cascade=foreground --timeout=60s
}

e2e_prefetch_of_an_unknown_claim_is_refused() {
	local said
	said=$(prefetching prefetch-lost '{"sluice.io/prefetch": "pvc://other"}' | refused kn create --dry-run=server -f - 2>&1)
	echo "$said"
	grep -q 'annotation sluice.io/prefetch: "pvc://other": the pod has no volume of a dataset' <<<"$said"
}

# ---------------------------------------------------------------- opting out

e2e_pods_that_opt_out_are_untouched() {
	local serverless='{"spec": {"nodeSelector": {"type": "virtual-kubelet"}, "tolerations": [{"key": "virtual-kubelet.io/provider", "operator": "Exists"}]}}'
	pod opted-out model "$(jq '. * {metadata: {labels: {"fluid.io/enable-injection": "false"}}}' <<<"$serverless")"
	kn get pod opted-out -o json | jq -e '(.spec.initContainers // []) == [] and any(.spec.volumes[]; has("persistentVolumeClaim"))'
	kn delete pod opted-out --wait=false
	# The same pod in a namespace that has not opted in: no webhook is asked.
	k create namespace not-opted-in
	pod_document elsewhere model "$serverless" | jq '.metadata.namespace = "not-opted-in"' |
		k create --dry-run=server -o json -f - |
		jq -e '(.spec.initContainers // []) == [] and (.metadata.labels // {} | has("done.sidecar.fluid.io/inject") | not)'
	k delete namespace not-opted-in --wait=false
}

e2e_pods_without_claims_start_while_the_webhook_is_down() {
	k -n "$SYSTEM_NS" scale deployment/fluid-webhook --replicas=0
	wait_for 60 "no webhook" gone -n "$SYSTEM_NS" pods -l control-plane=fluid-webhook
	kn run --image=sluice-demo:dev --restart=Never --dry-run=server plain
	k -n "$SYSTEM_NS" scale deployment/fluid-webhook --replicas=2
	k -n "$SYSTEM_NS" rollout status --timeout=90s deployment/fluid-webhook
}

# ---------------------------------------------------------------- bad input

e2e_claim_of_unknown_dataset_is_refused() {
	local said
	said=$(refused pod lost no-such-dataset '{"metadata": {"labels": {"serverless.fluid.io/inject": "true"}}}' 2>&1)
	echo "$said"
	grep -q no-such-dataset <<<"$said"
	gone -n "$NS" pod lost
}

e2e_unknown_scheme_becomes_a_condition() {
	dataset gopher gopher://example.org/files s3-credentials
	wait_for 60 "a condition that names the scheme" said_in_conditions gopher gopher
	refused bound gopher
	remove_dataset gopher
}

e2e_dataset_without_mounts_becomes_a_condition() {
	printf '{"apiVersion":"data.fluid.io/v1alpha1","kind":"%s","metadata":{"name":"bare"},"spec":{}}\n' Dataset SluiceRuntime |
		kn apply -f -
	wait_for 60 "a condition that speaks of mounts" said_in_conditions bare mount
	refused bound bare
	remove_dataset bare
}

said_in_conditions() { # DATASET TEXT
	kn get dataset "$1" -o json | jq -e --arg text "$2" 'any(.status.conditions[]?; (.message // "" | ascii_downcase) | contains($text))'
}

e2e_wrong_secret_is_named_and_healed() {
	secret locked-keys "$(right_key accessKey)" wrong-secret-key
	dataset locked s3://models/demo/ locked-keys
	wait_for 60 "dataset locked is bound" bound locked
	pod locked-reader locked
	wait_for 120 "an event that names the cause" event locked-reader 'FailedMount.*(denied|forbidden|403|signature|permission|credential)'
	events_of locked-reader
	# The same where no node plugin can help: the sidecar's own probe tells.
	pod locked-sidecar locked '{"metadata": {"labels": {"serverless.fluid.io/inject": "true"}}}'
	kn get pod locked-sidecar -o json | jq -e 'any(.spec.initContainers[]; .name | startswith("fluid-fuse"))'
	wait_for 120 "an event of the sidecar that names the cause" \
		event locked-sidecar 'Startup probe failed.*(denied|forbidden|403|signature|permission|credential)'
	events_of locked-sidecar
	kn delete pod locked-sidecar --timeout=60s
	secret locked-keys "$(right_key accessKey)" "$(right_key secretKey)"
	wait_for 240 "the pod runs once the Secret is right" running locked-reader
	kn logs locked-reader | grep generated-2g
	kn delete pod locked-reader --timeout=60s
	remove_dataset locked
}

e2e_missing_bucket_is_named() {
	dataset empty s3://no-such-bucket/x/ s3-credentials
	wait_for 60 "dataset empty is bound" bound empty
	pod empty-reader empty
	wait_for 120 "an event that names the bucket" event empty-reader 'FailedMount.*(no-such-bucket|bucket)'
	events_of empty-reader
	kn delete pod empty-reader --timeout=60s
	remove_dataset empty
}

e2e_origin_down_at_start_recovers() {
	kn patch service minio --type=merge -p '{"spec":{"selector":{"app":"nobody"}}}'
	dataset late s3://models/demo/ s3-credentials
	wait_for 60 "dataset late is bound" bound late
	pod late-reader late
	wait_for 120 "an event that names the cause" event late-reader 'FailedMount.*(connect|refused|unreachable|unavailable|timed out|deadline)'
	events_of late-reader
	kn patch service minio --type=merge -p '{"spec":{"selector":{"app":"minio"}}}'
	wait_for 240 "the pod runs once the origin is back" running late-reader
	kn delete pod late-reader --timeout=60s
	remove_dataset late
}

e2e_webhook_survives_malformed_reviews() {
	local ip url said body
	ip=$(k -n "$SYSTEM_NS" get service fluid-pod-admission-webhook -o 'jsonpath={.spec.clusterIP}')
	url=https://$ip:9443/mutate-fluid-io-v1alpha1-schedulepod
	head -c 8388608 /dev/zero | tr '\0' x >"$WORK/oversized"
	printf '{' >"$WORK/malformed"
	: >"$WORK/empty"
	for body in malformed oversized empty; do
		said=$(cluster exec curl -sk -m 20 -H 'Content-Type: application/json' --data-binary "@$WORK/$body" "$url" || true)
		echo "$body: ${said:0:300}"
		# A body that is refused before it was sent may end as a cut connection; the others must be answered.
		[[ -z $said && $body == oversized ]] || jq -e '.response.allowed == false and (.response.status.code | . >= 400 and . < 500) and (.response.status.message | length > 0)' <<<"$said"
	done
	said=$(cluster exec curl -sk -m 20 -H 'Content-Type: text/plain' --data '{}' "$url")
	echo "$said"
	jq -e '.response.status.code == 400' <<<"$said"
	k -n "$SYSTEM_NS" get pods -l control-plane=fluid-webhook -o json | jq -e 'all(.items[].status.containerStatuses[]; .ready and .restartCount == 0)'
}

# ---------------------------------------------------------------- taking away

e2e_deleting_a_dataset_leaves_nothing() {
	dataset brief s3://models/demo/all-minilm-l6-v2/ s3-credentials
	wait_for 60 "dataset brief is bound" bound brief
	pod brief-reader brief
	wait_for 120 "the pod runs" running brief-reader
	cluster node grep -q sluice-demo/brief /proc/mounts
	# A dataset in use stays until its pod has gone.
	kn delete dataset brief --wait=false
	sleep 3
	kn get dataset brief
	kn logs brief-reader | grep model.safetensors
	kn delete pod brief-reader --timeout=60s
	kn delete --ignore-not-found sluiceruntime brief --timeout=90s
	wait_for 90 "the dataset is gone" gone -n "$NS" dataset brief
	wait_for 60 "the claim is gone" gone -n "$NS" pvc brief
	wait_for 60 "the volume is gone" gone pv sluice-demo-brief
	wait_for 60 "the workload is gone" gone -n "$NS" daemonset brief-fuse
	wait_for 60 "the sidecar's template is gone" gone -n "$NS" podtemplate brief-fuse-sidecar
	wait_for 60 "the client's configuration is gone" gone -n "$NS" configmap brief-fuse-config
	wait_for 60 "the nodes' labels are gone" no_label sluice-demo-brief
	wait_for 60 "the mounts are gone" no_mount sluice-demo/brief
}

no_label() { ! k get nodes -o 'jsonpath={.items[*].metadata.labels}' | grep -q -- "$1"; }
no_mount() { ! cluster node grep -q -- "$1" /proc/mounts; }

# Into a cluster that is there already, images brought by a command, and out of it again.
e2e_given_cluster_is_installed_into_and_left_clean() {
	local kubeconfig=$CLUSTER_DIR/state/admin.kubeconfig
	uninstall
	cat >"$WORK/load" <<-EOF
	#!/bin/sh
	exec "$ROOT/test/cluster/cluster" load-image "\$SLUICE_IMAGE" "\$1"
	EOF
	chmod +x "$WORK/load"
	SLUICE_STATE=$WORK/given cluster exec "$ROOT/sluice-up" --kubeconfig "$kubeconfig" --load-cmd "$WORK/load" --size 134217728 |
		tee "$LOG_DIR/given.out"
	grep -q 'Both pods found every SHA-256 right' "$LOG_DIR/given.out"
	SLUICE_STATE=$WORK/given cluster exec "$ROOT/sluice-up" --down --kubeconfig "$kubeconfig"
	gone namespace "$NS"
	gone namespace "$SYSTEM_NS"
	gone mutatingwebhookconfiguration fluid-pod-admission-webhook
	gone csidriver fuse.csi.fluid.io
	k get crd,clusterrole,clusterrolebinding,validatingadmissionpolicy -o name >"$WORK/left"
	refused grep -E 'fluid|dataset-controller' "$WORK/left"
	[[ -z $(k get pv -o name) ]]
	no_label fluid.io/f-
	wait_for 60 "the mounts are gone" no_mount /runtime-mnt
}

e2e_down_leaves_nothing() {
	"$ROOT/sluice-up" --down
	[[ ! -e $SLUICE_STATE ]]
	until_true 20 same_as_before || true
	diff "$WORK/before" <(snapshot)
	"$ROOT/sluice-up" --down # again: nothing to do, no error
}

same_as_before() { cmp -s "$WORK/before" <(snapshot); }

# ---------------------------------------------------------------- without Kubernetes

e2e_standalone_shows_the_same() {
	"$ROOT/sluice-up" --standalone | tee "$LOG_DIR/standalone.out"
	grep -q 'every SHA-256' "$LOG_DIR/standalone.out"
	grep -q 'through the mount' "$LOG_DIR/standalone.out"
	grep -q 'fluid-fuse' "$LOG_DIR/standalone.out"
	"$ROOT/sluice-up" --down
	until_true 20 same_as_before || true
	diff "$WORK/before" <(snapshot)
}

e2e_options_are_checked() {
	local said
	"$ROOT/sluice-up" --help | grep -q -- --standalone
	said=$(refused "$ROOT/sluice-up" --no-such-option 2>&1)
	grep -q 'unknown option --no-such-option' <<<"$said"
	said=$(refused "$ROOT/sluice-up" --kubeconfig /no/such/file 2>&1)
	grep -q '/no/such/file' <<<"$said"
	said=$(refused "$ROOT/sluice-up" --size lots 2>&1)
	grep -q "'lots'" <<<"$said"
	said=$(refused setpriv --reuid=65534 --clear-groups env HOME=/tmp "$ROOT/sluice-up" 2>&1)
	grep -q 'must run as root' <<<"$said"
	said=$(refused env SLUICE_STATE=/run/sluice-up "$ROOT/sluice-up" 2>&1)
	grep -q 'SLUICE_STATE' <<<"$said"
	rmdir /run/sluice-up
}
