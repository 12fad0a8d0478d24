"""Runs what deploy/cluster describes: three nodes over a Redis, behind the balancer, with only names, ports and paths replaced."""

import asyncio
import json
import os
import re
import socket
import subprocess
import urllib.error
import urllib.request
from contextlib import asynccontextmanager
from pathlib import Path

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from manifests import CLUSTER, NODES, PORT, REDIS_PORT, compose, user_of_a_node
from stage import DEADLINE_SECS, Server, soon

PASSWORD = "s3cret"
TOPIC = "orders"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


async def until(what: str, holds) -> None:
    """Waits until `await holds()` is true."""
    try:
        async with asyncio.timeout(DEADLINE_SECS):
            while not await holds():
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"in vain: {what}") from None


class Redis:
    """A Redis with deploy/cluster/redis.conf, started by the command of the Compose file."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.url = f"redis://:{PASSWORD}@127.0.0.1:{port}"

    @classmethod
    @asynccontextmanager
    async def running(cls, folder: Path):
        redis = cls(free_port())
        text = (CLUSTER / "redis.conf").read_text()
        (folder / "base.conf").write_text(f"{text}\nbind 127.0.0.1\nport {redis.port}\ndir {folder}\n")
        shell, option, line = compose()["services"]["redis"]["command"]
        for old, new in (("$$", "$"), ("/etc/redis.conf", folder / "base.conf"), ("/tmp/redis.conf", folder / "redis.conf")):
            assert old in line
            line = line.replace(old, str(new))
        environment = os.environ | {"REDISCLI_AUTH": PASSWORD}
        process = await asyncio.create_subprocess_exec(shell, option, line, env=environment, stdout=subprocess.DEVNULL)
        redis.process = process
        try:
            await until("Redis answers", lambda: redis.answers())
            yield redis
        finally:
            await redis.stop()

    async def stop(self) -> None:
        if self.process.returncode is None:
            self.process.terminate()
            await soon(self.process.wait())

    async def command(self, *words: str) -> str:
        """The answer to a command, as redis-cli prints it."""
        command = ["redis-cli", "-p", str(self.port), *words]
        environment = os.environ | {"REDISCLI_AUTH": PASSWORD}
        asked = await asyncio.to_thread(subprocess.run, command, env=environment, capture_output=True, text=True)
        return asked.stdout.strip()

    async def answers(self) -> bool:
        return await self.command("PING") == "PONG"


class Balancer:
    """Caddy with deploy/cluster/Caddyfile."""

    def __init__(self, folder: Path, nodes: list[Server]) -> None:
        self.port = free_port()
        site = (CLUSTER / "Caddyfile").read_text()
        for number, node in enumerate(nodes, 1):
            name = f"node-{number}:{PORT}"
            assert name in site
            site = site.replace(name, node.address)
        site = site.replace(f"\n:{PORT} {{", f"\nhttp://:{self.port} {{\n\tbind 127.0.0.1").replace("{\n", "{\n\tadmin off\n", 1)
        (folder / "Caddyfile").write_text(site)
        self.command = ["env", f"HOME={folder}", "caddy", "run", "--adapter", "caddyfile", "--config", str(folder / "Caddyfile")]

    @asynccontextmanager
    async def running(self):
        process = await asyncio.create_subprocess_exec(*self.command, stderr=subprocess.DEVNULL)
        try:
            await until("the balancer finds the nodes", self._is_ready)
            yield self
        finally:
            if process.returncode is None:
                process.terminate()
            await soon(process.wait())

    async def rest(self, method: str, path: str, body: object = None) -> tuple[int, dict, bytes]:
        """Status, headers and body of an answer."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data, method=method)

        def ask() -> tuple[int, dict, bytes]:
            try:
                with urllib.request.urlopen(request, timeout=DEADLINE_SECS) as answer:
                    return answer.status, dict(answer.headers), answer.read()
            except urllib.error.HTTPError as refused:
                return refused.code, dict(refused.headers), refused.read()

        return await asyncio.to_thread(ask)

    async def publish(self, payload: int) -> None:
        """Publishes once. A connection to a node that has just died gives 502, as nobody knows what the node did. The balancer's own
        503 asks to try again."""

        async def is_published() -> bool:
            status, _, body = await self.rest("POST", f"/topics/{TOPIC}/messages", {"payload": payload})
            assert status in (201, 502) or body == b"503 Service Unavailable", (status, body)
            return status == 201

        await until("a publish is taken", is_published)

    def connect(self) -> connect:
        return connect(f"ws://127.0.0.1:{self.port}/ws", proxy=None)

    async def _is_ready(self) -> bool:
        try:
            return (await self.rest("GET", "/readyz"))[0] == 200
        except OSError:
            return False


async def answer(client: ClientConnection, kind: str) -> dict:
    """The next frame of a kind."""
    while (frame := json.loads(await soon(client.recv())))["type"] != kind:
        assert frame["type"] != "error", frame
    return frame


async def expect(client: ClientConnection, payloads: range) -> int:
    """Expects exactly these events; returns the number of the last."""
    for payload in payloads:
        event = await answer(client, "event")
        assert event["message"]["payload"] == payload, event
    return event["seq"]


