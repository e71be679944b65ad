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

# dataset NAME MOUNT_POINT SECRET [SPEC_JSON]: a Dataset with its runtime, on the demo's S3 server.
dataset() {
	jq -n --arg name "$1" --arg point "$2" --arg secret "$3" --argjson spec "${4:-{\}}" '
		{apiVersion: "data.fluid.io/v1alpha1", kind: "Dataset", metadata: {name: $name}, spec: ($spec + {mounts: [{
			mountPoint: $point, name: $name, path: "/",
			options: {endpoint: "http://minio.sluice-demo.svc.cluster.local:9000", region: "us-east-1", pathStyle: "true"},
			encryptOptions: [
				{name: "aws.accessKeyId", valueFrom: {secretKeyRef: {name: $secret, key: "accessKey"}}},
				{name: "aws.secretKey", valueFrom: {secretKeyRef: {name: $secret, key: "secretKey"}}}]}]})},
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

# What others than the holders of Secrets can read, of the objects, the logs and the processes.
everything_readable() { # DATASET
	k get pv,datasets,sluiceruntimes,pvc,configmaps,pods,statefulsets,daemonsets,podtemplates,events -A -o yaml
	k -n "$SYSTEM_NS" logs deployment/dataset-controller --tail=-1
	k -n "$SYSTEM_NS" logs daemonset/csi-nodeplugin-fluid --tail=-1
	k -n "$SYSTEM_NS" logs deployment/fluid-webhook --tail=-1
	kn logs "daemonset/$1-fuse" --tail=-1
	# Some end before they are looked at.
	cluster node sh -c 'cat /proc/[0-9]*/cmdline 2>/dev/null || true' | tr '\0' ' '
}

e2e_keys_stay_in_the_secret() {
	local key
	for key in "$(right_key accessKey)" "$(right_key secretKey)"; do
		[[ ${#key} -ge 20 ]]
		everything_readable model >"$WORK/everything"
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
	# One that does use a claim would run without its data: it is refused, and told whose answer is missing.
	local said
	said=$(refused pod unanswered model 2>&1)
	echo "$said"
	grep -q 'failed calling webhook "auto.fuse.sluice.io".*fluid-pod-admission-webhook' <<<"$said"
	k -n "$SYSTEM_NS" scale deployment/fluid-webhook --replicas=2
	k -n "$SYSTEM_NS" rollout status --timeout=90s deployment/fluid-webhook
}

# ---------------------------------------------------------------- every way to make a pod

# What the readers run: compares the files below the models' size with the recorded sums, in every directory
# that is named, then stays for so many seconds.
READER='
import hashlib, json, sys, time
sums = json.load(open("/sums/sums.json"))
small = {path: entry for path, entry in sums.items() if entry["bytes"] < 200 << 20}
for directory in sys.argv[2:]:
    for path, entry in small.items():
        with open(f"{directory}/{path}", "rb") as file:
            assert hashlib.file_digest(file, "sha256").hexdigest() == entry["sha256"], path
    print("READ", len(small), "files of", directory, flush=True)
time.sleep(float(sys.argv[1]))
'

# reader_template MODE SECONDS [EXTRA_JSON]: metadata and spec of a pod that reads the demo's dataset and stays;
# a sidecar's by the node that it is bound for.
reader_template() {
	jq -n --arg mode "$1" --arg seconds "$2" --arg reader "$READER" --argjson extra "${3:-{\}}" '{
		metadata: {labels: {app: "reader", mode: $mode}},
		spec: ({
			automountServiceAccountToken: false, terminationGracePeriodSeconds: 1,
			securityContext: {runAsNonRoot: true, runAsUser: 65534},
			containers: [{
				name: "demo", image: "sluice-demo:dev", imagePullPolicy: "IfNotPresent",
				command: ["/usr/bin/python3.11", "-c", $reader, $seconds, "/model"],
				volumeMounts: [{name: "model", mountPath: "/model"}, {name: "sums", mountPath: "/sums"}]}],
			volumes: [{name: "model", persistentVolumeClaim: {claimName: "model"}}, {name: "sums", configMap: {name: "model-sums"}}]
		} + (if $mode == "sidecar" then {
			nodeSelector: {type: "virtual-kubelet"}, tolerations: [{key: "virtual-kubelet.io/provider", operator: "Exists"}]} else {} end))
	} * $extra'
}

# as_pod NAME [CLAIM]: a template read from standard input as a pod; of another dataset where its claim is named.
as_pod() {
	jq --arg name "$1" --arg claim "${2:-}" '{apiVersion: "v1", kind: "Pod"} + . | .metadata.name = $name
		| if $claim == "" then . else .spec.volumes[0].persistentVolumeClaim.claimName = $claim end'
}

# readers_of MODE: a Deployment, a StatefulSet, a Job, a CronJob and a pod, each named after its mode. The
# StatefulSet asks by label, the others leave it to the namespace. An init container of the Job reads, too.
readers_of() {
	local label=fuse.serverful.fluid.io/inject
	[[ $1 == csi ]] || label=serverless.fluid.io/inject
	jq -n --arg mode "$1" --arg ask "$label" --argjson stays "$(reader_template "$1" 3600)" --argjson ends "$(reader_template "$1" 0)" '
		def object($kind; $version): {apiVersion: $version, kind: $kind, metadata: {name: "\($mode)-\($kind | ascii_downcase)", labels: {app: "reader"}}};
		def selected: {selector: {matchLabels: {app: "reader", mode: $mode}}};
		($ends | .spec.restartPolicy = "Never") as $once |
		(object("Deployment"; "apps/v1") | .spec = selected + {template: $stays}),
		(object("StatefulSet"; "apps/v1") | .spec = selected + {serviceName: "none", template: ($stays | .metadata.labels[$ask] = "true")}
			| .spec.selector.matchLabels.kind = "set" | .spec.template.metadata.labels.kind = "set"),
		(object("Job"; "batch/v1") | .spec = {backoffLimit: 0, template: ($once | .spec.initContainers = [.spec.containers[0] + {name: "first"}])}),
		(object("CronJob"; "batch/v1") | .spec = {schedule: "* * * * *", concurrencyPolicy: "Forbid",
			jobTemplate: {metadata: {labels: {app: "reader"}}, spec: {backoffLimit: 0, template: $once}}}),
		(object("Pod"; "v1") + ($once | .metadata += {name: "\($mode)-pod"}))' | kn create -f -
}

remove_readers() {
	kn delete cronjobs,jobs,deployments,statefulsets,pods -l app=reader --ignore-not-found --cascade=foreground --timeout=120s
}

# scheduled_job_completed CRONJOB: one that its schedule made is complete, not only the one made by hand.
scheduled_job_completed() {
	kn get jobs -o json | jq -e --arg name "$1" 'any(.items[]; .metadata.ownerReferences[0].name? == $name
		and (.metadata.annotations // {} | has("cronjob.kubernetes.io/instantiate") | not)
		and any(.status.conditions[]?; .type == "Complete" and .status == "True"))'
}

e2e_pods_of_every_controller_read_their_dataset() {
	local mode pod said count=0
	trap remove_readers EXIT
	for mode in csi sidecar; do
		readers_of "$mode"
		kn create job "$mode-by-hand" --from="cronjob/$mode-cronjob"
	done
	for mode in csi sidecar; do
		kn rollout status --timeout=180s "deployment/$mode-deployment"
		kn rollout status --timeout=180s "statefulset/$mode-statefulset"
		kn wait --for=condition=Complete --timeout=180s "job/$mode-job" "job/$mode-by-hand"
		has_read "job/$mode-job" first
		kn wait --for=jsonpath='{.status.phase}'=Succeeded --timeout=180s "pod/$mode-pod"
		wait_for 120 "the CronJob's own job is complete" scheduled_job_completed "$mode-cronjob"
		kn patch cronjob "$mode-cronjob" -p '{"spec": {"suspend": true}}'
	done
	for pod in $(kn get pods -l app=reader,mode=csi -o name); do
		echo "$pod"
		by_node_plugin "$pod"
		wait_for 60 "$pod has read" has_read "$pod" demo
		count=$((count + 1))
	done
	((count >= 6)) # one more for each minute that passed
	count=0
	for pod in $(kn get pods -l app=reader,mode=sidecar -o name); do
		echo "$pod"
		by_one_sidecar "$pod"
		wait_for 60 "$pod has read" has_read "$pod" demo
		count=$((count + 1))
	done
	((count >= 6))
	# Every pod was made by who should have made it.
	kn get pods -l app=reader -o json | jq -r '.items[].metadata.ownerReferences[0].kind' | sort | uniq -c
}

has_read() { kn logs "$1" -c "$2" | grep -q "^READ .* files of ${3:-/model}$"; }

# by_node_plugin POD: it keeps its claim, on a node with the plugin, and sees mounts that come later.
by_node_plugin() {
	kn get "$1" -o json | jq -e '
		([.spec.volumes[] | select(.persistentVolumeClaim.claimName == "model") | .name]) as $volumes
		| .spec.nodeName == "node-1" and all(.spec.initContainers[]?; .name | startswith("fluid-fuse") | not) and ($volumes | length) >= 1
		and .metadata.annotations["fluid.io/datasets-in-use"] == "model"
		and all(.spec.containers[]; any(.volumeMounts[]; .name as $n | $volumes | index($n)))
		and all(.spec.containers[].volumeMounts[] | select(.name as $n | $volumes | index($n)); .mountPropagation == "HostToContainer")'
}

# by_one_sidecar POD: no claim is left, one native sidecar serves, on the serverless node.
by_one_sidecar() {
	kn get "$1" -o json | jq -e '
		([.spec.volumes[] | select(.hostPath.path // "" | endswith("/sluice-fuse")) | .name]) as $volumes
		| .spec.nodeName == "node-2" and .metadata.labels["done.sidecar.fluid.io/inject"] == "true"
		and (.spec.volumes | all(has("persistentVolumeClaim") | not)) and ($volumes | length) >= 1
		and ([.spec.initContainers[] | select(.name | startswith("fluid-fuse"))] | length == 1 and .[0].restartPolicy == "Always")
		and all(.spec.containers[].volumeMounts[] | select(.name as $n | $volumes | index($n)); .mountPropagation == "HostToContainer")'
}

# A pod that itself keeps to the level.
restricted_pod() {
	reader_template sidecar 0 '{"spec": {"restartPolicy": "Never", "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}}}}' |
		as_pod restricted | jq '.spec.containers[].securityContext = {allowPrivilegeEscalation: false, capabilities: {drop: ["ALL"]}}'
}

told_of_pod_security() {
	restricted_pod | refused kn create --dry-run=server -f - 2>&1 | tee "$WORK/said"
	grep -q 'violates PodSecurity "restricted' "$WORK/said" &&
		grep -q "^Warning: namespace $NS enforces Pod Security level restricted .*spec.initContainers\[fluid-fuse-0\].securityContext" "$WORK/said"
}

e2e_namespace_that_refuses_the_sidecar_is_named() {
	restricted_pod | kn create --dry-run=server -f -
	trap 'k label --overwrite namespace "$NS" pod-security.kubernetes.io/enforce=privileged' EXIT
	k label --overwrite namespace "$NS" pod-security.kubernetes.io/enforce=restricted
	wait_for 30 "the refusal comes with its cause and the way out" told_of_pod_security
}

# ---------------------------------------------------------------- other webhooks, later changes

# second_webhook: serves one that comes after ours; it ends with the case.
second_webhook() {
	local dir=$WORK/second
	mkdir -p "$dir"
	openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=second -addext subjectAltName=IP:127.0.0.1 \
		-keyout "$dir/key" -out "$dir/certificate" 2>/dev/null
	# Not through the function: the pid to be ended is the program's.
	"$ROOT/test/cluster/cluster" exec /usr/bin/python3 "$HERE/second_webhook.py" 18444 "$dir/certificate" "$dir/key" >"$LOG_DIR/second_webhook.log" 2>&1 &
	SECOND_PID=$!
	wait_for 20 "the second webhook listens" cluster exec bash -c 'exec 3<>/dev/tcp/127.0.0.1/18444'
	# Configurations are asked in the order of their names.
	jq -n --arg ca "$(base64 -w0 <"$dir/certificate")" '{
		apiVersion: "admissionregistration.k8s.io/v1", kind: "MutatingWebhookConfiguration", metadata: {name: "second-webhook"},
		webhooks: [{
			name: "second.example.com", admissionReviewVersions: ["v1"], sideEffects: "None", failurePolicy: "Fail", timeoutSeconds: 10,
			clientConfig: {url: "https://127.0.0.1:18444/", caBundle: $ca},
			objectSelector: {matchExpressions: [{key: "second-webhook", operator: "Exists"}]},
			rules: [{apiGroups: [""], apiVersions: ["v1"], operations: ["CREATE"], resources: ["pods"]}]}]}' | k create -f -
	wait_for 30 "the API server asks it" asks_second
}

asks_second() {
	pod_document probe model '{"metadata": {"labels": {"second-webhook": "container"}}}' |
		kn create --dry-run=server -o json -f - | jq -e 'any(.spec.containers[]; .name == "second")'
}

remove_second_webhook() {
	k delete mutatingwebhookconfiguration second-webhook --ignore-not-found
	kill "$SECOND_PID" || true
	kn delete pods -l app=reader --ignore-not-found --timeout=60s
}

# second_reader MODE WHAT: a pod to which the second webhook adds that.
second_reader() {
	reader_template "$1" 3600 "{\"metadata\": {\"labels\": {\"second-webhook\": \"$2\"}}, \"spec\": {\"restartPolicy\": \"Never\"}}" |
		as_pod "second-$1-$2"
}

e2e_another_webhook_after_ours_gets_a_consistent_pod() {
	local what name
	trap remove_second_webhook EXIT
	second_webhook
	second_reader csi container | kn create -f -
	for what in container volume; do second_reader sidecar "$what" | kn create -f -; done
	wait_for 120 "both containers have read through the node plugin" both_have_read second-csi-container
	by_node_plugin pod/second-csi-container
	for what in container volume; do
		name=second-sidecar-$what
		kn get pod "$name" -o json | jq -c '.metadata.labels, .spec.volumes, (.spec.containers[] | {name, volumeMounts}), (.spec.initContainers // [] | map(.name))'
		wait_for 120 "both containers of $name have read" both_have_read "$name"
		by_one_sidecar "pod/$name"
	done
	# Kubelet mounts a claim for one volume of a pod only, whoever's it is, so such a pod cannot run; what is
	# ours of it is there.
	second_reader csi volume | kn create --dry-run=server -o json -f - |
		jq -e 'all(.spec.containers[].volumeMounts[] | select(.mountPath == "/model"); .mountPropagation == "HostToContainer")
			and ([.spec.volumes[] | select(.persistentVolumeClaim.claimName == "model")] | length == 2)'
}

both_have_read() { has_read "pod/$1" demo && has_read "pod/$1" second; }

# Admission requests that the webhook has answered, all replicas together.
admissions() {
	local pod
	for pod in $(k -n "$SYSTEM_NS" get pods -l control-plane=fluid-webhook -o 'jsonpath={.items[*].metadata.name}'); do
		k get --raw "/api/v1/namespaces/$SYSTEM_NS/pods/$pod:8080/proxy/metrics"
	done | awk '/^sluice_webhook_admissions_total/ {n += $NF} END {print n + 0}'
}

e2e_changes_of_pods_are_none_of_ours() {
	local mode before after asked
	local spec='{spec, generation: .metadata.generation, annotations: .metadata.annotations}'
	trap 'kn delete pods -l app=reader --ignore-not-found --timeout=60s' EXIT
	for mode in csi sidecar; do
		reader_template "$mode" 3600 '{"spec": {"restartPolicy": "Never"}}' |
			as_pod "changed-$mode" | kn create -f -
		wait_for 120 "the pod has read" has_read "pod/changed-$mode" demo
	done
	asked=$(admissions)
	for mode in csi sidecar; do
		before=$(kn get pod "changed-$mode" -o json | jq -Sc "$spec")
		kn label pod "changed-$mode" touched=yes
		# Labels that would have asked for the other mode.
		kn label --overwrite pod "changed-$mode" serverless.fluid.io/inject=true fuse.serverful.fluid.io/inject=true
		# The one change of a spec that any pod allows.
		after=$(kn get pod "changed-$mode" -o json | jq -Sc "$spec")
		diff <(echo "$before") <(echo "$after")
		kn patch pod "changed-$mode" -p '{"spec": {"activeDeadlineSeconds": 3600}}'
		kn get pod "changed-$mode" -o json | jq -Sc "$spec" |
			diff <(jq -Sc '.spec.activeDeadlineSeconds = 3600 | .generation += 1' <<<"$before") -
	done
	[[ $(admissions) == "$asked" ]]
	# The count does move when a pod is created.
	pod_document counted model | kn create --dry-run=server -f -
	(($(admissions) > asked))
}

# ---------------------------------------------------------------- the webhook itself goes

# What the API server is asked over and over: a pod in CSI mode and one in sidecar mode, dry run.
create_for_ever() { # DIRECTORY
	local mode n=0 code pki=$CLUSTER_DIR/state/pki
	while [[ ! -e $1/stop ]]; do
		n=$((n + 1))
		mode=csi
		((n % 2)) || mode=sidecar
		code=$(cluster exec curl -s -m 30 -o "$1/answer" -w '%{http_code}' --cacert "$pki/ca.crt" --cert "$pki/admin.crt" --key "$pki/admin.key" \
			-H 'Content-Type: application/json' --data-binary "@$1/$mode" "https://127.0.0.1:6443/api/v1/namespaces/$NS/pods?dryRun=All" || echo none)
		if [[ $code == 201 ]] && grep -q '"fluid.io/datasets-in-use": *"model"' "$1/answer"; then
			echo "$mode" >>"$1/right"
		else
			{ echo "$n $mode: $code"; head -c 2000 "$1/answer"; } >>"$1/wrong"
		fi
	done
}

e2e_no_pod_is_refused_while_the_webhook_is_replaced() {
	local dir=$WORK/creating mode end
	mkdir -p "$dir"
	: >"$dir/right"
	# shellcheck disable=SC2064 # now: the directory is local
	trap "touch '$dir/stop'" EXIT
	for mode in csi sidecar; do
		reader_template "$mode" 0 '{"spec": {"restartPolicy": "Never"}}' |
			jq '{apiVersion: "v1", kind: "Pod"} + . | .metadata.generateName = "created-"' >"$dir/$mode"
	done
	k -n "$SYSTEM_NS" rollout status --timeout=60s deployment/fluid-webhook
	create_for_ever "$dir" &
	end=$((SECONDS + 30))
	wait_for 20 "pods are created" grep -q sidecar "$dir/right"
	k -n "$SYSTEM_NS" rollout restart deployment/fluid-webhook
	k -n "$SYSTEM_NS" rollout status --timeout=120s deployment/fluid-webhook
	# Those that end answer until everybody knows that they do.
	until ((SECONDS >= end)) && ended_webhooks; do sleep 1; done
	touch "$dir/stop"
	wait
	echo "$(wc -l <"$dir/right") creations were right: $(sort "$dir/right" | uniq -c | xargs)"
	[[ ! -e $dir/wrong ]] || { cat "$dir/wrong"; return 1; }
	(($(grep -c csi "$dir/right") > 20 && $(grep -c sidecar "$dir/right") > 20))
}

ended_webhooks() { [[ $(k -n "$SYSTEM_NS" get pods -l control-plane=fluid-webhook -o name | wc -l) == 2 ]]; }

# ---------------------------------------------------------------- where pods go

# Nodes that are played, each with room for one pod of 20 processors:
#   fake-1, fake-2   zone-x of region-r      fake-3   zone-y of region-r
#   fake-4, fake-5, fake-6   zone-z of region-s
PLACES=placement

# placed_dataset NAME ZONE REGION NODE...: a bound dataset of another engine, whose workers run on the nodes
# and may run in that zone and region. Nobody here reconciles that engine: what its controller writes is ours.
placed_dataset() {
	local name=$1 zone=$2 region=$3 node
	shift 3
	jq -n --arg ns "$PLACES" --arg name "$name" '
		{accessModes: ["ReadOnlyMany"], storageClassName: "fluid", volumeMode: "Filesystem"} as $both |
		{apiVersion: "data.fluid.io/v1alpha1", kind: "AlluxioRuntime", metadata: {name: $name, namespace: $ns}, spec: {}},
		{apiVersion: "data.fluid.io/v1alpha1", kind: "Dataset", metadata: {name: $name, namespace: $ns},
			spec: {mounts: [{mountPoint: "https://example.invalid/data", name: $name}]}},
		{apiVersion: "v1", kind: "PersistentVolume", metadata: {name: "\($ns)-\($name)", labels: {app: $ns}}, spec: ($both + {
			capacity: {storage: "1Ti"}, persistentVolumeReclaimPolicy: "Retain",
			claimRef: {namespace: $ns, name: $name, apiVersion: "v1", kind: "PersistentVolumeClaim"},
			csi: {driver: "fuse.csi.fluid.io", volumeHandle: "\($ns)-\($name)", volumeAttributes: {
				fluid_path: "/runtime-mnt/alluxio/\($ns)/\($name)/alluxio-fuse", mount_type: "fuse.alluxio-fuse"}}})},
		{apiVersion: "v1", kind: "PersistentVolumeClaim", metadata: {name: $name, namespace: $ns, labels: {"fluid.io/s-\($ns)-\($name)": "true"}},
			spec: ($both + {volumeName: "\($ns)-\($name)", resources: {requests: {storage: "1Ti"}}})}' | k create -f -
	# Sluice's controller says once that nothing serves the dataset; then it leaves the status alone.
	wait_for 30 "dataset $name is seen" placed_is "$name" NotBound
	jq -n --arg ns "$PLACES" --arg name "$name" --arg now "$(date -u +%FT%TZ)" '{status: {
		phase: "Bound", runtimes: [{name: $name, namespace: $ns, type: "alluxio", category: "Accelerate"}],
		conditions: [{type: "Ready", status: "True", reason: "DatasetReady", message: "The ddc runtime is ready.",
			lastUpdateTime: $now, lastTransitionTime: $now}]}}' >"$WORK/status"
	k -n "$PLACES" patch dataset "$name" --subresource=status --type=merge --patch-file "$WORK/status"
	jq -n --arg zone "$zone" --arg region "$region" '{status: {cacheAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {
		nodeSelectorTerms: [{matchExpressions: ([["zone", $zone], ["region", $region]]
			| map(select(.[1] != "") | {key: "topology.kubernetes.io/\(.[0])", operator: "In", values: [.[1]]}))}]}}}}' >"$WORK/status"
	k -n "$PLACES" patch alluxioruntime "$name" --subresource=status --type=merge --patch-file "$WORK/status"
	for node; do k label node "$node" "fluid.io/s-$PLACES-$name=true" fluid.io/dataset-num=1 --overwrite; done
	wait_for 30 "the claim is bound" claim_bound "$name"
}

