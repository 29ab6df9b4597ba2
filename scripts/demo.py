"""Conducts the demo: three regions on this machine, their ills, and live answers.

One aggregator with an embedded store, an agent per region, four services per region that
are instrumented with the OpenTelemetry SDK, and their users. One region degrades, another
falls silent for a while. Ends on Ctrl-C or after DEMO_SECONDS and leaves nothing running.
"""

import calendar
import ctypes
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent
BINARIES = pathlib.Path(os.environ["CARGO_TARGET_DIR"]) / "debug"
PYTHON = pathlib.Path(os.environ["MERIDIAN_CACHE"]) / "venv" / "bin" / "python"
SECONDS = float(os.environ.get("DEMO_SECONDS", "inf"))

REGIONS = ["eu-central-1", "us-east-1", "ap-northeast-1"]
REQUESTS_PER_SECOND = {"eu-central-1": 5, "us-east-1": 4, "ap-northeast-1": 2}
SERVICES = ["gateway", "checkout", "payments", "inventory"]
DEGRADED, SILENT = "us-east-1", "ap-northeast-1"
# Payments of Tokyo's customers are taken in the United States: every such order crosses regions.
CROSSING = {("ap-northeast-1", "payments"): "us-east-1"}
# What happens when, in seconds, and again after each PERIOD. A shorter demo is compressed.
PERIOD = 150.0
SCRIPT = [(20, "degrade"), (45, "silence"), (75, "recover"), (95, "return")]
STATUS_EVERY = 10.0
# Linux: ends a child when its parent is gone, even by SIGKILL.
PR_SET_PDEATHSIG = 1


class End(Exception):
    """The demo is over, by a signal or by its time."""


class Failed(Exception):
    """The demo cannot go on; the text says why."""


def say(text=""):
    print(text, flush=True)


class Ports:
    """The default ports where they are free, else others, which it says."""

    def __init__(self):
        self.taken, self.moved = set(), []

    def take(self, default, what=None):
        for port in [default, *range(default + 1000, default + 1200)]:
            if port in self.taken:
                continue
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind(("127.0.0.1", port))
                except OSError:
                    continue
            self.taken.add(port)
            if port != default and what:
                self.moved.append(f"{default} is taken: {what} listens on {port}")
            return port
        raise Failed(f"no port near {default} is free")


class Processes:
    """Everything that was started, so that everything is ended."""

    def __init__(self, folder):
        self.folder, self.running = folder, []

    def start(self, name, *command):
        libc = ctypes.CDLL(None) if sys.platform == "linux" else None
        parent = os.getpid()

        def before_exec():
            if libc:
                libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
                if os.getppid() != parent:
                    os._exit(1)

        log = open(self.folder / f"{name}.log", "wb")
        child = subprocess.Popen([str(part) for part in command], stdin=subprocess.DEVNULL, stdout=log,
                                 stderr=subprocess.STDOUT, start_new_session=True, preexec_fn=before_exec)
        log.close()
        self.running.append((name, child))
        return child

    def check(self):
        for name, child in self.running:
            if child.poll() is not None:
                lines = (self.folder / f"{name}.log").read_text(errors="replace").splitlines()
                raise Failed("\n".join([f"{name} ended with code {child.returncode}:", *lines[-15:]]))

    def end(self):
        """Applications first, the aggregator last: nothing that was measured is lost."""
        for name, child in self.running:
            send(child, signal.SIGCONT)
        for last in (False, True):
            group = [child for name, child in self.running[::-1] if name.startswith(("agent", "aggr")) == last]
            for child in group:
                send(child, signal.SIGTERM)
            deadline = time.monotonic() + 6
            for child in group:
                try:
                    child.wait(max(0.0, deadline - time.monotonic()))
                except subprocess.TimeoutExpired:
                    send(child, signal.SIGKILL)
                    child.wait()


def send(child, number):
    if child.poll() is None:
        os.kill(child.pid, number)