async def subscriptions(node: Server) -> int:
    """How many subscriptions this node has."""
    (own,) = [n for n in (await node.rest("GET", "/nodes"))["nodes"] if n["address"] == node.address]
    return own["subscriptions"]


async def cluster(folder: Path) -> None:
    async with Redis.running(folder) as redis:
        text = compose()["services"]["node-1"]["environment"]["PUBSUB_REDIS_URL"]
        url = re.sub(r"\$\{.*?\}", PASSWORD, text).replace(f"redis:{REDIS_PORT}", f"127.0.0.1:{redis.port}")
        assert url == redis.url
        nodes = [await Server.start(PUBSUB_REDIS_URL=url) for _ in range(NODES)]
        async with Balancer(folder, nodes).running() as balancer:
            await until("all nodes are there", lambda: sees(nodes[0], NODES))
            health = await nodes[0].rest("GET", "/health")
            # The settings of Redis are those that a node asks for.
            assert health["engine"] == "up" and "engine_error" not in health, health
            await client_comes_back_after_its_node_died(balancer, nodes)
            await node_has_the_rights_that_the_document_gives(redis)
            await balancer_says_that_no_node_is_ready(balancer, redis)


async def sees(node: Server, count: int) -> bool:
    try:
        return len((await node.rest("GET", "/nodes"))["nodes"]) == count
    except urllib.error.HTTPError:
        return False


async def client_comes_back_after_its_node_died(balancer: Balancer, nodes: list[Server]) -> None:
    status, _, body = await balancer.rest("POST", "/topics", {"name": TOPIC})
    assert status == 201, body
    subscribe = {"type": "subscribe", "topic": TOPIC, "client_id": "s1"}
    async with balancer.connect() as client:
        await client.send(json.dumps(subscribe))
        epoch = (await answer(client, "ack"))["epoch"]
        await balancer.publish(1)
        seq = await expect(client, range(1, 2))
        (node,) = [node for node in nodes if await subscriptions(node) == 1]
        node.process.kill()
        await node.process.wait()
        Server.running.remove(node.process)
        nodes.remove(node)
        try:
            await soon(client.recv())
            raise AssertionError("an event from a dead node")
        except ConnectionClosed:
            pass
    # The other nodes take what is published now.
    for payload in range(2, 8):
        await balancer.publish(payload)
    async with balancer.connect() as client:
        await client.send(json.dumps(subscribe | {"after_seq": seq, "epoch": epoch}))
        assert (await answer(client, "ack"))["recovered"] is True
        await expect(client, range(2, 8))
        await balancer.publish(8)
        await expect(client, range(8, 9))


async def node_has_the_rights_that_the_document_gives(redis: Redis) -> None:
    """The user of docs/cluster.md may do what a node does, and nothing of it is refused."""
    line = user_of_a_node()
    assert await redis.command("ACL", *line.split()) == "OK"
    await redis.command("ACL", "LOG", "RESET")
    secret = re.search(r">(\S+)", line)[1]
    url = f"redis://threadcast:{secret}@127.0.0.1:{redis.port}"
    node, other = [await Server.start(PUBSUB_REDIS_URL=url) for _ in range(2)]
    try:
        await does_what_a_node_does(node, other)
    finally:
        refused = await redis.command("ACL", "LOG")
        assert refused == "", refused


async def does_what_a_node_does(node: Server, other: Server) -> None:
    await until("the nodes see each other", lambda: has_both(node, other))
    await node.rest("POST", "/topics", {"name": "limited"})
    async with connect(f"ws://{other.address}/ws", proxy=None) as client:
        await client.send('{"type":"subscribe","topic":"limited","client_id":"s1"}')
        await answer(client, "ack")
        await node.publish("limited", range(1, 4))
        await expect(client, range(1, 4))
        for path in ("/topics/limited", "/topics/limited/messages", "/topics/limited/subscribers", "/topics", "/stats"):
            await node.rest("GET", path)
        await node.rest("DELETE", "/topics/limited")
        assert (await answer(client, "info"))["msg"] == "topic_deleted"
    for one in (node, other):
        await one.stop()


async def has_both(node: Server, other: Server) -> bool:
    try:
        addresses = {one["address"] for one in (await node.rest("GET", "/nodes"))["nodes"]}
    except urllib.error.HTTPError:
        return False
    return {node.address, other.address} <= addresses


async def balancer_says_that_no_node_is_ready(balancer: Balancer, redis: Redis) -> None:
    async with balancer.connect() as client:
        await redis.stop()

        async def asks_to_wait() -> bool:
            status, headers, _ = await balancer.rest("GET", "/topics")
            assert status == 503 and int(headers["Retry-After"]) > 0, (status, headers)
            try:
                async with balancer.connect():
                    return False
            except InvalidStatus as refused:
                return refused.response.status_code == 503

        await until("no node gets new clients", asks_to_wait)
        # The connection that is there stays.
        await client.send('{"type":"ping"}')
        assert (await answer(client, "pong"))["type"] == "pong"