placed_is() { [[ $(k -n "$PLACES" get dataset "$1" -o 'jsonpath={.status.phase}') == "$2" ]]; }
claim_bound() { [[ $(k -n "$PLACES" get pvc "$1" -o 'jsonpath={.status.phase}') == Bound ]]; }

# put_document NAME CLAIMS [EXTRA_JSON]: a pod in CSI mode that fills a node, and uses the claims (words, maybe none).
put_document() {
	jq -n --arg name "$1" --arg claims "$2" --argjson extra "${3:-{\}}" '($claims | split(" ")) as $claims | {
		apiVersion: "v1", kind: "Pod", metadata: {name: $name, labels: {"fuse.serverful.fluid.io/inject": "true"}},
		spec: {
			automountServiceAccountToken: false, nodeSelector: {type: "kwok"}, tolerations: [{key: "kwok.x-k8s.io/node", operator: "Exists"}],
			containers: [{name: "app", image: "none:1", resources: {requests: {cpu: "20"}},
				volumeMounts: [$claims[] | {name: ., mountPath: "/\(.)"}]}],
			volumes: [$claims[] | {name: ., persistentVolumeClaim: {claimName: .}}]}} * $extra'
}

put() { put_document "$@" | k -n "$PLACES" create -f -; }

required() { # CLAIM...: put's EXTRA_JSON for pods that will not run far from these datasets
	jq -nc '{metadata: {labels: ([$ARGS.positional[] | {"fluid.io/dataset.\(.).sched": "required"}] | add)}}' --args "$@"
}