class Platform:
    """What runs: ports, configurations, processes."""

    def __init__(self, folder):
        self.folder, self.ports, self.processes = folder, Ports(), Processes(folder)
        take = self.ports.take
        self.http, self.ingest = take(8080, "the aggregator's HTTP"), take(4319, "the aggregator's ingest")
        self.agents = {}
        for number, region in enumerate(REGIONS):
            self.agents[region] = {
                "grpc": take(4317 + number * 10000, f"OTLP gRPC of {region}"),
                "http": take(4318 + number * 10000, f"OTLP HTTP of {region}"),
                "admin": take(9464 + number * 10000, f"the agent's admin port of {region}"),
            }
        self.services = {(region, service): take(18000 + 100 * number + index)
                         for number, region in enumerate(REGIONS)
                         for index, service in enumerate(SERVICES)}
        self.agent_processes = {}

    def start(self):
        config = self.write("aggregator.yaml", [
            f"listen: {{ ingest: 127.0.0.1:{self.ingest}, http: 127.0.0.1:{self.http} }}",
            f"store: {{ url: 'file://{self.folder}/store', commit_interval: 5s }}",
            f"regions: [{', '.join(REGIONS)}]"])
        self.processes.start("aggregator", BINARIES / "meridian-aggregator", "--config", config)
        self.await_ready("the aggregator", self.http)
        for region, ports in self.agents.items():
            config = self.write(f"agent-{region}.yaml", [
                f"region: {region}", f"cluster: shop-{region}", "node: node-1",
                f"receivers: {{ otlp: {{ grpc: 127.0.0.1:{ports['grpc']}, http: 127.0.0.1:{ports['http']} }} }}",
                f"spool: {{ path: '{self.folder}/spool-{region}', max_bytes: 256MiB }}",
                f"exporters: {{ aggregator: {{ endpoint: 'http://127.0.0.1:{self.ingest}' }} }}",
                f"admin: {{ listen: 127.0.0.1:{ports['admin']} }}"])
            self.agent_processes[region] = self.processes.start(
                f"agent-{region}", BINARIES / "meridian-agent", "--config", config)
        for region, ports in self.agents.items():
            self.await_ready(f"the agent of {region}", ports["admin"])
        self.start_shop()

    def start_shop(self):
        for (region, service), port in self.services.items():
            calls = {}
            for other in SERVICES:
                home = CROSSING.get((region, other), region)
                calls[other] = [home, self.services[home, other]]
            settings = {"service": service, "region": region, "port": port, "calls": calls,
                        "agent": f"127.0.0.1:{self.agents[region]['grpc']}"}
            self.processes.start(f"{service}-{region}", PYTHON, "-B", ROOT / "demo/apps/service.py",
                                 json.dumps(settings))
        users = {region: [self.services[region, "gateway"], rate]
                 for region, rate in REQUESTS_PER_SECOND.items()}
        self.processes.start("users", PYTHON, "-B", ROOT / "demo/apps/users.py", json.dumps(users))

    def write(self, name, lines):
        path = self.folder / name
        path.write_text("\n".join(lines) + "\n")
        return path

    def await_ready(self, what, port):
        deadline = time.monotonic() + 60
        while True:
            self.processes.check()
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2).close()
                return
            except OSError as fault:
                if time.monotonic() > deadline:
                    raise Failed(f"{what} is not ready after a minute: {fault}") from None
                time.sleep(0.1)

    def degrade(self, latency_ms, error_ratio):
        url = (f"http://127.0.0.1:{self.services[DEGRADED, 'payments']}/degrade"
               f"?latency_ms={latency_ms}&error_ratio={error_ratio}")
        try:
            urllib.request.urlopen(urllib.request.Request(url, method="POST"), timeout=5).close()
        except OSError as fault:
            say(f"payments of {DEGRADED} did not take the order: {fault}")

    def act(self, what):
        stamp = time.strftime("%H:%M:%S")
        if what == "degrade":
            self.degrade(400, 0.25)
            say(f"\n{stamp}  now payments in {DEGRADED} turn slow, and a quarter of them fail")
        elif what == "recover":
            self.degrade(0, 0)
            say(f"\n{stamp}  now payments in {DEGRADED} are well again")
        elif what == "silence":
            send(self.agent_processes[SILENT], signal.SIGSTOP)
            say(f"\n{stamp}  now the agent of {SILENT} hangs: its connection stays open, and it says nothing")
        elif what == "return":
            send(self.agent_processes[SILENT], signal.SIGCONT)
            say(f"\n{stamp}  now the agent of {SILENT} is back: what nobody could take stays a gap")


TRAFFIC = """
SELECT region, count(*) AS requests,
       sum(CASE WHEN status_code = 'ERROR' THEN 1 ELSE 0 END) AS errors,
       quantile(duration_ns, 0.99) / 1e6 AS p99_ms
FROM spans
WHERE kind = 'SERVER' AND service_name = 'gateway' AND start_time > now() - INTERVAL '1 minute'
GROUP BY region"""

ERRORS = """
SELECT service_name, region, count(*) AS requests,
       sum(CASE WHEN status_code = 'ERROR' THEN 1 ELSE 0 END) AS errors
FROM spans
WHERE kind = 'SERVER' AND start_time > now() - INTERVAL '1 minute'
GROUP BY service_name, region
ORDER BY errors DESC, service_name, region
LIMIT 3"""

SLOWEST = """
SELECT trace_id, name, region, duration_ns / 1e6 AS ms
FROM spans
WHERE kind = 'SERVER' AND parent_span_id IS NULL AND start_time > now() - INTERVAL '1 minute'
ORDER BY duration_ns DESC
LIMIT 1"""


