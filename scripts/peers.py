"""Installs the real peers of the tests and the demo, once, by name, into the cache.

    peers.py demo | test | bench | cargo-deny

Writes CARGO_TARGET_DIR/peers.json: where each peer is, and which were left out and why.
The system tests read it. Installs nothing outside MERIDIAN_CACHE.
"""

import fcntl
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

CACHE = pathlib.Path(os.environ["MERIDIAN_CACHE"])
TARGET = pathlib.Path(os.environ["CARGO_TARGET_DIR"])
GO_BIN = CACHE / "gobin"
VENV_PYTHON = CACHE / "venv" / "bin" / "python"


def say(text):
    print(f"==> {text}", file=sys.stderr, flush=True)


def versions():
    lines = (pathlib.Path(__file__).parent / "versions.env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))


VERSION = versions()


class Unavailable(Exception):
    """A peer that this machine cannot have; the text says why."""


def run(command, what, **options):
    """Runs quietly; on failure shows the end of what the command said."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          errors="replace", **options)
    if done.returncode != 0:
        tail = "\n".join(done.stdout.splitlines()[-15:])
        raise Unavailable(f"{what} failed:\n{tail}")


def installed(marker, wanted):
    return marker.exists() and marker.read_text() == wanted


def python_environment():
    """The OpenTelemetry SDK, and two readers of Delta tables that are not ours."""
    packages = [
        f"opentelemetry-sdk=={VERSION['OPENTELEMETRY_PYTHON']}",
        f"opentelemetry-exporter-otlp-proto-grpc=={VERSION['OPENTELEMETRY_PYTHON']}",
        f"opentelemetry-exporter-otlp-proto-http=={VERSION['OPENTELEMETRY_PYTHON']}",
        f"deltalake=={VERSION['DELTALAKE']}",
        f"duckdb=={VERSION['DUCKDB']}",
    ]
    marker, wanted = CACHE / "venv" / "installed", "\n".join(packages)
    if installed(marker, wanted) and VENV_PYTHON.exists():
        return VENV_PYTHON
    say("installing the OpenTelemetry SDK for Python (half a minute)")
    try:
        run([sys.executable, "-m", "venv", str(CACHE / "venv")], "python3 -m venv")
    except Unavailable as fault:
        shutil.rmtree(CACHE / "venv", ignore_errors=True)
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        sys.exit(f"{fault}\npython3 cannot make virtual environments here. On Debian or Ubuntu:\n"
                 f"    apt-get install python{version}-venv")
    try:
        run([str(VENV_PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
             *packages], "pip install")
    except Unavailable as fault:
        sys.exit(str(fault))
    marker.write_text(wanted)
    return VENV_PYTHON


def go(arguments, what, **environment):
    if shutil.which("go") is None:
        raise Unavailable("Go is not installed")
    GO_BIN.mkdir(exist_ok=True)
    run(["go", *arguments], what,
        env={**os.environ, "GOBIN": str(GO_BIN), "CGO_ENABLED": "0", **environment})


def go_tool(name, package, version, duration):
    path, marker = GO_BIN / name, GO_BIN / f".{name}.installed"
    if not (path.exists() and installed(marker, version)):
        if shutil.which("go") is not None:
            say(f"installing {name} {version} ({duration})")
        go(["install", f"{package}@{version}"], f"go install {name}")
        marker.write_text(version)
    return path


def telemetrygen():
    package = "github.com/open-telemetry/opentelemetry-collector-contrib/cmd/telemetrygen"
    return go_tool("telemetrygen", package, VERSION["TELEMETRYGEN"], "half a minute")


def minio():
    return go_tool("minio", "github.com/minio/minio", VERSION["MINIO"], "two to five minutes")


def collector():
    """A stock Collector, built from its core modules and the storage of its persistent queue."""
    version = VERSION["COLLECTOR"]
    path, marker = GO_BIN / "otelcol", GO_BIN / ".otelcol.installed"
    wanted = f"{version} with filestorage"
    if path.exists() and installed(marker, wanted):
        return path
    builder = go_tool("builder", "go.opentelemetry.io/collector/cmd/builder", version, "half a minute")
    say(f"building the OpenTelemetry Collector {version} (a minute or two)")
    core = "go.opentelemetry.io/collector"
    contrib = "github.com/open-telemetry/opentelemetry-collector-contrib"
    with tempfile.TemporaryDirectory() as folder:
        manifest = pathlib.Path(folder) / "builder.yaml"
        manifest.write_text("\n".join([
            f"dist: {{name: otelcol, output_path: {folder}/out, version: {version[1:]}}}",
            f"receivers: [{{gomod: {core}/receiver/otlpreceiver {version}}}]",
            f"exporters: [{{gomod: {core}/exporter/otlpexporter {version}}},"
            f" {{gomod: {core}/exporter/otlphttpexporter {version}}}]",
            f"extensions: [{{gomod: {contrib}/extension/storage/filestorage {version}}}]", ""]))
        run([str(builder), f"--config={manifest}"], "builder",
            env={**os.environ, "CGO_ENABLED": "0"})
        # A Collector that runs keeps its file.
        shutil.copy(pathlib.Path(folder) / "out" / "otelcol", f"{path}.new")
        os.replace(f"{path}.new", path)
    marker.write_text(wanted)
    return path


def rotel():
    """The binary in Rotel's Python package; nothing of Python runs."""
    wanted, folder = f"rotel=={VERSION['ROTEL']}", CACHE / "rotel"
    path, marker = folder / "rotel" / "rotel-agent", folder / "installed"
    if not (path.exists() and installed(marker, wanted)):
        say(f"installing {wanted} (seconds)")
        run([sys.executable, "-m", "venv", str(folder / "venv")], "python3 -m venv")
        run([str(folder / "venv" / "bin" / "python"), "-m", "pip", "install", "--quiet", "--upgrade",
             "--disable-pip-version-check", "--no-deps", "--target", str(folder), wanted], "pip install")
        marker.write_text(wanted)
    return path


def debian_package(name):
    """A Debian package, unpacked into the cache and not installed; answers the folder."""
    folder = CACHE / name
    marker = folder / "installed"
    if not marker.exists():
        if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
            raise Unavailable(f"{name} is taken from Debian's or Ubuntu's packages")
        say(f"unpacking {name} (seconds)")
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        run(["apt-get", "download", name], f"apt-get download {name}", cwd=folder)
        package, = folder.glob(f"{name}_*.deb")
        run(["dpkg-deb", "-x", package.name, "."], "dpkg-deb", cwd=folder)
        marker.write_text(package.name)
    return folder


def moto():
    """AWS as moto plays it, and AWS's own client to ask it: apart, because they bring a lot."""
    packages = [f"moto[server]=={VERSION['MOTO']}", f"boto3=={VERSION['BOTO3']}"]
    folder = CACHE / "moto"
    path, marker, wanted = folder / "bin" / "python", folder / "installed", "\n".join(packages)
    if not (path.exists() and installed(marker, wanted)):
        say(f"installing moto {VERSION['MOTO']} (half a minute)")
        run([sys.executable, "-m", "venv", str(folder)], "python3 -m venv")
        run([str(path), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages],
            "pip install")
        marker.write_text(wanted)
    return path


def libfaketime():
    """Sets the clock of one process."""
    for library in debian_package("libfaketime").glob("usr/lib/*/faketime/libfaketimeMT.so.1"):
        return library
    raise Unavailable("libfaketime's package has no libfaketimeMT.so.1")


def iproute2(program):
    """`ip` or `tc`: the machine's, or the one of Debian's package."""
    if found := shutil.which(program):
        return found
    for path in debian_package("iproute2").glob(f"**/*bin/{program}"):
        return path
    raise Unavailable(f"iproute2's package has no {program}")


def in_namespace(*commands):
    """Runs commands beside a network namespace whose name is put for NAME."""
    ip, name = str(iproute2("ip")), f"meridian-{os.getpid()}"
    run([ip, "netns", "add", name], "making a network namespace (as root it works)")
    try:
        for command in commands:
            text = " ".join(command)
            run([part.replace("NAME", name) for part in command], text)
    finally:
        run([ip, "netns", "del", name], "ip netns del")


def network_namespaces():
    """The program that makes the networks of the tests, where it may."""
    ip = iproute2("ip")
    in_namespace([str(ip), "-n", "NAME", "link", "add", "north", "type", "veth", "peer", "name", "south"],
                 [str(ip), "-n", "NAME", "rule", "add", "to", "198.18.0.1", "blackhole"])
    return ip


def netem():
    """The program that makes a network slow and lossy, where the kernel can."""
    tc = iproute2("tc")
    in_namespace([str(tc), "-n", "NAME", "qdisc", "add", "dev", "lo", "root", "netem", "loss", "5%"])
    return tc


def tmpfs():
    """The program that mounts the small disks of the tests, where it may."""
    with tempfile.TemporaryDirectory() as folder:
        run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], "mounting a tmpfs (as root it works)")
        run(["umount", folder], "umount")
    return shutil.which("mount")