# lands POD NODE: that is where the scheduler put it.
lands() {
	local node
	wait_for 60 "pod $1 has a node" placed "$1"
	node=$(k -n "$PLACES" get pod "$1" -o 'jsonpath={.spec.nodeName}')
	echo "$1 is on $node"
	[[ $node == "$2" ]] || { k -n "$PLACES" get pod "$1" -o json | jq .spec.affinity; return 1; }
}
placed() { [[ -n $(k -n "$PLACES" get pod "$1" -o 'jsonpath={.spec.nodeName}') ]]; }

# waits POD: it does not run, and its event says that it is for affinity.
waits() {
	wait_for 60 "an event of pod $1 that names affinity" unschedulable "$1"
	unschedulable "$1"
	refused placed "$1"
}
unschedulable() {
	k -n "$PLACES" get events --field-selector "involvedObject.name=$1,reason=FailedScheduling" -o 'jsonpath={range .items[*]}{.message}{"\n"}{end}' |
		grep -i "node affinity"
}

# No kubelet has anything to end.
take() { k -n "$PLACES" delete pod "$@" --force --grace-period=0; }
affinity_of() { k -n "$PLACES" get pod "$1" -o json | jq -c '.spec.affinity.nodeAffinity'; }

# weights [SED_SCRIPT]: the webhook's plugin profile with such a change, or as it was.
weights() {
	[[ -s $WORK/profile ]] || k -n "$SYSTEM_NS" get configmap webhook-plugins -o 'jsonpath={.data.pluginsProfile}' >"$WORK/profile"
	sed -e "${1:-}" "$WORK/profile" >"$WORK/profile.new"
	jq -n --rawfile profile "$WORK/profile.new" '{data: {pluginsProfile: $profile}}' >"$WORK/patch"
	k -n "$SYSTEM_NS" patch configmap webhook-plugins --type=merge --patch-file "$WORK/patch"
	k -n "$SYSTEM_NS" rollout restart deployment/fluid-webhook
	k -n "$SYSTEM_NS" rollout status --timeout=120s deployment/fluid-webhook
	wait_for 60 "the old webhooks have ended" ended_webhooks
}

