# shellcheck shell=bash
# The demo on Kubernetes: a cluster of our own or one that is reachable, images, S3 server, models, Sluice,
# and the pods that read. Each function is one step; all can be run again.

NS=sluice-demo
SYSTEM_NS=fluid-system
IMAGES=(sluice sluice-demo minio)

# Where things are for the cluster of our own; tests share it. It reaches no registry: its cache workers run
# what Debian packages.
own_cluster() {
	[[ -n $KUBECONFIG_FILE ]] || IMAGES=(sluice sluice-demo minio memcached)
	export CLUSTER_NAME=${CLUSTER_NAME:-sluice-up} CLUSTER_DIR=${CLUSTER_DIR:-$STATE/cluster} CLUSTER_BIN=$CACHE/bin
}
cluster() { "$ROOT/test/cluster/cluster" "$@"; }

# kubectl against whichever cluster the demo is in.
k() {
	if [[ -n $KUBECONFIG_FILE ]]; then
		"$KUBECTL" --kubeconfig "$KUBECONFIG_FILE" "$@"
	else
		cluster kubectl "$@"
	fi
}

# until_true SECONDS CMD...: polls CMD.
until_true() {
	local end=$((SECONDS + $1))
	shift
	until "$@" >/dev/null 2>&1; do
		((SECONDS < end)) || return 1
		sleep 0.3
	done
}

# ---------------------------------------------------------------- cluster and images

cluster_up() {
	cluster up
	cluster kubectl get node node-2 >/dev/null 2>&1 ||
		cluster add-node -l type=virtual-kubelet -t virtual-kubelet.io/provider=sluice:NoSchedule
	cluster kubectl wait --for=condition=Ready node --all --timeout=60s
}

reach_cluster() {
	local foreign
	k version
	recognise_earlier
	[[ $(k auth can-i '*' '*' --all-namespaces) == yes ]] || {
		echo "the kubeconfig's user may not install: it needs cluster-admin"
		return 1
	}
	foreign=$(foreign_objects)
	[[ -z $foreign ]] || {
		echo "$foreign"
		echo "these are in the cluster already and are not Sluice's: an installation of Fluid, it seems."
		echo "Nothing was changed. Use another cluster, or remove what is there first."
		return 1
	}
}

archive_of() { # IMAGE
	case $1 in
	sluice) "$ROOT/scripts/build-image" sluice "$BIN_DIR" ;;
	sluice-demo) "$ROOT/scripts/build-image" demo ;;
	*) "$ROOT/scripts/build-image" "$1" ;;
	esac
}

build_images() {
	local i
	for i in "${IMAGES[@]}"; do archive_of "$i"; done
}

# load_images: into every node of our cluster, or with the command that the user gave. What a cluster of
# ours has already is remembered beside its state.
load_images() {
	local i archive mark
	for i in "${IMAGES[@]}"; do
		archive=$(archive_of "$i")
		if [[ -n $KUBECONFIG_FILE ]]; then
			[[ -n $LOAD_CMD ]] || continue
			echo "loading $i"
			SLUICE_IMAGE=$PREFIX$i:dev bash -c "$LOAD_CMD \"\$1\"" load "$archive"
			continue
		fi
		mark=$CLUSTER_DIR/state/loaded-$i
		[[ $(cat "$mark" 2>/dev/null) == "$archive" ]] && continue
		echo "loading $i into the nodes"
		cluster load-image "$i:dev" "$archive"
		echo "$archive" >"$mark"
	done
}

# ---------------------------------------------------------------- Sluice

# More arguments of helm, such as --set.
CHART_VALUES=()

manifests() {
	local workers=()
	[[ -n $KUBECONFIG_FILE ]] || workers=(--set runtime.worker.image=memcached:dev)
	"$ROOT/scripts/render-manifests" --namespace "$SYSTEM_NS" --kube-version "$(server_version)" \
		--set "image.repository=${PREFIX}sluice" --set image.tag=dev "${workers[@]}" "${CHART_VALUES[@]}"
}

server_version() { k version -o json | jq -r .serverVersion.gitVersion; }

# A new image under the same name must be taken up by pods that run already.
restart_on_new_image() {
	local have want
	want=$(basename "$(archive_of sluice)" .tar)
	have=$(k -n "$SYSTEM_NS" get configmap sluice-image -o 'jsonpath={.data.archive}' 2>/dev/null || true)
	if [[ -n $have && $have != "$want" ]]; then
		k -n "$SYSTEM_NS" rollout restart deployment/fluid-webhook deployment/dataset-controller daemonset/csi-nodeplugin-fluid
		no_sidecar_ender || k -n "$SYSTEM_NS" rollout restart deployment/fluidapp-controller
	fi
	k -n "$SYSTEM_NS" create configmap sluice-image --from-literal="archive=$want" --dry-run=client -o yaml |
		k apply --server-side --force-conflicts -f -
}

