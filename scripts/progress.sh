# shellcheck shell=bash
# Long work shown as steps: one line each, never a silent minute, the output of what runs in a file that is
# named when the step fails. The caller sets LOG_DIR, FAILURE_ADVICE (an array of lines) and FAILURE_HOOK (a command).

STEP_TEXT='' STEP_LOG='' STEP_PID='' FAILURE_ADVICE=() FAILURE_HOOK=:

clock() { printf '%d:%02d' $((SECONDS / 60)) $((SECONDS % 60)); }
note() { printf '[%5s] %s\n' "$(clock)" "$*"; }

# step NAME TEXT CMD...: runs CMD with its output in $LOG_DIR/NAME.log.
step() {
	local t0=$SECONDS beat=0 rc=0 tail
	STEP_TEXT=$2 STEP_LOG=$LOG_DIR/$1.log
	shift 2
	mkdir -p "$LOG_DIR"
	: >"$STEP_LOG"
	set -m # a process group of its own, to be ended as one
	(set +m; exec 8>&-; "$@") </dev/null >>"$STEP_LOG" 2>&1 & # 8: the lock is ours alone
	STEP_PID=$!
	set +m
	[[ ! -t 1 ]] || printf '[%5s] %s …' "$(clock)" "$STEP_TEXT"
	while kill -0 "$STEP_PID" 2>/dev/null; do
		sleep 0.2
		if [[ -t 1 ]]; then
			printf '\r[%5s] %s … %d s\e[K' "$(clock)" "$STEP_TEXT" $((SECONDS - t0))
		elif ((SECONDS - t0 >= beat + 20)); then
			beat=$((SECONDS - t0))
			tail=$(tail -n 1 "$STEP_LOG" | tr -d '\033' | tr '\r\t' '  ' | cut -c1-90)
			note "$STEP_TEXT … ${beat} s: $tail"
		fi
	done
	wait "$STEP_PID" || rc=$?
	STEP_PID=
	[[ ! -t 1 ]] || printf '\r\e[K'
	((rc == 0)) || return "$rc"
	note "$STEP_TEXT ($((SECONDS - t0)) s)"
	STEP_TEXT='' STEP_LOG=''
}

# An EXIT trap: says what failed, where its output is, and what to do.
report_failure() {
	local rc=$?
	[[ -z $STEP_PID ]] || { kill -TERM -- "-$STEP_PID" 2>/dev/null || true; wait "$STEP_PID" 2>/dev/null || true; }
	if ((rc != 0)) && [[ -n $STEP_TEXT ]]; then
		[[ ! -t 1 ]] || printf '\n'
		{
			printf '\nFailed after %s: %s\n' "$(clock)" "$STEP_TEXT"
			if [[ -s $STEP_LOG ]]; then
				printf 'The last lines of its output:\n'
				tail -n "${FAILURE_LINES:-15}" "$STEP_LOG" | cut -c1-300 | sed 's/^/    /'
			fi
			printf 'All of it: %s\n' "$STEP_LOG"
			"$FAILURE_HOOK"
			((${#FAILURE_ADVICE[@]} == 0)) || printf '%s\n' "${FAILURE_ADVICE[@]}"
		} >&2
	fi
	exit "$rc"
}

watch_failures() {
	trap report_failure EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM HUP
}