remove_places() {
	local status=$?
	take --all || status=1
	# Not a race with the controller's finalizer: the datasets go as a user would let them go.
	k -n "$PLACES" delete datasets,alluxioruntimes --all --timeout=60s || status=1
	k delete namespace "$PLACES" --ignore-not-found --timeout=120s || status=1
	k delete pv -l "app=$PLACES" --timeout=60s || status=1
	cluster fake-nodes 0 || status=1
	[[ ! -s $WORK/profile ]] || weights || status=1
	exit "$status"
}

e2e_pods_are_placed_near_their_datasets() {
	local zone=topology.kubernetes.io/zone own
	trap remove_places EXIT
	cluster fake-nodes 6 "zone-x:region-r zone-x:region-r zone-y:region-r zone-z:region-s zone-z:region-s zone-z:region-s"
	k create namespace "$PLACES"
	placed_dataset near zone-x region-r fake-1
	placed_dataset left zone-z region-s fake-4 fake-6
	placed_dataset right zone-z region-s fake-5 fake-6

	echo "== one after the other: the node with the data, its zone, its region, anywhere"
	put tier-1 near
	lands tier-1 fake-1
	# The weights are those of the profile.
	affinity_of tier-1 | jq -e '.preferredDuringSchedulingIgnoredDuringExecution | map([.weight, .preference.matchExpressions[0].key])
		== [[100, "fluid.io/s-placement-near"], [50, "topology.kubernetes.io/zone"], [20, "topology.kubernetes.io/region"]]'
	put tier-2 near
	lands tier-2 fake-2
	put tier-3 near
	lands tier-3 fake-3
	put tier-4 near
	wait_for 60 "a pod that only prefers runs far away as well" placed tier-4

	echo "== required means required"
	put must "near" "$(required near)"
	waits must
	take tier-1
	lands must fake-1
	take must tier-2 tier-3 tier-4

	echo "== two required datasets: the node that has both"
	put both-1 "left right" "$(required left right)"
	lands both-1 fake-6
	put both-2 "left right" "$(required left right)"
	waits both-2
	take both-1
	lands both-2 fake-6
	take both-2
	# Of two preferred ones likewise, as long as there is room.
	put either-1 "left right"
	lands either-1 fake-6
	put either-2 "left right"
	wait_for 60 "the next one runs with one of them" placed either-2
	take either-1 either-2

	echo "== nowhere: told, and healed by the first worker"
	k label node fake-1 "fluid.io/s-$PLACES-near-"
	put lost near "$(required near)"
	waits lost
	k label node fake-2 "fluid.io/s-$PLACES-near=true"
	lands lost fake-2
	take lost
	k label node fake-2 "fluid.io/s-$PLACES-near-"
	k label node fake-1 "fluid.io/s-$PLACES-near=true"

	echo "== the user's own zone decides"
	own="{\"nodeAffinity\": {\"requiredDuringSchedulingIgnoredDuringExecution\": {\"nodeSelectorTerms\": [
		{\"matchExpressions\": [{\"key\": \"$zone\", \"operator\": \"In\", \"values\": [\"zone-y\"]}]}]}}}"
	put mine near "{\"spec\": {\"affinity\": $own}}"
	lands mine fake-3
	affinity_of mine | jq -e --argjson own "$own" '. == $own.nodeAffinity'
	take mine
	put mine-required near "$(jq -c --argjson own "$own" '.spec.affinity = $own' <<<"$(required near)")"
	lands mine-required fake-3
	take mine-required
	put mine-selected near "{\"spec\": {\"nodeSelector\": {\"$zone\": \"zone-y\"}}}"
	lands mine-selected fake-3
	affinity_of mine-selected | jq -e '. == null'
	take mine-selected

	echo "== a zone that the runtime's client demands is not the user's word"
	k -n "$PLACES" patch alluxioruntime near --type=merge -p "{\"spec\": {\"fuse\": {\"nodeSelector\": {\"$zone\": \"zone-x\"}}}}"
	wait_for 30 "the webhook knows" demands_zone
	put fused-1 near
	lands fused-1 fake-1
	put fused-2 near
	lands fused-2 fake-2
	put fused-3 near
	waits fused-3
	take fused-1 fused-2 fused-3

	echo "== a pod without datasets leaves the nodes that have some alone"
	k label node fake-2 fluid.io/dataset-num=1
	put plain ""
	lands plain fake-3
	take plain

	echo "== another profile, other weights"
	placed_dataset torn zone-y "" fake-1
	put torn-1 torn
	lands torn-1 fake-1
	take torn-1
	weights 's|{name: fluid.io/node, weight: 100}|{name: fluid.io/node, weight: 10}|; s|zone, weight: 50}|zone, weight: 100}|'
	refused cmp "$WORK/profile" "$WORK/profile.new"
	put torn-2 torn
	lands torn-2 fake-3
	affinity_of torn-2
}

demands_zone() {
	put_document probe near | k -n "$PLACES" create --dry-run=server -o json -f - |
		jq -e '.spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution != null'
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

answers_with_sidecar() { # URL REVIEW_FILE
	cluster exec curl -sk -m 5 -H 'Content-Type: application/json' --data-binary "@$2" "$1" |
		jq -e '.response.allowed and (.response.patch | @base64d | contains("fluid-fuse-0"))'
}

api_server() { cluster node pkill "-$1" -x kube-apiserver; } # SIGNAL

e2e_webhook_answers_while_the_api_server_is_away() {
	local address i
	address=$(k -n "$SYSTEM_NS" get pods -l control-plane=fluid-webhook -o 'jsonpath={.items[0].status.podIP}')
	pod_document away model '{"metadata": {"labels": {"serverless.fluid.io/inject": "true"}}}' |
		admission_review "$NS" >"$WORK/review"
	trap 'api_server CONT' EXIT
	api_server STOP
	# Longer than a request to the API server may take.
	for ((i = 0; i < 15; i++)); do
		answers_with_sidecar "https://$address:9443/mutate-fluid-io-v1alpha1-schedulepod" "$WORK/review"
		sleep 1
	done
	trap - EXIT
	api_server CONT
	wait_for 60 "every node is ready" k wait --for=condition=Ready node node-1 node-2 --timeout=5s
	k -n "$SYSTEM_NS" get pods -l control-plane=fluid-webhook -o json | jq -e 'all(.items[].status.containerStatuses[]; .restartCount == 0)'
}

# certificate_of_user SERIAL: signed by an authority of the user's own.
certificate_of_user() {
	local dir=$WORK/user name=fluid-pod-admission-webhook.$SYSTEM_NS.svc
	mkdir -p "$dir"
	[[ -s $dir/ca.pem ]] || openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=authority-of-the-user -keyout "$dir/ca.key" -out "$dir/ca.pem"
	openssl req -new -newkey rsa:2048 -nodes -subj "/CN=$name" -keyout "$dir/tls.key" -out "$dir/tls.csr"
	openssl x509 -req -days 1 -in "$dir/tls.csr" -CA "$dir/ca.pem" -CAkey "$dir/ca.key" -set_serial "$1" \
		-extfile <(echo "subjectAltName=DNS:$name") -out "$dir/tls.crt"
	k -n "$SYSTEM_NS" create secret tls certificate-of-user --cert="$dir/tls.crt" --key="$dir/tls.key" --dry-run=client -o json |
		k apply --server-side -f -
}

serves_serial() { # SERIAL
	local address said
	for address in $(k -n "$SYSTEM_NS" get pods -l control-plane=fluid-webhook -o 'jsonpath={.items[*].status.podIP}'); do
		said=$(cluster exec timeout 5 openssl s_client -connect "$address:9443" </dev/null || true)
		[[ $(openssl x509 -noout -serial <<<"$said") == "serial=$1" ]] || return 1
	done
}

gets_sidecar() {
	pod_document probe model '{"metadata": {"labels": {"serverless.fluid.io/inject": "true"}}}' |
		kn create --dry-run=server -o json -f - | jq -e 'any(.spec.initContainers[]?; .name == "fluid-fuse-0")'
}

own_certificate() {
	local CHART_VALUES=()
	apply_sluice
	k -n "$SYSTEM_NS" rollout status --timeout=120s deployment/fluid-webhook
	k -n "$SYSTEM_NS" delete secret certificate-of-user --ignore-not-found
	wait_for 60 "the webhook is trusted with its own certificate" webhook_trusted
	wait_for 30 "a pod gets its sidecar again" gets_sidecar
}

e2e_certificate_of_the_user_is_served() {
	trap own_certificate EXIT
	certificate_of_user 0x51
	# shellcheck disable=SC2034 # read by demo-cluster.sh
	local CHART_VALUES=(--set webhook.certificate.from=secret --set webhook.certificate.secretName=certificate-of-user
		--set-file "webhook.certificate.caBundle=$WORK/user/ca.pem")
	apply_sluice
	k -n "$SYSTEM_NS" rollout status --timeout=120s deployment/fluid-webhook
	wait_for 60 "the user's certificate is served" serves_serial 51
	wait_for 30 "a pod gets its sidecar" gets_sidecar
	# Renewed, it is taken into use by the pods that run.
	certificate_of_user 0x52
	wait_for 150 "the renewed certificate is served" serves_serial 52
	gets_sidecar
	k -n "$SYSTEM_NS" get pods -l control-plane=fluid-webhook -o json | jq -e 'all(.items[].status.containerStatuses[]; .restartCount == 0)'
}

# cert-manager beside the cluster; it ends with the case.
cert_manager() {
	k apply --server-side -f "$CACHE/bin/cert-manager-crds.yaml"
	k wait --for=condition=Established --timeout=60s crd/certificates.cert-manager.io crd/issuers.cert-manager.io
	"$ROOT/test/cluster/cluster" exec "$CACHE/bin/certmanager" >"$LOG_DIR/cert_manager.log" 2>&1 &
	CERT_MANAGER_PID=$!
}

remove_cert_manager() {
	k -n "$SYSTEM_NS" delete --ignore-not-found certificate/fluid-webhook-serving certificate/fluid-webhook-ca || true
	kill "$CERT_MANAGER_PID" || true
	own_certificate
	k -n "$SYSTEM_NS" delete secret fluid-webhook-ca fluid-webhook-serving --ignore-not-found
	k delete --timeout=60s -f "$CACHE/bin/cert-manager-crds.yaml"
}

serves_certificate_of_secret() {
	local serial
	serial=$(k -n "$SYSTEM_NS" get secret fluid-webhook-serving -o 'jsonpath={.data.tls\.crt}' | base64 -d | openssl x509 -noout -serial)
	[[ -n $serial ]] && serves_serial "${serial#serial=}"
}

renew() { # CERTIFICATE: as cert-manager's own command does
	local revision
	revision=$(k -n "$SYSTEM_NS" get certificate "$1" -o 'jsonpath={.status.revision}')
	k -n "$SYSTEM_NS" get certificate "$1" -o json | jq '.status.conditions += [{type: "Issuing", status: "True", reason: "ManuallyTriggered",
		message: "by the test", lastTransitionTime: (now | todate)}]' | k replace --subresource=status -f -
	wait_for 60 "$1 is renewed" k -n "$SYSTEM_NS" wait --for "jsonpath={.status.revision}=$((revision + 1))" certificate "$1" --timeout=5s
}