class Answers:
    """Asks the aggregator, as a person on call would with curl."""

    def __init__(self, port):
        self.base = f"http://127.0.0.1:{port}"

    def ask(self, path, body=None):
        headers = {"content-type": "application/json"}
        data = json.dumps(body).encode() if body is not None else None
        with urllib.request.urlopen(urllib.request.Request(self.base + path, data, headers), timeout=10) as answer:
            return json.load(answer)

    def sql(self, statement):
        return self.ask("/api/v1/sql", {"sql": statement})["data"]

    def status(self):
        try:
            for line in self.lines():
                say(line[:100])
        except (OSError, ValueError, KeyError) as fault:
            detail = fault.read().decode(errors="replace")[:300] if isinstance(fault, urllib.error.HTTPError) else ""
            say(f"no answer: {fault} {detail}")

    def lines(self):
        answer = self.ask("/api/v1/regions")
        traffic = {row["region"]: row for row in self.sql(TRAFFIC)}
        total = sum(row["requests"] for row in traffic.values())
        yield ""
        yield (f"{time.strftime('%H:%M:%S')}  status {answer['status']}, complete to {clock(answer['complete_to'])}"
               f", {total} requests in the last minute")
        yield "  region          state   complete to  agents  share  errors  p99"
        for entry in answer["regions"]:
            yield region_line(entry, traffic.get(entry["region"]), total)
        silent = [entry["region"] for entry in answer["regions"] if entry["state"] == "silent"]
        if silent:
            yield f"  shares are of what is known; nothing is known now of {', '.join(silent)}"
        failing = [row for row in self.sql(ERRORS) if row["errors"]]
        yield "  errors: " + ("; ".join(
            f"{row['service_name']} {row['region']} {row['errors']}/{row['requests']}" for row in failing)
            or "none in the last minute")
        for row in self.sql(SLOWEST):
            yield f"  slowest: {row['ms']:.0f} ms, {row['name']} in {row['region']}"
            yield f"    curl -s {self.base}/api/v1/traces/{row['trace_id']}"


def region_line(entry, traffic, total):
    # What a silent region does is unknown: never zero, never well.
    share = errors = p99 = "?"
    if traffic and entry["state"] != "silent":
        share = f"{traffic['requests'] / total:.0%}"
        errors = f"{traffic['errors'] / traffic['requests']:.1%}"
        p99 = f"{traffic['p99_ms']:.0f} ms"
    agents = f"{entry['agents_reporting']}/{entry['agents_expected']}"
    gaps = f"  gaps: {len(entry['gaps'])}" if entry.get("gaps") else ""
    return (f"  {entry['region']:<15} {entry['state']:<7} {clock(entry['complete_to']):<12} {agents:<7} "
            f"{share:<6} {errors:<7} {p99}{gaps}")


def clock(time_text):
    """The local time of day of an RFC 3339 time in UTC; a dash where nothing is known."""
    if not time_text:
        return "-"
    seconds = calendar.timegm(time.strptime(time_text[:19], "%Y-%m-%dT%H:%M:%S"))
    return time.strftime("%H:%M:%S", time.localtime(seconds))


def greet(platform):
    base = f"http://127.0.0.1:{platform.http}"
    say(f"""
Three regions run on this machine: four services each, with users, an agent and real telemetry.

  curl -s {base}/api/v1/regions
  curl -s {base}/api/v1/queries
  curl -s {base}/api/v1/sql -H 'content-type: text/plain' \\
    -d 'SELECT service_name, region, count(*) AS spans FROM spans GROUP BY 1, 2 ORDER BY 3 DESC'

  aggregator    answers {base} (description: /openapi.json), ingest {platform.ingest}""")
    for region, ports in platform.agents.items():
        say(f"  {region:<14} OTLP {ports['grpc']} (gRPC) and {ports['http']} (HTTP), "
            f"metrics http://127.0.0.1:{ports['admin']}/metrics")
    for moved in platform.ports.moved:
        say(f"  port {moved}")
    until = "Ctrl-C ends it" if SECONDS == float("inf") else f"it ends after {SECONDS:.0f} seconds"
    say(f"\n  {until}. Logs and tables: {platform.folder}")


def conduct(platform):
    """Status every few seconds, and the script's acts in between."""
    answers = Answers(platform.http)
    pace = min(1.0, SECONDS / PERIOD)
    begin = time.monotonic()
    acts = [(at * pace, what) for at, what in SCRIPT]
    next_status = 5.0
    while True:
        elapsed = time.monotonic() - begin
        if elapsed >= SECONDS:
            raise End
        while acts[0][0] <= elapsed:
            at, what = acts.pop(0)
            acts.append((at + PERIOD * pace, what))
            platform.act(what)
        if elapsed >= next_status:
            next_status = elapsed + STATUS_EVERY
            answers.status()
        platform.processes.check()
        time.sleep(0.2)


def main():
    def end(number, frame):
        raise End

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, end)
    folder = pathlib.Path(tempfile.mkdtemp(prefix="meridian-demo-"))
    platform, code = None, 0
    try:
        platform = Platform(folder)
        say("starting the aggregator, three agents and twelve services")
        platform.start()
        greet(platform)
        conduct(platform)
    except End:
        say("\nending")
    except Failed as fault:
        say(f"\nthe demo failed: {fault}")
        code = 1
    finally:
        # A second Ctrl-C must not leave anything behind.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        if platform:
            platform.processes.end()
        if os.environ.get("DEMO_KEEP") == "1":
            say(f"kept: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    return code


if __name__ == "__main__":
    sys.exit(main())
