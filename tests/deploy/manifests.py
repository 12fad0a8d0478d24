"""Tests what is written in the files of deploy/cluster: that they fit each other, the server and the schemas of Kubernetes."""

import asyncio
import re
import subprocess
from pathlib import Path

import kubernetes_validate
import yaml

from stage import ROOT, Server

CLUSTER = ROOT / "deploy" / "cluster"
# The oldest and the newest Kubernetes whose schemas the manifests must fit.
VERSIONS = ("1.30", kubernetes_validate.latest_version())
# The server's defaults.
DRAIN_SECS = 5
HEARTBEAT_SECS = 30
NODES = 3
PORT = 8080
REDIS_PORT = 6379


def compose() -> dict:
    return yaml.safe_load((CLUSTER / "compose.yaml").read_text())


def fits_the_schemas(path: Path) -> list[dict]:
    """The resources of a manifest, none of which has a field that Kubernetes does not know."""
    resources = list(yaml.safe_load_all(path.read_text()))
    for resource in resources:
        for version in VERSIONS:
            kubernetes_validate.validate(resource, version, strict=True)
    return resources


def secs(text: str) -> int:
    return int(text.removesuffix("s"))


def settings() -> set[str]:
    program = subprocess.run([Server.program(), "--help"], capture_output=True, text=True, check=True)
    return set(re.findall(r"\[env: (PUBSUB_\w+)\]", program.stdout))


def redis_options() -> dict[str, str]:
    lines = (CLUSTER / "redis.conf").read_text().splitlines()
    words = (line.split(maxsplit=1) for line in lines if line and not line.startswith("#"))
    return {name: value for name, value in words}


def mebibytes(text: str) -> int:
    number, unit = re.fullmatch(r"(\d+)(Gi|gb|g|Mi|mb|m)", text).groups()
    return int(number) * (1024 if unit.lower().startswith("g") else 1)


async def cluster_compose(_folder: Path) -> None:
    services = compose()["services"]
    nodes = [service for name, service in services.items() if name.startswith("node-")]
    assert len(nodes) == NODES
    for node in nodes:
        assert (CLUSTER / node["build"] / "Dockerfile").resolve() == ROOT / "Dockerfile"
        assert set(node["environment"]) <= settings()
        assert secs(node["stop_grace_period"]) > DRAIN_SECS
        assert f"@redis:{REDIS_PORT}" in node["environment"]["PUBSUB_REDIS_URL"]
    caddyfile = (CLUSTER / "Caddyfile").read_text()
    upstreams = re.search(r"reverse_proxy (.*) \{", caddyfile)[1].split()
    assert upstreams == [f"{name}:{PORT}" for name in services if name.startswith("node-")]
    (ports,) = services["balancer"]["ports"]
    assert f"\n:{ports.rsplit(':', 1)[1]} {{" in caddyfile
    # No password is in a file: Compose asks for it.
    for name, value in {**nodes[0]["environment"], **services["redis"]["environment"]}.items():
        assert "URL" not in name and "AUTH" not in name or "${REDIS_PASSWORD:?" in value, name
    for service in services.values():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert source in compose()["volumes"] or (CLUSTER / source).is_file(), source
    memory = mebibytes(services["redis"]["mem_limit"])
    assert memory >= 2 * mebibytes(redis_options()["maxmemory"])


async def cluster_kubernetes(_folder: Path) -> None:
    resources = fits_the_schemas(CLUSTER / "kubernetes.yaml")
    named = {(resource["kind"], resource["metadata"]["name"]): resource for resource in resources}
    assert len(named) == len(resources)
    nodes, redis = named["Deployment", "threadcast"], named["StatefulSet", "threadcast-redis"]
    check_nodes(nodes["spec"])
    await asyncio.to_thread(check_redis, redis["spec"], named["ConfigMap", "threadcast-redis"])
    for name, workload in (("threadcast", nodes), ("threadcast-redis", redis)):
        labels = workload["spec"]["template"]["metadata"]["labels"]
        service = named["Service", name]["spec"]
        assert service["selector"] == workload["spec"]["selector"]["matchLabels"] == labels
        (container,) = workload["spec"]["template"]["spec"]["containers"]
        assert {port["targetPort"] for port in service["ports"]} <= {port["name"] for port in container["ports"]}
    labels = nodes["spec"]["selector"]
    assert named["PodDisruptionBudget", "threadcast"]["spec"]["selector"] == labels
    policy = named["NetworkPolicy", "threadcast-redis"]["spec"]
    assert policy["podSelector"] == redis["spec"]["selector"]
    assert policy["ingress"][0]["from"] == [{"podSelector": labels}]
    ingress = named["Ingress", "threadcast"]
    for side in ("read", "send"):
        timeout = ingress["metadata"]["annotations"][f"nginx.ingress.kubernetes.io/proxy-{side}-timeout"]
        assert int(timeout) > 2 * HEARTBEAT_SECS
    backend = ingress["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]
    ports = named["Service", backend["name"]]["spec"]["ports"]
    assert backend["port"]["name"] in {port["name"] for port in ports}


def check_nodes(spec: dict) -> None:
    assert spec["replicas"] == NODES
    pod = spec["template"]["spec"]
    (container,) = pod["containers"]
    assert {variable["name"] for variable in container["env"]} <= settings()
    assert not any("redis://" in variable.get("value", "") for variable in container["env"])
    assert [port["containerPort"] for port in container["ports"]] == [PORT]
    pause = int(container["lifecycle"]["preStop"]["exec"]["command"][1])
    probe = container["readinessProbe"]
    assert pause > probe["periodSeconds"] * probe["failureThreshold"]
    assert pod["terminationGracePeriodSeconds"] > pause + DRAIN_SECS
    assert (container["livenessProbe"]["httpGet"]["path"], probe["httpGet"]["path"]) == ("/livez", "/readyz")
    (spread,) = pod["topologySpreadConstraints"]
    assert spread["labelSelector"] == spec["selector"]


async def cluster_rights(_folder: Path) -> None:
    """The user of docs/cluster.md may use every command that nodes and their scripts use."""
    engine = ROOT / "src" / "broker" / "engine" / "redis"
    used = {"SUBSCRIBE", "UNSUBSCRIBE", "PUNSUBSCRIBE", "SCRIPT|LOAD"}
    for path, call in (("*.rs", r'cmd\("(\w+)"\)'), ("scripts/*.lua", r"redis\.call\('(\w+)'")):
        for file in engine.glob(path):
            used |= set(re.findall(call, file.read_text()))
    # That one goes to Sentinels.
    used.discard("SENTINEL")
    rights = {right.upper() for right in re.findall(r" \+(\S+)", user_of_a_node())}
    assert used <= rights, used - rights


def user_of_a_node() -> str:
    """The words after `ACL` that make a user for nodes."""
    document = (ROOT / "docs" / "cluster.md").read_text()
    return re.search(r"^    ACL (SETUSER threadcast .*(?:\n     +.*)*)", document, re.MULTILINE)[1]


def check_redis(spec: dict, config: dict) -> None:
    assert config["data"]["redis.conf"] == (CLUSTER / "redis.conf").read_text()
    (container,) = spec["template"]["spec"]["containers"]
    assert [port["containerPort"] for port in container["ports"]] == [REDIS_PORT]
    # The command that the check with running servers carries out.
    there = compose()["services"]["redis"]["command"][2]
    assert container["command"][2] == there.replace("$$", "$").replace("/etc/redis.conf", "/etc/redis/redis.conf")
    limit = container["resources"]["limits"]["memory"]
    assert mebibytes(limit) >= 2 * mebibytes(redis_options()["maxmemory"])