e2e_certificate_of_cert_manager_is_served() {
	trap remove_cert_manager EXIT
	cert_manager
	# shellcheck disable=SC2034 # read by demo-cluster.sh
	local CHART_VALUES=(--set webhook.certificate.from=cert-manager)
	apply_sluice
	k -n "$SYSTEM_NS" wait --for=condition=Ready --timeout=60s certificate/fluid-webhook-serving
	k -n "$SYSTEM_NS" rollout status --timeout=120s deployment/fluid-webhook
	wait_for 60 "cert-manager's certificate is served" serves_certificate_of_secret
	wait_for 60 "a pod gets its sidecar" gets_sidecar
	# Renewed, first the certificate and then its authority too, they are taken into use by the pods that run.
	renew fluid-webhook-serving
	wait_for 150 "the renewed certificate is served" serves_certificate_of_secret
	gets_sidecar
	renew fluid-webhook-ca
	renew fluid-webhook-serving
	wait_for 150 "the certificate of the renewed authority is served" serves_certificate_of_secret
	wait_for 30 "a pod gets its sidecar from it" gets_sidecar
	k -n "$SYSTEM_NS" get pods -l control-plane=fluid-webhook -o json | jq -e 'all(.items[].status.containerStatuses[]; .restartCount == 0)'
}

