"""Tests the files of deploy/: proxies in front of a real server, units and manifests with the tools for them.

Only names, ports, paths and times are replaced in them. Run by `tests/deploy/run`."""

import asyncio
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

from cluster import cluster, free_port
from manifests import DRAIN_SECS, HEARTBEAT_SECS, cluster_compose, cluster_kubernetes, cluster_rights, fits_the_schemas
from proxy import HOST, Proxy, certificate, assert_no_key, check_proxy
from stage import ROOT, Server

DEPLOY = ROOT / "deploy"
# The proxies' timeouts are shortened in proportion to this one, so that no check takes minutes.
SHORT_HEARTBEAT_SECS = 0.4


def replaced(text: str, *pairs: tuple[str, object]) -> str:
    for old, new in pairs:
        assert old in text, f"'{old}' is no longer there"
        text = text.replace(old, str(new), 1)
    return text


def value(text: str, name: str) -> int:
    """The seconds after a name, as in `proxy_read_timeout 120s` or `TimeoutStopSec=15`."""
    return int(text.split(name)[1].split("\n")[0].strip(" =;s"))


async def server_with_short_heartbeat() -> Server:
    return await Server.start(
        PUBSUB_HEARTBEAT_SECS=str(SHORT_HEARTBEAT_SECS), PUBSUB_HEARTBEAT_JSON="true", PUBSUB_TRUSTED_PROXIES="127.0.0.1"
    )


async def nginx(folder: Path) -> None:
    text = (DEPLOY / "nginx.conf").read_text()
    for timeout in ("proxy_read_timeout", "proxy_send_timeout"):
        assert value(text, timeout) > 2 * HEARTBEAT_SECS
    port = free_port()
    public, key = certificate(folder)
    server = await server_with_short_heartbeat()
    text = replaced(
        text,
        ("127.0.0.1:8080", server.address),
        ("server_name events.example", f"server_name {HOST}"),
        ("listen 443 ssl", f"listen 127.0.0.1:{port} ssl"),
        ("/etc/ssl/events.example.pem", public),
        ("/etc/ssl/events.example.key", key),
        ("/var/log/nginx/threadcast.log", folder / "access.log"),
        ("/var/log/nginx/threadcast-error.log", folder / "error.log"),
        ("worker_processes auto", f"pid {folder}/pid;\nworker_processes 1"),
        ("worker_rlimit_nofile 65536", "worker_rlimit_nofile 1024"),
        ("worker_connections 32768", "worker_connections 512"),
        ("proxy_read_timeout 120s", "proxy_read_timeout 1s"),
    )
    for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"):
        text = text.replace("http {", f"http {{\n{kind}_temp_path {folder}/{kind};", 1)
    (folder / "nginx.conf").write_text(text)
    command = ["nginx", "-c", str(folder / "nginx.conf"), "-p", str(folder), "-e", str(folder / "error.log")]
    subprocess.run([*command, "-t", "-q"], check=True)
    proxy = Proxy(port, public)
    async with proxy.running([*command, "-g", "daemon off;"]):
        await check_proxy(proxy, server, heartbeat_secs=SHORT_HEARTBEAT_SECS, silent_secs=1)
    log = (folder / "access.log").read_text()
    assert '"GET /ws" 502' in log, log
    assert_no_key(log + (folder / "error.log").read_text())


async def caddy(folder: Path) -> None:
    port = free_port()
    public, key = certificate(folder)
    server = await server_with_short_heartbeat()
    site = replaced(
        (DEPLOY / "Caddyfile").read_text(),
        ("events.example {", f"{HOST}:{port} {{\n\tbind 127.0.0.1\n\ttls {public} {key}"),
        ("127.0.0.1:8080", server.address),
    )
    options = "{\n\tadmin off\n\tauto_https disable_redirects\n"
    log = folder / "log"
    site = replaced(site, ("{\n", options), ("log default {\n", f"log default {{\n\t\tlevel ERROR\n\t\toutput file {log}\n"))
    (folder / "Caddyfile").write_text(site)
    command = ["env", f"HOME={folder}", "caddy", "run", "--adapter", "caddyfile", "--config", str(folder / "Caddyfile")]
    proxy = Proxy(port, public)
    async with proxy.running(command):
        await check_proxy(proxy, server, heartbeat_secs=SHORT_HEARTBEAT_SECS, silent_secs=1)
    assert "connection refused" in log.read_text()
    assert_no_key(log.read_text())


async def systemd(folder: Path) -> None:
    unit = folder / "threadcast.service"
    text = (DEPLOY / "threadcast.service").read_text()
    unit.write_text(replaced(text, ("/usr/local/bin/threadcast", shutil.which("true"))))
    verified = subprocess.run(["systemd-analyze", "verify", "--man=no", str(unit)], capture_output=True, text=True)
    assert verified.returncode == 0 and unit.name not in verified.stderr, verified.stderr
    assert value(text, "TimeoutStopSec") > DRAIN_SECS


async def kubernetes(_folder: Path) -> None:
    deployment, service = fits_the_schemas(DEPLOY / "kubernetes.yaml")
    assert (deployment["kind"], service["kind"]) == ("Deployment", "Service")
    spec = deployment["spec"]
    assert (spec["replicas"], spec["strategy"]["type"]) == (1, "Recreate")
    pod = spec["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] > DRAIN_SECS
    (container,) = pod["containers"]
    server = await Server.start()
    for probe in ("livenessProbe", "readinessProbe"):
        await server.rest("GET", container[probe]["httpGet"]["path"])
    await server.stop()
    names = {port["name"] for port in container["ports"]}
    assert {port["targetPort"] for port in service["spec"]["ports"]} <= names
    assert service["spec"]["selector"] == spec["selector"]["matchLabels"] == spec["template"]["metadata"]["labels"]


async def compose(_folder: Path) -> None:
    service = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]["threadcast"]
    assert int(service["stop_grace_period"].removesuffix("s")) > DRAIN_SECS
    assert (DEPLOY / service["build"] / "Dockerfile").resolve() == ROOT / "Dockerfile"


# Each check and the programs that it needs.
CHECKS = {
    nginx: ["nginx"],
    caddy: ["caddy"],
    systemd: ["systemd-analyze"],
    kubernetes: [],
    compose: [],
    cluster_compose: [],
    cluster_kubernetes: [],
    cluster_rights: [],
    cluster: ["redis-server", "caddy"],
}


async def main() -> None:
    try:
        for check, tools in CHECKS.items():
            missing = [tool for tool in tools if not shutil.which(tool)]
            if missing:
                print(f"{check.__name__}: skipped, {missing[0]} is not installed", file=sys.stderr)
                continue
            with tempfile.TemporaryDirectory() as folder:
                # The server writes here too, after it has dropped its rights.
                Path(folder).chmod(0o777)
                await check(Path(folder))
            print(f"{check.__name__}: passed", flush=True)
    finally:
        await Server.kill_all()


asyncio.run(main())
