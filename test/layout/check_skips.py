"""Refuses tests whose failure CTest would take for a skip.

A SKIP_REGULAR_EXPRESSION outweighs the exit status, and FAIL_REGULAR_EXPRESSION too: where one of several tests in a
program skips, the failure of another would be lost. So only entries that run one test, by its full name, may have it;
gtest_discover_tests makes such ones.

Usage: check_skips.py CTEST BUILD_DIRECTORY
"""

import json
import subprocess
import sys


def runs_one_test(test):
    # CTest tells no command of a program that is not built.
    if "command" not in test:
        return True
    return any(a.startswith("--gtest_filter=") and not set(a) & set("*?:") for a in test.get("command", []))


def names_at_risk(tests):
    for test in tests:
        properties = {p["name"] for p in test.get("properties", [])}
        if "SKIP_REGULAR_EXPRESSION" in properties and not runs_one_test(test):
            yield test["name"]


def main():
    ctest, build = sys.argv[1:]
    shown = subprocess.run([ctest, "--show-only=json-v1"], cwd=build, check=True, stdout=subprocess.PIPE).stdout
    tests = json.loads(shown)["tests"]
    if not tests:
        sys.exit("there are no tests to look at")
    at_risk = sorted(names_at_risk(tests))
    for name in at_risk:
        print(f"{name}: has SKIP_REGULAR_EXPRESSION and runs more than one test")
    sys.exit(1 if at_risk else 0)


if __name__ == "__main__":
    main()