# ---------------------------------------------------------------- ordinary sidecars

# What older clusters get: the sidecar is a container like others, and the controller ends it.
ordinary_sidecars() {
	local CHART_VALUES=(--set webhook.fuseSidecar.sidecarInjectionMode=legacy)
	apply_sluice
	k -n "$SYSTEM_NS" rollout status --timeout=120s deployment/fluid-webhook
	k -n "$SYSTEM_NS" rollout status --timeout=120s deployment/fluidapp-controller
	# A pod of the old placement may still answer while it goes.
	wait_for 60 "only the new webhook" new_webhook_only legacy
}

# What a failed case needs to be understood, for it is gone with the clean-up.
tell_of_ordinary_sidecars() {
	kn get jobs,pods -o wide
	kn describe pods -l job-name
	k -n "$SYSTEM_NS" logs --tail=100 --prefix -l control-plane=fluidapp-controller
}

native_sidecars() {
	[[ -n ${SHOWN:-} ]] || tell_of_ordinary_sidecars
	local CHART_VALUES=(--set webhook.fuseSidecar.sidecarInjectionMode=legacy)
	kn delete jobs -l e2e=ordinary-sidecar --ignore-not-found --cascade=foreground --timeout=120s
	rendered_objects | jq -c 'select(.metadata.name == "fluidapp-controller")' | k delete --ignore-not-found -f -
	# shellcheck disable=SC2034 # read by demo-cluster.sh
	CHART_VALUES=()
	apply_sluice
	k -n "$SYSTEM_NS" delete --ignore-not-found lease fluidapp.data.fluid.io
	k -n "$SYSTEM_NS" rollout status --timeout=120s deployment/fluid-webhook
	wait_for 60 "only the new webhook" new_webhook_only native-sidecar
}

new_webhook_only() { # MODE
	k -n "$SYSTEM_NS" get pods -l control-plane=fluid-webhook -o json | jq -e --arg mode "$1" '.items | length > 0 and
		all(.[]; .metadata.deletionTimestamp == null and any(.spec.containers[].env[]; .name == "FUSE_SIDECAR_INJECTION_MODE" and .value == $mode))'
}

# sidecar_job NAME RESTART_POLICY PYTHON: a Job without second pods that has the model by a sidecar.
sidecar_job() {
	pod_document "$1" model '{"metadata": {"labels": {"serverless.fluid.io/inject": "true"}}}' |
		jq --arg policy "$2" --arg program "$3" '.metadata.name as $name | del(.metadata.name) |
			.spec.restartPolicy = $policy | .spec.containers[0].command[2] = $program |
			.spec.containers[0].volumeMounts += [{name: "tries", mountPath: "/tries"}] | .spec.volumes += [{name: "tries", emptyDir: {}}] |
			{apiVersion: "batch/v1", kind: "Job", metadata: {name: $name, labels: {e2e: "ordinary-sidecar"}},
			spec: {backoffLimit: (if $policy == "Never" then 0 else 3 end), template: {metadata, spec}}}' | kn create -f -
}

pod_json_of() { kn get pod -l "job-name=$1" -o json | jq -e '.items | if length == 1 then .[0] else error("not one pod") end'; }

# The sidecar was an ordinary container, ended by itself, and its pod says so.
sidecar_ended() { # JOB
	pod_json_of "$1" | jq -e '(.spec.containers | any(.name == "fluid-fuse-0")) and (.spec.initContainers // [] | length == 0)
		and (.status.containerStatuses | any(.name == "fluid-fuse-0" and .restartCount == 0 and .state.terminated.exitCode == 0))'
	events_of "$(pod_json_of "$1" | jq -r .metadata.name)" | tee "$WORK/events"
	grep -q '^FuseSidecarEnded: ' "$WORK/events"
	refused grep '^FailedPostStartHook' "$WORK/events"
	wait_for 30 "the sidecar's mount is gone" no_mount "$1"
}

e2e_jobs_with_ordinary_sidecars_end() {
	local read='import os, sys, glob; data = sum(len(open(f, "rb").read()) for f in glob.glob("/model/all-minilm-l6-v2/*") if os.path.isfile(f)); assert data > 10**6; print("read", data)'
	trap native_sidecars EXIT
	ordinary_sidecars
	sidecar_job ends-well Never "$read"
	sidecar_job ends-badly Never "$read; sys.exit(3)"
	sidecar_job ends-at-last OnFailure "$read; again = os.path.exists('/tries/1'); open('/tries/1', 'w').close(); sys.exit(0 if again else 1)"
	kn wait --for=condition=Complete --timeout=150s job/ends-well
	kn wait --for=condition=Failed --timeout=150s job/ends-badly
	kn wait --for=condition=Complete --timeout=150s job/ends-at-last
	pod_json_of ends-well | jq -e '.status.phase == "Succeeded"'
	pod_json_of ends-badly | jq -e '.status.phase == "Failed" and any(.status.containerStatuses[]; .name == "demo" and .state.terminated.exitCode == 3)'
	# The second try read through the mount that the first one had.
	pod_json_of ends-at-last | jq -e '.status.phase == "Succeeded" and any(.status.containerStatuses[]; .name == "demo" and .restartCount == 1)'
	for job in ends-well ends-badly ends-at-last; do
		kn logs "job/$job" -c demo | grep '^read '
		sidecar_ended "$job"
	done
	SHOWN=yes
	trap - EXIT
	native_sidecars
	gone -n "$SYSTEM_NS" deployment fluidapp-controller
	k auth can-i create pods/exec --as="system:serviceaccount:$SYSTEM_NS:fluidapp-controller" -A >"$WORK/may" || true
	grep -qx no "$WORK/may"
}

# ---------------------------------------------------------------- cache workers

# workers_listed DATASET NAME...: these and no others are in the list of the dataset's clients.
workers_listed() {
	local dataset=$1
	shift
	[[ $(kn get configmap "$dataset-fuse-config" -o json | jq -r '.data["workers.json"] | fromjson | [.workers[].name] | join(" ")') == "$*" ]]
}

workers_ready() { # DATASET NUMBER
	kn get sluiceruntime "$1" -o json | jq -e --argjson n "$2" '.status | .workerPhase == "Ready" and .desiredWorkerNumberScheduled == $n
		and .currentWorkerNumberScheduled == $n and .workerNumberReady == $n'
}

# The first line that a worker answers to what comes in.
asked_worker() { # ADDRESS
	# shellcheck disable=SC2016 # expanded on the node
	cluster exec timeout 5 bash -c 'exec 3<>"/dev/tcp/$0/11211"; cat >&3; head -n 1 <&3' "$1" | tr -d '\r'
}

# The list as it lies in the client's pod.
client_has_list() { # DATASET NAME...
	local dataset=$1 uid
	shift
	uid=$(kn get pod -l "release=$dataset,role=sluice-fuse" -o 'jsonpath={.items[0].metadata.uid}')
	cluster node cat "/var/lib/kubelet/pods/$uid/volumes/kubernetes.io~configmap/sluice-config/workers.json" |
		jq -e --arg names "$*" '[.workers[].name] | join(" ") == $names'
}