def cargo_deny():
    path, marker = CACHE / "tools" / "bin" / "cargo-deny", CACHE / "tools" / ".cargo-deny.installed"
    if path.exists() and installed(marker, VERSION["CARGO_DENY"]):
        return path
    say(f"installing cargo-deny {VERSION['CARGO_DENY']} (five minutes on 2 cores)")
    subprocess.run(["cargo", "install", "--quiet", "--locked", "--root", str(CACHE / "tools"),
                    f"cargo-deny@{VERSION['CARGO_DENY']}"], check=True,
                   env={key: value for key, value in os.environ.items() if key != "CARGO_TARGET_DIR"})
    marker.write_text(VERSION["CARGO_DENY"])
    return path


def write_peers(required, optional):
    """Also keeps what an earlier run for another purpose has found."""
    path = TARGET / "peers.json"
    known = json.loads(path.read_text()) if path.exists() else {}
    peers, left_out = known.get("peers", {}) | required, known.get("left_out", {})
    for name, install in optional:
        peers.pop(name, None)
        left_out.pop(name, None)
        try:
            peers[name] = str(install())
        except Unavailable as reason:
            left_out[name] = str(reason)
            say(f"left out: {name}: {reason}")
    TARGET.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"peers": peers, "left_out": left_out}, indent=1))


def install_for_tests():
    write_peers({"python": str(python_environment())},
                [("telemetrygen", telemetrygen), ("otelcol", collector), ("minio", minio), ("moto", moto),
                 ("libfaketime", libfaketime), ("tmpfs", tmpfs),
                 ("ip", network_namespaces), ("tc", lambda: iproute2("tc")), ("netem", netem)])


def install_for_benchmark():
    write_peers({"python": str(python_environment())}, [("rotel", rotel), ("otelcol", collector)])


def main():
    CACHE.mkdir(parents=True, exist_ok=True)
    with open(CACHE / ".lock", "w") as lock:
        # Two checkouts may install at the same time; the second waits and finds all there.
        fcntl.flock(lock, fcntl.LOCK_EX)
        {"demo": python_environment, "test": install_for_tests, "bench": install_for_benchmark,
         "cargo-deny": cargo_deny}[sys.argv[1]]()


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
    except subprocess.CalledProcessError as fault:
        sys.exit(fault.returncode)
