# shellcheck shell=bash
# shellcheck disable=SC2016 # the dollars are jq's
# The part of kubectl that the scripts use, as a function over the objects in the JSON file $FAKE_CLUSTER.

declare -A KIND_OF=(
	[customresourcedefinitions]=CustomResourceDefinition [deployments]=Deployment [daemonsets]=DaemonSet [jobs]=Job
	[namespace]=Namespace [configmap]=ConfigMap [secret]=Secret [lease]=Lease
	[datasets.data.fluid.io]=Dataset [sluiceruntimes.data.fluid.io]=SluiceRuntime
)

# change ARG... FILTER: the cluster becomes what jq makes of it.
change() { jq "$@" <"$FAKE_CLUSTER" >"$FAKE_CLUSTER.new" && mv "$FAKE_CLUSTER.new" "$FAKE_CLUSTER"; }

# wanted FILE WORD...: what standard input, TYPE/NAME..., or TYPE[,TYPE] [NAME] mean, as [{kind, name}].
wanted() {
	local word type
	[[ -z $1 ]] || {
		jq -cs 'map({kind, name: .metadata.name})'
		return
	}
	shift
	if [[ $1 == */* ]]; then
		for word; do printf '{"kind": "%s", "name": "%s"}' "${KIND_OF[${word%/*}]}" "${word#*/}"; done
	else
		for type in ${1//,/ }; do printf '{"kind": "%s", "name": "%s"}' "${KIND_OF[$type]}" "${2:-}"; done
	fi | jq -cs .
}

k() { # VERB WORD... [-n NS] [-o FORMAT] [-f -]
	local verb words=() ns='' out='' file='' want
	while (($#)); do
		case $1 in
		-n) ns=$2 && shift ;;
		-o) out=$2 && shift ;;
		-f) file=$2 && shift ;;
		-*) ;;
		*) words+=("$1") ;;
		esac
		shift
	done
	verb=${words[0]} words=("${words[@]:1}")
	local chosen='def chosen: . as $it | any($want[]; .kind == $it.kind and (.name | . == "" or . == $it.metadata.name))
		and ($ns == "" or ($it.metadata.namespace // $ns) == $ns);'
	case $verb in
	version) ;;
	auth) echo yes ;;
	get)
		want=$(wanted "$file" "${words[@]}")
		jq -r --arg ns "$ns" --arg out "$out" --argjson want "$want" --arg one "$file${words[1]:-}" "$chosen"'
			map(select(chosen)) | if $out == "name" then .[] | "\(.kind | ascii_downcase)/\(.metadata.name)"
			elif $one == "" then {kind: "List", items: .} else .[] end' "$FAKE_CLUSTER"
		;;
	apply)
		change --argjson new "$(jq -cs .)" 'def id: [.kind, .metadata.namespace, .metadata.name];
			reduce $new[] as $object (.; (map(select(id == ($object | id)).metadata.labels) | first // {}) as $labels
				| map(select(id != ($object | id))) + [$object | .metadata.labels = $labels + .metadata.labels])'
		;;
	label)
		change --arg kind "${KIND_OF[${words[0]}]}" --arg name "${words[1]}" '
			(.[] | select(.kind == $kind and .metadata.name == $name).metadata.labels) +=
			([$ARGS.positional[] | capture("(?<key>[^=]+)=(?<value>.*)")] | from_entries)' --args "${words[@]:2}"
		;;
	delete)
		want=$(wanted "$file" "${words[@]}")
		change --arg ns "$ns" --argjson want "$want" "$chosen"'
			(map(select(.kind == "Namespace" and chosen).metadata.name)) as $gone
			| map(select((chosen or (.metadata.namespace | IN($gone[]))) | not))'
		;;
	*)
		echo "fake kubectl: unknown verb $verb" >&2
		return 1
		;;
	esac
}
