# shellcheck shell=bash
# The quick look without Kubernetes: an S3 server, a mount of a bucket, the speed of both, and a pod sent
# through the real webhook. What it starts stays up, to be tried; standalone_down ends it.

# shellcheck disable=SC2153 # STATE is the caller's
SA=$STATE/standalone
MNT=$SA/mnt
PY=/usr/bin/python3
# What the CLI notes of its mounts stays in the demo's own folder.
sluice() { SLUICE_RUN_DIR=$SA/run "$BIN_DIR/sluice" "$@"; }
demo_python() { PYTHONPATH=$PY_DIR PYTHONDONTWRITEBYTECODE=1 "$PY" "$ROOT/test/demo/demo.py" "$@"; }

# Start time of a process, to tell it from a later one with the same pid.
start_of() { local s; s=$(cat "/proc/$1/stat" 2>/dev/null) || return 1; s=${s##*) }; cut -d' ' -f20 <<<"$s"; }

# background NAME CMD...: starts CMD and remembers it.
background() {
	local name=$1
	shift
	"$@" >"$LOG_DIR/$name-server.log" 2>&1 </dev/null 8>&- &
	echo "$! $(start_of $!)" >"$SA/$name.pid"
}

alive() { # NAME
	local pid start
	read -r pid start 2>/dev/null <"$SA/$1.pid" && [[ -n $start && $(start_of "$pid") == "$start" ]]
}

stop() { # NAME
	local pid
	alive "$1" || { rm -f "$SA/$1.pid"; return 0; }
	read -r pid _ <"$SA/$1.pid"
	kill "$pid" 2>/dev/null || true
	until_true 10 eval "! alive $1" || kill -KILL "$pid" 2>/dev/null || true
	rm -f "$SA/$1.pid"
}

free_port() { "$PY" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

# ---------------------------------------------------------------- steps

# MinIO when it was compiled before; else a small server that compiles in seconds.
choose_server() {
	local state
	state=$("$ROOT/scripts/build-tools" --list minio)
	SERVER=gofakes3
	[[ $state != "minio fresh" ]] || SERVER=minio
}

python_ready() {
	[[ -d $PY_DIR ]] || { rm -rf "$PY_DIR.part"; "$ROOT/scripts/python-packages" demo "$PY_DIR.part" && mv "$PY_DIR.part" "$PY_DIR"; }
	[[ -d $SA/model ]] || { "$ROOT/scripts/python-packages" model "$SA/model.part" && mv "$SA/model.part" "$SA/model"; }
}

# Compilers and downloads wait for different things: side by side they are done sooner.
prepare() {
	"$ROOT/scripts/build-tools" "$SERVER" &
	python_ready &
	build_sluice sluice sluice-fuse sluice-webhook &
	while [[ -n $(jobs -p) ]]; do
		# The first failure ends the others, so that its cause stands last in the log.
		wait -n || { trap '' TERM; kill 0; return 1; }
	done
}

serve_s3() {
	local port
	mkdir -p "$SA/data" "$SA/keys" "$SA/run"
	chmod 700 "$SA/keys" "$SA/run"
	if alive s3; then return; fi
	port=${SLUICE_S3_PORT:-$(free_port)}
	if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
		echo "port $port of 127.0.0.1 is in use: set SLUICE_S3_PORT to another, or leave it unset to have one chosen"
		return 1
	fi
	[[ -s $SA/keys/accessKey ]] || { random_key 10 >"$SA/keys/accessKey"; random_key 20 >"$SA/keys/secretKey"; }
	echo "http://127.0.0.1:$port" >"$SA/endpoint"
	if [[ $SERVER == minio ]]; then
		MINIO_ROOT_USER_FILE=$SA/keys/accessKey MINIO_ROOT_PASSWORD_FILE=$SA/keys/secretKey MINIO_CI_CD=1 MINIO_BROWSER=off \
			MINIO_UPDATE=off HOME=$SA background s3 "$CACHE/bin/minio" server --address "127.0.0.1:$port" "$SA/data"
	else
		background s3 "$CACHE/bin/gofakes3" -host "127.0.0.1:$port" -backend fs -fs.path "$SA/data" -fs.create
	fi
	until_true 60 curl -s -m 2 -o /dev/null "http://127.0.0.1:$port/" || {
		echo "the S3 server did not answer on port $port:"
		tail -n 5 "$LOG_DIR/s3-server.log"
		return 1
	}
}

s3_arguments() { printf '%s\n' --endpoint "$(<"$SA/endpoint")" --bucket models --prefix demo/ --credentials "$SA/keys"; }

seed_standalone() {
	local args
	mapfile -t args < <(s3_arguments)
	demo_python seed "${args[@]}" --model "$SA/model" --size "$SIZE" | tee "$SA/seed.out"
	sed -n 's/^RESULT //p' "$SA/seed.out" | jq .sums >"$SA/sums.json"
}

stream_standalone() {
	local args
	mapfile -t args < <(s3_arguments)
	demo_python stream "${args[@]}" --sums "$SA/sums.json" | tee "$SA/stream.out"
}

mount_standalone() {
	unmount_standalone
	rm -rf "$SA/cache"
	mkdir -p "$MNT" "$SA/cache"
	AWS_ACCESS_KEY_ID=$(<"$SA/keys/accessKey") AWS_SECRET_ACCESS_KEY=$(<"$SA/keys/secretKey") \
		sluice mount s3://models/demo/ "$MNT" --endpoint "$(<"$SA/endpoint")" --region us-east-1 --path-style \
		--cache-dir "$SA/cache" --cache-size 4Gi
	ls -lR "$MNT"
}

read_standalone() { demo_python verify "$MNT" --sums "$SA/sums.json" | tee "$SA/verify.out"; }

admit_pod() {
	local port metrics
	port=$(free_port) metrics=$(free_port)
	stop webhook
	mkdir -p "$SA/certs"
	FUSE_SIDECAR_INJECTION_MODE=native-sidecar background webhook "$BIN_DIR/sluice-webhook" start --state "$ROOT/test/demo/objects.json" --self-signed \
		--webhook-port "$port" --metrics-addr "127.0.0.1:$metrics" --webhook-cert-dir "$SA/certs"
	until_true 60 curl -fs -m 2 "http://127.0.0.1:$metrics/readyz"
	admission_review sluice-demo <"$ROOT/test/demo/pod.json" |
		curl -sS --fail-with-body --cacert "$SA/certs/ca-cert.pem" -H 'Content-Type: application/json' --data-binary @- \
			"https://localhost:$port/mutate-fluid-io-v1alpha1-schedulepod" | tee "$SA/answer.json"
	stop webhook
	jq -e '.response.allowed and (.response.patch | length > 0)' "$SA/answer.json"
	jq -r '.response.patch | @base64d | fromjson' "$SA/answer.json" >"$SA/patch.json"
	jq -e 'tostring | contains("fluid-fuse-0")' "$SA/patch.json"
}

standalone_table() {
	local stream verify
	stream=$(sed -n 's/^RESULT //p' "$SA/stream.out") verify=$(sed -n 's/^RESULT //p' "$SA/verify.out")
	jq -rn --argjson s "$stream" --argjson v "$verify" --arg server "$SERVER" '
		def row($a; $b; $c): "\($a + " " * (44 - ($a | length)))\(" " * (9 - ($b | tostring | length)))\($b)\(" " * (9 - ($c | tostring | length)))\($c)";
		def rate($b; $t): $b / $t / 1e6 | floor;
		"", row("\($s.bytes / 1e6 | floor) MB in \($s.files) files, one reader"; "seconds"; "MB/s"),
		row("straight from S3 (\($server))"; $s.seconds; rate($s.bytes; $s.seconds)),
		row("through the mount, first read"; $v.seconds; rate($v.bytes; $v.seconds)),
		row("through the mount, second read"; $v.again_seconds; rate($v.bytes; $v.again_seconds)),
		"", "Through the mount every SHA-256 is right; safetensors loaded \($v.tensors) tensors in \($v.load_seconds) s."'
	printf '\nA pod bound for a serverless node, sent through the webhook, comes back with:\n'
	jq -r '.[] | select(.op != "test") | "  \(.op) \(.path) \(.value | if type == "array" then map(objects | .name // empty) | join(", ")
		elif type == "object" then .name // (keys | join(", ")) else . // "" | tostring end)"' "$SA/patch.json" | cut -c1-110
}

standalone_next() {
	cat <<-EOF

	What to try next:
	  export SLUICE_RUN_DIR=$SA/run PATH=$BIN_DIR:\$PATH
	  ls -l $MNT/all-minilm-l6-v2
	  sluice status
	  sluice umount $MNT
	  jq . $SA/patch.json            # what the webhook answered
	  ./sluice-up                    # the same with Kubernetes
	  ./sluice-up --down
	EOF
}

unmount_standalone() {
	[[ ! -x $BIN_DIR/sluice ]] || sluice umount "$MNT" 2>/dev/null || true
	! mountpoint -q "$MNT" 2>/dev/null || umount -l "$MNT"
}

standalone_down() {
	[[ -d $SA ]] || return 0
	unmount_standalone
	stop webhook
	stop s3
}

standalone_demo() {
	PY_DIR=$CACHE/python-$(sha256sum <"$ROOT/test/demo/requirements.txt" | cut -c1-16)
	((SIZE != 2147483648)) || SIZE=1073741824
	mkdir -p "$SA" "$LOG_DIR"
	step packages "packages" "$ROOT/scripts/install-packages"
	choose_server
	step build "Sluice and the S3 server ($SERVER) built, a real model unpacked" prepare
	step s3 "S3 server is up" serve_s3
	step seed "models are in the bucket" seed_standalone
	step stream "read straight from S3" stream_standalone
	step mount "bucket mounted" mount_standalone
	step read "read through the mount, sums compared, weights loaded" read_standalone
	step webhook "a pod sent through the webhook" admit_pod
	standalone_table
	standalone_next
}