e2e_cache_workers_are_deployed_scaled_and_removed() {
	local address password generation
	dataset pooled s3://models/demo/all-minilm-l6-v2/ s3-credentials
	kn patch sluiceruntime pooled --type=merge -p '{"spec": {"replicas": 2, "tieredstore": {"levels": [
		{"mediumtype": "MEM", "quota": "64Mi"}, {"mediumtype": "SSD", "volumeType": "emptyDir", "quota": "256Mi"}]}}}'
	wait_for 60 "dataset pooled is bound" bound pooled
	wait_for 120 "both workers are ready" workers_ready pooled 2
	wait_for 20 "both are listed" workers_listed pooled pooled-worker-0 pooled-worker-1
	kn get pods -l role=sluice-worker -o wide
	generation=$(kn get daemonset pooled-fuse -o 'jsonpath={.metadata.generation}')
	# A namespace with the strictest pod security takes them.
	k create namespace strict
	k label namespace strict pod-security.kubernetes.io/enforce=restricted
	wait_for 30 "the namespace can take pods" k -n strict get serviceaccount default
	kn get statefulset pooled-worker -o json | jq '{apiVersion: "v1", kind: "Pod", metadata: {name: "probe"}, spec: .spec.template.spec}' |
		k -n strict create --dry-run=server -f -
	k delete namespace strict --wait=false
	# They answer those who have the password.
	address=$(kn get pod pooled-worker-1 -o 'jsonpath={.status.podIP}')
	[[ $(printf 'mn\r\n' | asked_worker "$address") == 'CLIENT_ERROR unauthenticated' ]]
	password=$(kn get secret pooled-worker-auth -o 'jsonpath={.data.users}' | base64 -d)
	[[ $(printf 'set auth 0 0 %d\r\n%s\r\n' "${#password}" "${password/:/ }" | asked_worker "$address") == STORED ]]
	# A pod reads meanwhile, and its client has the list.
	pod pooled-reader pooled
	wait_for 120 "the pod runs" running pooled-reader
	wait_for 20 "the client has the list" client_has_list pooled pooled-worker-0 pooled-worker-1
	kn scale sluiceruntime pooled --replicas=1
	wait_for 20 "the second has left the list" workers_listed pooled pooled-worker-0
	kn get pod pooled-worker-1 # which runs on for those who have not heard of it
	wait_for 60 "the second has gone" gone -n "$NS" pod pooled-worker-1
	wait_for 30 "one is ready" workers_ready pooled 1
	wait_for 120 "the client has heard of it" client_has_list pooled pooled-worker-0
	kn scale sluiceruntime pooled --replicas=0
	wait_for 60 "the first has gone" gone -n "$NS" pod pooled-worker-0
	wait_for 30 "none are ready" workers_ready pooled 0
	workers_listed pooled
	bound pooled
	kn scale sluiceruntime pooled --replicas=2
	wait_for 120 "both are back" workers_ready pooled 2
	wait_for 20 "both are listed again" workers_listed pooled pooled-worker-0 pooled-worker-1
	kn get sluiceruntime,dataset pooled -o yaml
	events_of pooled
	bound pooled
	running pooled-reader
	[[ $(kn get daemonset pooled-fuse -o 'jsonpath={.metadata.generation}') == "$generation" ]]
	kn delete pod pooled-reader --timeout=60s
	remove_dataset pooled
	wait_for 60 "the workers are gone" gone -n "$NS" pods -l role=sluice-worker
	for what in statefulset/pooled-worker service/pooled-worker secret/pooled-worker-auth configmap/pooled-fuse-config; do
		wait_for 60 "$what is gone" gone -n "$NS" "$what"
	done
	wait_for 60 "the endpoints are gone" gone -n "$NS" endpointslices -l kubernetes.io/service-name=pooled-worker
}

# client_counted POD SERIES: the value of a series of the client in a pod, a sidecar's or a client's own.
client_counted() {
	k get --raw "/api/v1/namespaces/$NS/pods/$1:9568/proxy/metrics" | awk -v series="$2" '$1 == series {print $2; found = 1} END {exit !found}'
}

# reader NAME MODE DATASET: a pod that reads the dataset, stays, and is gone with remove_readers.
reader() {
	reader_template "$2" 3600 | as_pod "$1" "$3" | kn create -f -
}

# Of a file of the dataset that the readers read, and of nothing else.
KNOWN_TEXT='"architectures": ['

# Prints of how many of two workers the memory holds the text.
workers_hold() { # DATASET TEXT
	local uid rc looked=0 found=0
	for uid in $(kn get pods -l "release=$1,role=sluice-worker" -o 'jsonpath={.items[*].metadata.uid}'); do
		rc=0
		python3 "$ROOT/test/e2e/process_holds.py" "$uid" memcached "$2" || rc=$?
		((rc < 2)) || return 1
		looked=$((looked + 1)) found=$((found + 1 - rc))
	done
	((looked == 2)) && echo "$found"
}

pooled_bytes() { client_counted "$1" "sluice_pooled_read_bytes_total{from=\"$2\"}"; } # POD FROM

e2e_pods_read_through_the_cache_workers() {
	local client read
	trap remove_readers EXIT
	dataset shared s3://models/demo/ s3-credentials
	kn patch sluiceruntime shared --type=merge -p '{"spec": {"replicas": 2, "tieredstore": {"levels": [{"mediumtype": "MEM", "quota": "768Mi"}]}}}'
	wait_for 60 "dataset shared is bound" bound shared
	wait_for 120 "both workers are ready" workers_ready shared 2
	wait_for 20 "both are listed" workers_listed shared shared-worker-0 shared-worker-1
	# The first to read, on the ordinary node, fills them from the origin.
	reader first csi shared
	wait_for 180 "the first has read" has_read pod/first demo
	[[ $(kn get pod first -o 'jsonpath={.spec.nodeName} {.spec.volumes[0].persistentVolumeClaim.claimName}') == "node-1 shared" ]]
	client=$(kn get pod -l release=shared,role=sluice-fuse -o 'jsonpath={.items[0].metadata.name}')
	read=$(pooled_bytes "$client" fill)
	echo "first: $read bytes filled, $(client_counted "$client" sluice_origin_read_bytes_total) from the origin"
	((read > 64 << 20))
	((read > 9 * $(client_counted "$client" sluice_origin_read_bytes_total) / 10))
	[[ $(workers_hold shared "$KNOWN_TEXT") == [12] ]]
	# What a pod on another node reads comes from them.
	reader second sidecar shared
	wait_for 180 "the second has read" has_read pod/second demo
	by_one_sidecar pod/second
	(($(pooled_bytes second pool) > 9 * read / 10))
	(($(client_counted second sluice_origin_read_bytes_total) < read / 50))
	# A worker that dies under a reader is not noticed.
	reader third sidecar shared
	wait_for 60 "the third reads" running third
	kn delete pod shared-worker-1 --force --grace-period=0
	wait_for 180 "the third has read" has_read pod/third demo
	by_one_sidecar pod/third
	echo "third: $(pooled_bytes third pool) bytes from the workers, $(client_counted third sluice_origin_read_bytes_total) from the origin"
	wait_for 120 "both workers are ready again" workers_ready shared 2
	remove_readers
	remove_dataset shared
}

# What a worker says to "mn" by TLS; its certificate is checked, for the worker's name.
asked_by_tls() { # POD OPENSSL_ARGS...
	local name=$1.${1%-*}.$NS.svc address
	address=$(kn get pod "$1" -o 'jsonpath={.status.podIP}')
	shift
	printf 'mn\r\n' | cluster exec timeout 5 openssl s_client -connect "$address:11211" -quiet -verify_return_error -verify_hostname "$name" \
		-CAfile "$WORK/worker-tls/ca.crt" "$@" | head -n 1 | tr -d '\r' || true # refused, it says nothing
}

