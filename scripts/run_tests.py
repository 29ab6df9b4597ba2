"""Runs every test binary and ends with what was run, what was left out, and the sum.

Builds nothing: scripts/test has done so. The exit code is the one of `cargo test`.
"""

import json
import os
import re
import subprocess
import sys
import time

RUNNING = re.compile(r"^\s*(?:Running (?:unittests )?(\S+) \(|Doc-tests (\S+))")
PACKAGE = re.compile(r"deps/(\w+)-[0-9a-f]+\)")
RESULT = re.compile(r"^test result: \S+ (\d+) passed; (\d+) failed; (\d+) ignored")


def run_cargo(arguments):
    """Passes the runner's output through and yields (suite, passed, failed)."""
    # Most system tests wait for processes rather than compute: more of them than cores.
    environment = {"RUST_TEST_THREADS": "4", "CARGO_TERM_COLOR": "never", **os.environ}
    command = ["cargo", "test", "--locked", "--workspace", "--no-fail-fast", *arguments]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                             text=True, errors="replace", env=environment)
    suite, results = "?", []
    for line in child.stdout:
        sys.stdout.write(line)
        sys.stdout.flush()
        if running := RUNNING.match(line):
            package = PACKAGE.search(line)
            suite = f"{package[1]}, {running[1]}" if package else f"doc tests of {running[2]}"
        elif result := RESULT.match(line):
            results.append((suite, int(result[1]), int(result[2])))
    return child.wait(), results


def left_out():
    try:
        with open(os.path.join(os.environ["CARGO_TARGET_DIR"], "peers.json")) as file:
            return json.load(file)["left_out"]
    except FileNotFoundError:
        return {}


def main():
    started = time.monotonic()
    code, results = run_cargo(sys.argv[1:])
    print()
    for suite, passed, failed in results:
        if passed or failed:
            print(f"{passed:5} passed  {failed:3} failed  {suite}")
    for peer, reason in sorted(left_out().items()):
        print(f"left out: {peer}: {reason}")
    passed = sum(result[1] for result in results)
    failed = sum(result[2] for result in results)
    print(f"ran in {time.monotonic() - started:.0f} s, exit code {code}")
    print(f"{passed} passed, {failed} failed")
    return code or (1 if passed == 0 else 0)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