# Documents of kubectl's JSON, one a line, lists taken apart.
each_object() { jq -c 'if .kind == "List" then .items[] else . end'; }
rendered_objects() { manifests | k create --dry-run=client -o json -f - | each_object; }

# What the cluster has of the names that an installation writes.
installed_objects() { rendered_objects | k get --ignore-not-found -o json -f - | each_object; }

# jq's words about an object. Sluice's own carry a label that nobody else gives. The first versions did not
# give it to resource definitions and to the demo's namespace: where such a one is installed, definitions
# that are not generated as Fluid's are its, and the namespace by the labels that it gave.
# shellcheck disable=SC2016 # the dollars are jq's
ABOUT='
	def name: "\(.kind) \(.metadata.name)";
	def labelled: .metadata.labels["app.kubernetes.io/name"] == "sluice";
	def of_first_version: $ENV.EARLIER_SLUICE == "yes" and (
		(.kind == "CustomResourceDefinition" and .spec.group == "data.fluid.io"
			and (.metadata.annotations // {} | has("controller-gen.kubebuilder.io/version") | not))
		or (.kind == "Namespace" and .metadata.name == "sluice-demo"
			and (.metadata.labels // {} | .["fluid.io/enable-injection"] == "true"
				and .["pod-security.kubernetes.io/enforce"] == "privileged")));
	def ours: labelled or of_first_version;
	def in($lines): name as $name | $lines | split("\n") | index($name) != null;
'

# recognise_earlier: whether some version of Sluice is installed; all have labelled their programs.
recognise_earlier() {
	local programs
	programs=$(k -n "$SYSTEM_NS" get deployments -o json | each_object |
		jq -r "$ABOUT"'select(labelled and .metadata.name == "dataset-controller") | name') || return
	export EARLIER_SLUICE=${programs:+yes}
}

# foreign_objects: what an installation would take over from somebody else, one a line.
foreign_objects() {
	local kept
	kept=$(kept_objects) || return
	{
		installed_objects &&
			k get customresourcedefinitions -o json | each_object | jq -c 'select(.spec.group == "data.fluid.io")' &&
			k -n "$SYSTEM_NS" get deployments,daemonsets -o json | each_object &&
			k get namespace "$NS" --ignore-not-found -o json
	} | jq -r --arg kept "$kept" "$ABOUT"'select((ours or in($kept)) | not) | name' | sort -u
}

# kept_objects: what stays as it is when it is there: the administrator's plugin profile, and a namespace
# that Sluice did not make.
kept_objects() {
	k get namespace "$SYSTEM_NS" --ignore-not-found -o json | jq -r "$ABOUT"'select(ours | not) | name' &&
		k -n "$SYSTEM_NS" get configmap webhook-plugins --ignore-not-found -o json | jq -r "$ABOUT"name
}

apply_sluice() {
	local kept
	kept=$(kept_objects)
	rendered_objects | jq -c --arg kept "$kept" "$ABOUT"'select(in($kept) | not)' |
		k apply --server-side --force-conflicts -f -
	# The node plugin mounts, so it is privileged.
	[[ $kept != *"Namespace $SYSTEM_NS"* ]] ||
		k label --overwrite namespace "$SYSTEM_NS" pod-security.kubernetes.io/enforce=privileged
}

install_sluice() {
	apply_sluice
	k wait --for=condition=Established --timeout=60s crd/datasets.data.fluid.io crd/sluiceruntimes.data.fluid.io
	restart_on_new_image
	k -n "$SYSTEM_NS" rollout status --timeout=180s deployment/dataset-controller
	k -n "$SYSTEM_NS" rollout status --timeout=180s daemonset/csi-nodeplugin-fluid
	k -n "$SYSTEM_NS" rollout status --timeout=180s deployment/fluid-webhook
	no_sidecar_ender || k -n "$SYSTEM_NS" rollout status --timeout=180s deployment/fluidapp-controller
	until_true 60 webhook_trusted || {
		echo "the webhook did not write its authority into its configuration"
		return 1
	}
}

# Clusters with native sidecars need none.
no_sidecar_ender() { [[ -z $(k -n "$SYSTEM_NS" get deployment fluidapp-controller --ignore-not-found -o name) ]]; }

# All entries carry the authority that the webhook made.
webhook_trusted() {
	k get mutatingwebhookconfiguration fluid-pod-admission-webhook -o json |
		jq -e 'all(.webhooks[]; (.clientConfig.caBundle // "" | length) > 100)'
}

# ---------------------------------------------------------------- S3 server and models

demo_yaml() { sed -e "s|@PREFIX@|$PREFIX|g" -e "s|@SIZE@|$SIZE|g" "$ROOT/manifests/demo/$1.yaml"; }
apply_demo() { demo_yaml "$1" | k -n "$NS" apply --server-side --force-conflicts -f -; }

start_s3() {
	k create namespace "$NS" --dry-run=client -o yaml | k apply --server-side -f -
	k label --overwrite namespace "$NS" app.kubernetes.io/name=sluice fluid.io/enable-injection=true \
		pod-security.kubernetes.io/enforce=privileged
	if ! k -n "$NS" get secret s3-credentials >/dev/null 2>&1; then
		# Through standard input: keys in arguments can be seen by every user of the machine.
		printf '{"apiVersion":"v1","kind":"Secret","metadata":{"name":"s3-credentials"},"stringData":{"accessKey":"%s","secretKey":"%s"}}' \
			"$(random_key 10)" "$(random_key 20)" | k -n "$NS" apply --server-side -f -
	fi
	apply_demo minio
	k -n "$NS" rollout status --timeout=120s deployment/minio
}

random_key() { od -An -tx1 -N"$1" /dev/urandom | tr -d ' \n'; }

# run_job NAME SECONDS: applies manifests/demo/NAME.yaml anew and follows the Job to its end.
run_job() {
	local job state said='' now stuck=0 end=$((SECONDS + $2))
	job=$(demo_yaml "$1" | awk '/^metadata:/ {m = 1} m && $1 == "name:" {print $2; exit}')
	k -n "$NS" delete job "$job" --ignore-not-found --cascade=foreground --timeout=120s
	apply_demo "$1"
	while :; do
		state=$(k -n "$NS" get job "$job" -o 'jsonpath={range .status.conditions[?(@.status=="True")]}{.type} {end}')
		case $state in
		*Failed*)
			echo "Job $job failed"
			break
			;;
		*Complete*)
			k -n "$NS" logs "job/$job" -c demo
			return 0
			;;
		esac
		if ((SECONDS >= end)); then
			echo "Job $job did not end within $2 s"
			break
		fi
		now=$(job_progress "$job")
		[[ -z $now || $now == "$said" ]] || echo "$now"
		said=$now
		# What a container waits for rarely heals when it is one of these.
		[[ $now =~ (CreateContainerConfigError|CreateContainerError|ImagePullBackOff|ErrImagePull|InvalidImageName) ]] || stuck=$SECONDS
		if ((SECONDS - stuck > 30 && stuck > 0)); then
			echo "Job $job cannot start: $now"
			break
		fi
		sleep 1
	done
	k -n "$NS" describe pod -l "job-name=$job" | sed -n '/^Events:/,$p' | tail -n 12
	k -n "$NS" logs "job/$job" -c demo --tail=5 || true
	return 1
}