without_worker_tls() {
	local CHART_VALUES=()
	remove_readers
	remove_dataset sealed
	apply_sluice
}

e2e_cache_workers_speak_tls_and_hold_nothing_readable() {
	local what client read
	trap without_worker_tls EXIT
	# shellcheck disable=SC2034 # read by demo-cluster.sh
	local CHART_VALUES=(--set dataset.workerTls=true)
	apply_sluice
	dataset sealed s3://models/demo/ s3-credentials
	kn patch sluiceruntime sealed --type=merge -p '{"spec": {"replicas": 2, "worker": {"options": {"tls": "true", "encryption": "true"}},
		"tieredstore": {"levels": [{"mediumtype": "MEM", "quota": "768Mi"}]}}}'
	wait_for 60 "dataset sealed is bound" bound sealed
	wait_for 120 "both workers are ready" workers_ready sealed 2
	wait_for 20 "both are listed" workers_listed sealed sealed-worker-0 sealed-worker-1
	# They speak to who has a certificate of theirs, and to nobody else.
	mkdir -p "$WORK/worker-tls"
	for what in ca.crt tls.crt tls.key; do
		kn get secret sealed-client-tls -o json | jq -r --arg what "$what" '.data[$what]' | base64 -d >"$WORK/worker-tls/$what"
	done
	printf 'mn\r\n' | asked_worker "$(kn get pod sealed-worker-1 -o 'jsonpath={.status.podIP}')" | tr -cd '[:print:]' >"$WORK/said" || true
	refused grep -qE 'MN|ERROR' "$WORK/said"
	[[ -z $(asked_by_tls sealed-worker-1) ]]
	[[ $(asked_by_tls sealed-worker-1 -cert "$WORK/worker-tls/tls.crt" -key "$WORK/worker-tls/tls.key") == 'CLIENT_ERROR unauthenticated' ]]
	# Pods on both nodes share what they read, and the workers do not know what it is.
	reader seals csi sealed
	wait_for 180 "the first has read" has_read pod/seals demo
	client=$(kn get pod -l release=sealed,role=sluice-fuse -o 'jsonpath={.items[0].metadata.name}')
	read=$(pooled_bytes "$client" fill)
	echo "first: $read bytes filled, $(client_counted "$client" sluice_origin_read_bytes_total) from the origin"
	((read > 64 << 20))
	reader unseals sidecar sealed
	wait_for 180 "the second has read" has_read pod/unseals demo
	by_one_sidecar pod/unseals
	(($(pooled_bytes unseals pool) > 9 * read / 10))
	(($(client_counted unseals sluice_origin_read_bytes_total) < read / 50))
	[[ $(workers_hold sealed sealed-worker-) == 2 ]] # their host names
	[[ $(workers_hold sealed "$KNOWN_TEXT") == 0 ]]
	# Keys are in Secrets only.
	for what in pool-key:key client-tls:tls.key worker-tls:tls.key; do
		kn get secret "sealed-${what%:*}" -o json | jq -er --arg what "${what#*:}" '.data[$what]' >"$WORK/encoded"
		# Of a PEM document what is the key's own.
		base64 -d "$WORK/encoded" | sed '/^-/d' | tr -d '\n' | tail -c 60 | head -c 40 >"$WORK/secret"
		[[ $(wc -c <"$WORK/secret") == 40 ]]
		everything_readable sealed >"$WORK/everything"
		refused grep -qaF -f "$WORK/encoded" "$WORK/everything"
		refused grep -qaF -f "$WORK/secret" "$WORK/everything"
	done
	rm -f "$WORK/everything" "$WORK/encoded" "$WORK/secret"
	remove_readers
	remove_dataset sealed
	for what in worker-ca worker-tls client-tls pool-key; do
		wait_for 60 "secret sealed-$what is gone" gone -n "$NS" secret "sealed-$what"
	done
}

# ---------------------------------------------------------------- writing

# What the writers run, step by step: write a checkpoint as the tools do and put its sum into its name, or wait for
# one that another pod has written and compare it.
CHECKPOINT='
import hashlib, os, sys, time
def write(name, size):
    data = os.urandom(1 << 20) * (size >> 20)
    os.makedirs("/model/run", exist_ok=True)
    with open(f"/model/run/{name}.tmp", "wb") as file:
        for at in range(0, size, 1 << 20):
            file.write(data[at:at + (1 << 20)])
        os.fsync(file.fileno())
    os.rename(f"/model/run/{name}.tmp", f"/model/run/{name}-{hashlib.sha256(data).hexdigest()}")
    print("WROTE", sorted(os.listdir("/model/run")), flush=True)
def compare(name):
    end = time.monotonic() + 150
    found = []
    while not found and time.monotonic() < end:
        time.sleep(0.5)
        found = [f for f in os.listdir("/model/run") if f.startswith(f"{name}-")] if os.path.isdir("/model/run") else []
    assert found, f"no {name} in 150 s"
    with open(f"/model/run/{found[0]}", "rb") as file:
        assert hashlib.file_digest(file, "sha256").hexdigest() == found[0].removeprefix(f"{name}-")
    print("READ", found[0], flush=True)
for step in sys.argv[1:]:
    what, name, *size = step.split(":")
    write(name, int(size[0]) << 20) if what == "write" else compare(name)
'

# writer NAME MODE STEP...: a pod that goes through the steps and ends. csi or sidecar.
writer() {
	local name=$1 mode=$2
	shift 2
	reader_template "$mode" 0 '{"spec": {"restartPolicy": "Never"}}' |
		as_pod "$name" written | jq --arg program "$CHECKPOINT" '
			.spec.containers[0].command = ["/usr/bin/python3.11", "-c", $program] + $ARGS.positional' --args "$@" | kn create -f -
}

ended() { kn get pod "$1" -o 'jsonpath={.status.phase}' | grep -xE 'Succeeded|Failed'; }

succeeded() { # POD
	wait_for 180 "pod $1 ends" ended "$1"
	kn logs "$1" -c demo
	[[ $(ended "$1") == Succeeded ]]
}

# The client of the ordinary node that serves the dataset.
client_uid() { kn get pod -l "release=$1,role=sluice-fuse" -o 'jsonpath={.items[*].metadata.uid}'; }

e2e_pods_write_checkpoints_that_others_read() {
	local client
	trap remove_readers EXIT
	dataset written s3://models/e2e-written/ s3-credentials '{"accessModes": ["ReadWriteMany"], "owner": {"uid": 65534, "gid": 65534, "user": "nobody", "group": "nogroup"}}'
	wait_for 60 "dataset written is bound" bound written
	[[ $(kn get pvc written -o 'jsonpath={.spec.accessModes[*]}') == ReadWriteMany ]]
	# The node's client is in use all the time, and hears of the other's file by a listing.
	pod keeps-the-client written
	wait_for 120 "the pod runs" running keeps-the-client
	client=$(client_uid written)
	writer writes-large csi write:large:100
	succeeded writes-large | grep -E "^WROTE \['large-[0-9a-f]{64}'\]$"
	writer reads-and-writes sidecar compare:large write:small:3
	succeeded reads-and-writes
	writer reads-both csi compare:large compare:small
	[[ $(succeeded reads-both | grep -c '^READ') == 2 ]]
	[[ -n $client && $(client_uid written) == "$client" ]]
	kn delete pod keeps-the-client --timeout=60s
	remove_readers
	# A claim of a dataset that does not ask for it stays as it was.
	[[ $(kn get pvc model -o 'jsonpath={.spec.accessModes[*]}') == ReadOnlyMany ]]
	remove_dataset written
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
