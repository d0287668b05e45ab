"""A Ray cluster of two nodes inside a network namespace of its own, for the tests of `onnuri submit`.

Run as `unshare -n python cluster_scene.py CONFIG RUN [kill]` (root): brings loopback up, starts a head with its job server and a second
node with token authentication, submits the run, with `kill` kills worker processes of the second node while the job runs, and ends
every process it started. Nothing outside the namespace can be reached, and nothing can reach in.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

JOB_SERVER = "http://127.0.0.1:8265"


def bring_loopback_up() -> None:
    """Set IFF_UP on lo (what `ip link set lo up` does, without needing iproute2)."""
    siocsifflags, iff_up, iff_running = 0x8914, 0x1, 0x40
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, siocsifflags, struct.pack("16sh", b"lo", iff_up | iff_running))


def start_node(arguments: list[str], environment: dict[str, str], folder: str, name: str) -> subprocess.Popen[bytes]:
    ray = str(Path(sys.executable).with_name("ray"))
    log = open(Path(folder) / f"{name}.log", "wb")  # noqa: SIM115 - the child writes to it for as long as it lives
    command = [ray, "start", "--block", "--disable-usage-stats", "--num-cpus=1", "--object-store-memory=200000000", *arguments]
    return subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)


def wait_for_server(environment: dict[str, str]) -> None:
    request = urllib.request.Request(f"{JOB_SERVER}/api/version", headers={"Authorization": f"Bearer {environment['RAY_AUTH_TOKEN']}"})
    for _ in range(240):
        try:
            urllib.request.urlopen(request, timeout=5).read()
            return
        except (urllib.error.URLError, OSError):
            time.sleep(0.5)
    raise SystemExit("the job server did not come up")


def descendants(root: int) -> list[int]:
    """Process ids below `root`, itself included."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text(errors="replace").rsplit(")", 1)[1].split()
            except OSError:
                continue
            parents.setdefault(int(fields[1]), []).append(int(entry.name))
    found, queue = [], [root]
    while queue:
        process = queue.pop()
        found.append(process)
        queue += parents.get(process, [])
    return found


def busy_workers(root: int) -> list[int]:
    """Ray worker processes under a node that run a task now (Ray writes the task's name into the process title)."""
    busy = []
    for process in descendants(root):
        try:
            title = Path(f"/proc/{process}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if title.startswith("ray::") and "_run_row" in title:
            busy.append(process)
    return busy


def main() -> None:
    config, run, kill = sys.argv[1], sys.argv[2], sys.argv[3:] == ["kill"]
    bring_loopback_up()
    folder = tempfile.mkdtemp(prefix="ray-", dir="/tmp")  # short: Ray's socket paths must stay under 107 characters
    environment = os.environ | {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32), "RAY_USAGE_STATS_ENABLED": "0"}
    environment |= {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    nodes = [
        start_node(
            ["--head", "--node-ip-address=127.0.0.1", "--port=6379", "--dashboard-host=127.0.0.1", f"--temp-dir={folder}"],
            environment,
            folder,
            "head",
        )
    ]
    try:
        wait_for_server(environment)
        nodes.append(start_node(["--address=127.0.0.1:6379", "--node-ip-address=127.0.0.1"], environment, folder, "second"))
        time.sleep(5)
        submit = [sys.executable, "-m", "pipeline", "submit", config, "--address", JOB_SERVER, "-o", run]
        job = subprocess.Popen(submit, env=environment)
        killed = 0
        while job.poll() is None:
            if kill and killed < 2 and (workers := busy_workers(nodes[1].pid)):
                os.kill(workers[0], signal.SIGKILL)
                killed += 1
                time.sleep(3)
            time.sleep(0.05)
        print(f"submit ended with {job.returncode}; killed {killed} workers", flush=True)
        if kill and not killed:
            raise SystemExit("no worker of the second node was ever busy, so nothing was killed")
        if job.returncode:
            raise SystemExit(job.returncode)
    finally:
        for process in [process for node in nodes for process in descendants(node.pid)]:
            try:
                os.kill(process, signal.SIGKILL)
            except ProcessLookupError:
                continue


if __name__ == "__main__":
    main()