# One line: what the program said last, or what its pod waits for and its last warning.
job_progress() {
	local said pod
	said=$(k -n "$NS" logs "job/$1" -c demo --tail=1 2>/dev/null | grep -v '^RESULT' | cut -c1-80 || true)
	if [[ -n $said ]]; then
		echo "$said"
		return
	fi
	pod=$(k -n "$NS" get pod -l "job-name=$1" -o json)
	jq -r '.items[0].status // {} |
		[((.initContainerStatuses // []) + (.containerStatuses // []))[] | .state.waiting // empty | .reason] | unique | join(", ")' <<<"$pod"
	k -n "$NS" get events --sort-by=.lastTimestamp -o json \
		--field-selector "type=Warning,involvedObject.name=$(jq -r '.items[0].metadata.name // "none"' <<<"$pod")" |
		jq -r '.items[-1] // empty | "\(.reason): \(.message)"' | cut -c1-300
}

# result_of JOB: what its program reported, as JSON.
result_of() { k -n "$NS" logs "job/$1" -c demo | sed -n 's/^RESULT //p' | tail -n 1; }

seed() {
	run_job seed 300
	result_of seed | jq .sums >"$LOG_DIR/sums.json"
	jq -e 'length > 0' "$LOG_DIR/sums.json"
	k -n "$NS" create configmap model-sums --from-file=sums.json="$LOG_DIR/sums.json" --dry-run=client -o yaml |
		k apply --server-side --force-conflicts -f -
}

# ---------------------------------------------------------------- Dataset and pods

bind_dataset() {
	apply_demo dataset
	if ! until_true 90 dataset_bound; then
		echo "Dataset model is not bound:"
		k -n "$NS" get dataset model -o 'jsonpath={.status}' || true
		return 1
	fi
	k -n "$NS" wait --for=jsonpath='{.status.phase}'=Bound pvc/model --timeout=60s
}

dataset_bound() { [[ $(k -n "$NS" get dataset model -o 'jsonpath={.status.phase}') == Bound ]]; }

read_straight() { run_job stream 300; }
read_ordinary() { run_job read-ordinary 600; }
read_serverless() { run_job "$SERVERLESS_JOB" 600; }

# The pod's claim must have become the sidecar's mount: no volume of the claim, one native sidecar.
sidecar_injected() {
	k -n "$NS" get pod -l job-name=read-serverless -o json | jq -e '
		.items[0] | (.spec.volumes | all(has("persistentVolumeClaim") | not))
		and (.spec.initContainers // [] | any(.restartPolicy == "Always" and (.name | startswith("fluid-fuse"))))
		and .metadata.labels["done.sidecar.fluid.io/inject"] == "true"'
}

choose_serverless() {
	SERVERLESS_JOB=read-serverless
	if [[ -z $(k get nodes -l type=virtual-kubelet -o name) ]]; then
		SERVERLESS_JOB=read-sidecar
		note "no node is labelled type=virtual-kubelet: the second pod asks for its sidecar by label"
	fi
}

# Seconds from a pod's creation to the start of its reader.
start_seconds() { # JOB
	k -n "$NS" get pod -l "job-name=$1" -o json | jq -r '.items[0] |
		((.status.containerStatuses[] | select(.name == "demo") | .state.terminated.startedAt | fromdate)
		- (.metadata.creationTimestamp | fromdate))'
}

node_of() { k -n "$NS" get pod -l "job-name=$1" -o 'jsonpath={.items[0].spec.nodeName}'; }

# ---------------------------------------------------------------- the end

results_table() {
	local stream ordinary serverless rate='(.bytes / .seconds / 1e6 | floor)' again='(.bytes / .again_seconds / 1e6 | floor)'
	stream=$(result_of stream) ordinary=$(result_of read-ordinary) serverless=$(result_of read-serverless)
	printf '\n%-44s %7s %8s %8s %12s\n' "$(jq -rn --argjson r "$stream" '"\($r.bytes / 1e6 | floor) MB in \($r.files) files, one reader"')" \
		"start" "seconds" "MB/s" "again MB/s"
	printf '%-44s %5s s %8s %8s %12s\n' "straight from S3" "$(start_seconds stream)" \
		"$(jq -r .seconds <<<"$stream")" "$(jq -r "$rate" <<<"$stream")" "-"
	printf '%-44s %5s s %8s %8s %12s\n' "first pod, $(node_of read-ordinary), through CSI" "$(start_seconds read-ordinary)" \
		"$(jq -r .seconds <<<"$ordinary")" "$(jq -r "$rate" <<<"$ordinary")" "$(jq -r "$again" <<<"$ordinary")"
	printf '%-44s %5s s %8s %8s %12s\n' "second pod, $(node_of read-serverless), injected sidecar" "$(start_seconds read-serverless)" \
		"$(jq -r .seconds <<<"$serverless")" "$(jq -r "$rate" <<<"$serverless")" "$(jq -r "$again" <<<"$serverless")"
	jq -rn --argjson a "$ordinary" --argjson b "$serverless" '
		"\nBoth pods found every SHA-256 right and loaded \($a.tensors) tensors (\($a.parameters / 1e6 | floor) million numbers) with safetensors, in \($a.load_seconds) s and \($b.load_seconds) s."'
}

next_commands() {
	local kc="./sluice-up kubectl"
	[[ -z $KUBECONFIG_FILE ]] || kc="kubectl --kubeconfig $KUBECONFIG_FILE"
	cat <<-EOF

	What to try next:
	  $kc -n $NS get dataset,sluiceruntime,pvc,pods -o wide
	  $kc -n $NS get pod -l job-name=read-serverless -o yaml    # with the sidecar that was added
	  $kc -n $NS logs daemonset/model-fuse                      # the client behind the first pod's mount
	  $kc -n $NS describe dataset model
	  ./sluice-up --down${KUBECONFIG_FILE:+ --kubeconfig $KUBECONFIG_FILE}
	EOF
}

# What helps to see why a pod did not do its work; into the log of the step that failed.
diagnose() {
	local out=$LOG_DIR/diagnosis.txt
	{
		k get nodes -o wide
		k get pods -A -o wide
		echo "--- warnings"
		k get events -A --field-selector type=Warning --sort-by=.lastTimestamp
		echo "--- datasets"
		k -n "$NS" get dataset,sluiceruntime,pvc -o yaml
		k -n "$NS" describe pods
		for w in deployment/fluid-webhook deployment/dataset-controller daemonset/csi-nodeplugin-fluid; do
			echo "--- $w"
			k -n "$SYSTEM_NS" logs "$w" --all-containers --tail=60
			k -n "$SYSTEM_NS" logs "$w" --all-containers --tail=30 --previous
		done
		echo "--- FUSE clients"
		k -n "$NS" logs daemonset/model-fuse --tail=60
		k -n "$NS" logs -l done.sidecar.fluid.io/inject=true --all-containers --tail=60
	} >"$out" 2>&1 || true
	{
		echo
		echo "Warnings of the last minutes (all, with the logs of every component: $out):"
		sed -n '/^--- warnings/,/^--- datasets/p' "$out" | grep -v '^---' | tail -n 8 | cut -c1-250
	} >&2
}

# No node plugin holds a mount: each tells in its metrics.
nothing_mounted() {
	local pod
	for pod in $(k -n "$SYSTEM_NS" get pods -l app=csi-nodeplugin-fluid -o 'jsonpath={.items[*].metadata.name}'); do
		[[ $(k get --raw "/api/v1/namespaces/$SYSTEM_NS/pods/$pod:8080/proxy/metrics" | awk '$1 == "sluice_csi_mounts" {print $2}') == 0 ]] || return 1
	done
}

# The objects of Sluice's resource definitions, whoever made them.
custom_objects() {
	local plural plurals
	plurals=$(k get customresourcedefinitions -o json | each_object | jq -r "$ABOUT"'select(ours) | .metadata.name') || return
	for plural in $plurals; do k get "$plural" -A -o name || return; done
}

# The first versions' definitions get the label of today's: once the controller has gone, nothing else says
# whose they are.
label_definitions() {
	local name names
	names=$(k get customresourcedefinitions -o json | each_object |
		jq -r "$ABOUT"'select(ours and (labelled | not)) | .metadata.name') || return
	for name in $names; do
		k label --overwrite customresourcedefinitions "$name" app.kubernetes.io/name=sluice || return
	done
}

# Removes the demo with everything that uses its datasets.
remove_demo() {
	k -n "$NS" delete jobs --all --ignore-not-found --cascade=foreground --timeout=120s || true
	k -n "$NS" delete datasets.data.fluid.io,sluiceruntimes.data.fluid.io --all --ignore-not-found --timeout=120s || true
	until_true 60 nothing_mounted || echo "some node plugin still holds mounts"
	k delete namespace "$NS" --ignore-not-found --timeout=180s
}

# Removes what an installation into a cluster of somebody else's made, and nothing else.
uninstall() {
	local demo ours left
	# What cannot be looked at is not taken for absent: a definition takes all its objects along.
	recognise_earlier || return
	demo=$(k get namespace "$NS" --ignore-not-found -o json | jq "$ABOUT"'select(ours)') || return
	ours=$(installed_objects | jq -c "$ABOUT"'select(ours)') || return
	custom_objects >/dev/null || return
	[[ -z $demo ]] || remove_demo
	[[ -n $ours ]] || {
		echo "nothing of Sluice is installed"
		return 0
	}
	left=$(custom_objects) || return
	label_definitions || return
	if [[ -n $left ]]; then
		echo "$left"
		echo "these exist: the resource definitions stay"
		ours=$(jq -c 'select(.kind != "CustomResourceDefinition")' <<<"$ours")
	fi
	k delete --ignore-not-found --timeout=180s -f - <<<"$ours"
	# What the programs wrote themselves, in a namespace that stays.
	k -n "$SYSTEM_NS" delete --ignore-not-found configmap/sluice-image secret/fluid-webhook-certs lease/dataset.data.fluid.io lease/fluidapp.data.fluid.io
}
