#!/usr/bin/env bash
# Installs what is needed, builds, and runs every test.
#   ./test.sh                  everything
#   ./test.sh --filter NAME    only the tests whose name contains NAME, and the parts they need
#   ./test.sh --list           names of the end-to-end cases
# Parts: unit and integration tests under ctest, the end-to-end cases on a real cluster (e2e,
# test/e2e/run), the unit tests under the sanitizers, a program as one test (asan, tsan), and half a
# minute of each fuzz target (fuzz). Ends with "N passed, N failed".
set -euo pipefail
HERE=$(cd "$(dirname "$(readlink -f "$0")")" && pwd)
# shellcheck source=scripts/lib.sh
. "$HERE/scripts/lib.sh"
# shellcheck source=scripts/progress.sh
. "$ROOT/scripts/progress.sh"

FILTER=
case ${1:-} in
'') ;;
--filter) FILTER=${2:?--filter needs a name} ;;
--list) exec "$ROOT/test/e2e/run" --list ;;
*) sed -n '2,9s/^# \{0,1\}//p' "$0"; [[ $1 == --help ]] || exit 2; exit ;;
esac
need_root ""

LOG_DIR=${SLUICE_TEST_LOGS:-$ROOT/build/logs}
FAILURE_LINES=40
PASSED=0 FAILURES=() # of the latter names and reasons, which are said again at the end
cd "$ROOT"

# reasons JUNIT_FILE TEST: which cases of a program failed, where, and what a sanitizer found.
reasons() {
	awk -v name="name=\"$2\"" '/<testcase / {ours = index($0, name)} ours' "$1" |
		grep -o -e '\[  FAILED  \] [A-Za-z0-9_/]*\.[A-Za-z0-9_/]*' -e '[A-Za-z0-9_]*\.cc:[0-9]*: Failure' -e 'SUMMARY: [A-Za-z]*Sanitizer: .*' |
		sed 's/^\[  FAILED  \] //' | awk '!seen[$0]++' | head -n 8 | paste -sd' ' || true
}

# count JUNIT_FILE PART: adds what ctest found.
count() {
	local failed passed name
	failed=$(grep -c '<testcase .*status="fail"' "$1" || true)
	passed=$(grep -c '<testcase .*status="run"' "$1" || true)
	PASSED=$((PASSED + passed))
	note "  $passed passed, $failed failed, $(grep -c '<testcase .*status="\(notrun\|disabled\)"' "$1" || true) skipped"
	while read -r name; do
		note "    FAILED $name"
		FAILURES+=("$name ($2) $(reasons "$1" "$name")")
	done < <(grep -o '<testcase [^>]*status="fail"' "$1" | sed 's/.*name="\([^"]*\)".*/\1/')
	sed -n 's/<testcase name="\([^"]*\)".*status="\(notrun\|disabled\)".*/    skipped \1/p' "$1" | sed 's/^\s*/    /' || true
}

# run_ctest PART TEXT CTEST_ARGS...
run_ctest() {
	local part=$1 text=$2
	shift 2
	rm -f "$LOG_DIR/$part.xml"
	step "$part" "$text" ctest --output-on-failure --output-junit "$LOG_DIR/$part.xml" "$@" || show_failures
	if [[ -s $LOG_DIR/$part.xml ]]; then
		count "$LOG_DIR/$part.xml" "$part"
	else
		FAILURES+=("ctest itself ($part)")
		note "  FAILED: ctest itself; see $LOG_DIR/$part.log"
	fi
}

# The output of tests that failed, without that of those that passed.
show_failures() {
	note "$STEP_TEXT: some failed; all of it in $STEP_LOG"
	grep -v -e ' Passed ' -e '^ *Start ' "$STEP_LOG" | tail -n 120 | cut -c1-400
	STEP_TEXT=''
}

configure_and_build() { # PRESET TARGET
	export CMAKE_COLOR_DIAGNOSTICS=OFF
	cmake --preset "$1" && cmake --build "build/$1" --target "$2"
}

# The preset's unit tests, built and run with its sanitizers.
sanitized() { # PRESET
	if ! step "build-$1" "unit tests built with $1" configure_and_build "$1" unit_tests; then
		FAILURES+=("the build ($1)")
		show_failures
		return
	fi
	run_ctest "$1" "unit tests with $1" --test-dir "build/$1" -L '^unit$' -j "$(nproc)"
}

# Runs of fixed length: two at a time give each a core on a small machine.
fuzzed() {
	if ! step build-fuzz "fuzz targets built" configure_and_build fuzz fuzz; then
		FAILURES+=("the build (fuzz)")
		show_failures
		return
	fi
	run_ctest fuzz "30 s of each fuzz target" --test-dir build/fuzz -L '^fuzz$' -j "$(nproc)" "${CTEST_FILTER[@]}"
}

watch_failures
export CTEST_OUTPUT_ON_FAILURE=1 TMPDIR=${TMPDIR:-/tmp}
step packages "packages" scripts/install-packages
case $FILTER in
asan* | tsan*) ;;
*)
	step build-release "release built" configure_and_build release all
	step tools "Kubernetes, MinIO and the other peers built from their modules" scripts/build-tools
	;;
esac

CTEST_FILTER=()
if [[ -n $FILTER ]]; then
	# Names of tests are CamelCase: "csi-sanity" finds CsiSanity.
	CTEST_FILTER=(-R "$(sed -e 's/[A-Za-z]/[\U&\L&]/g' -e 's/[-_]/[-_]?/g' <<<"${FILTER//./\\.}")" --no-tests=ignore)
	case $FILTER in
	asan* | tsan* | e2e*) CTEST_FILTER=() ;;
	unit | integration) CTEST_FILTER=(-L "^$FILTER$") ;;
	esac
fi
case $FILTER in
asan* | tsan* | e2e*) ;;
*)
	run_ctest quick "tests without peers" --test-dir build/release -LE integration -j "$(nproc)" "${CTEST_FILTER[@]}"
	run_ctest integration "tests with real peers" --test-dir build/release -L integration "${CTEST_FILTER[@]}"
	;;
esac

mapfile -t CASES < <(test/e2e/run --list | grep -F -- "${FILTER#e2e}" || true)
if ((${#CASES[@]} > 0)); then
	note "end to end, on a real cluster:"
	rm -f "$LOG_DIR"/e2e.{passed,failed}
	E2E_RESULTS=$LOG_DIR/e2e E2E_LOGS=$LOG_DIR/e2e test/e2e/run "${CASES[@]}" || true
	if [[ -e $LOG_DIR/e2e.passed ]]; then
		PASSED=$((PASSED + $(wc -l <"$LOG_DIR/e2e.passed")))
		mapfile -t -O "${#FAILURES[@]}" FAILURES <"$LOG_DIR/e2e.failed"
	else
		FAILURES+=("test/e2e/run itself")
	fi
fi

# Last: they compile nearly everything anew.
case $FILTER in '' | asan*) sanitized asan-ubsan ;; esac
case $FILTER in '' | tsan*) sanitized tsan ;; esac
case $FILTER in '' | fuzz*) fuzzed ;; esac

note "done"
((${#FAILURES[@]} == 0)) || printf 'FAILED  %s\n' "${FAILURES[@]}"
echo "$PASSED passed, ${#FAILURES[@]} failed"
((${#FAILURES[@]} == 0 && PASSED > 0))
