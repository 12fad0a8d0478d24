"""A running proxy with TLS, and what a client must be able to do through it."""

import asyncio
import base64
import json
import ssl
import subprocess
from contextlib import asynccontextmanager
from pathlib import Path

from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from stage import DEADLINE_SECS, LONGEST_LINE_BYTES, Server, soon

HOST = "localhost"


def certificate(folder: Path) -> tuple[Path, Path]:
    public, key = folder / "certificate.pem", folder / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", f"/CN={HOST}"]
    command += ["-addext", f"subjectAltName=DNS:{HOST}", "-addext", "basicConstraints=critical,CA:FALSE", "-out", str(public), "-keyout", str(key)]
    subprocess.run(command, check=True, capture_output=True)
    return public, key


KEY = "s3cret"
# Every way to present a key.
CREDENTIALS = {
    "?token=" + KEY: {},
    "?": {"X-API-Key": KEY},
    "?x=1": {"Authorization": f"Bearer {KEY}"},
    "?x=2": {"Sec-WebSocket-Protocol": "threadcast.v1, bearer." + base64.urlsafe_b64encode(KEY.encode()).decode().rstrip("=")},
}


def assert_no_key(log: str) -> None:
    for secret in (KEY, base64.b64encode(KEY.encode()).decode().rstrip("=")):
        assert secret not in log, log


class Stream:
    """An event stream as `curl -N` prints it."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def line(self) -> str:
        line = await soon(self._process.stdout.readline())
        assert line, "the stream has ended"
        return line.decode().removesuffix("\n")

    async def next(self, name: str) -> dict:
        """The next event, which must have this name."""
        fields = {}
        while (line := await self.line()) or "data" not in fields:
            field, _, value = line.partition(": ")
            if field:
                fields[field] = value
        assert fields["event"] == name, fields
        return fields | {"data": json.loads(fields["data"])}

    async def ends(self) -> None:
        """Waits for an orderly end, after which curl reports no error."""
        await soon(self._process.stdout.read())
        assert await soon(self._process.wait()) == 0


class Proxy:
    """A proxy that serves `HOST` on its own port."""

    def __init__(self, port: int, public: Path) -> None:
        self.port = port
        self.public = public
        self.origin = f"https://{HOST}:{port}"
        self.trust = ssl.create_default_context(cafile=str(public))

    def connect(self, query: str = "", **options: object) -> connect:
        url = f"wss://{HOST}:{self.port}/ws{query}"
        return connect(url, host="127.0.0.1", port=self.port, ssl=self.trust, proxy=None, **options)

    @asynccontextmanager
    async def stream(self, path: str, *fields: str):
        command = ["curl", "--silent", "--no-buffer", "--fail", "--noproxy", "*", "--cacert", str(self.public)]
        command += ["--resolve", f"{HOST}:{self.port}:127.0.0.1", *(part for field in fields for part in ("-H", field))]
        url = f"https://{HOST}:{self.port}{path}"
        process = await asyncio.create_subprocess_exec(
            *command, url, stdout=asyncio.subprocess.PIPE, limit=LONGEST_LINE_BYTES
        )
        try:
            yield Stream(process)
        finally:
            if process.returncode is None:
                process.kill()
            await soon(process.wait())

    async def rest(self, method: str, path: str, body: object) -> str:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, ssl=self.trust, server_hostname=HOST)
        text = json.dumps(body)
        writer.write(
            f"{method} {path} HTTP/1.1\r\nHost: {HOST}:{self.port}\r\nOrigin: {self.origin}\r\n"
            f"Connection: close\r\nContent-Length: {len(text)}\r\n\r\n{text}".encode()
        )
        answer = (await soon(reader.read())).decode()
        writer.close()
        return answer

    @asynccontextmanager
    async def running(self, command: list[str]):
        process = await asyncio.create_subprocess_exec(*command)
        try:
            async with asyncio.timeout(DEADLINE_SECS):
                while not await self._takes_connections():
                    assert process.returncode is None, "the proxy ended"
                    await asyncio.sleep(0.05)
            yield
        finally:
            if process.returncode is None:
                process.terminate()
            await soon(process.wait())

    async def _takes_connections(self) -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            return False
        writer.close()
        return True


async def check_proxy(proxy: Proxy, server: Server, *, heartbeat_secs: float, silent_secs: float) -> None:
    await forwards_everything(proxy)
    await names_its_client(proxy)
    await takes_the_commands(proxy)
    await forwards_an_event_stream(proxy, heartbeat_secs, silent_secs)
    await keeps_a_silent_client(proxy, heartbeat_secs, silent_secs)
    await forwards_the_shutdown(proxy, server)
    await reports_that_the_server_is_down(proxy)


async def names_its_client(proxy: Proxy) -> None:
    """The peer has a port, the client that the proxy names has none."""
    connections = await proxy.rest("GET", "/connections", {})
    assert '"address":"127.0.0.1",' in connections, connections


async def takes_the_commands(proxy: Proxy) -> None:
    """Over REST and a WebSocket, with TLS."""
    server = ["--url", f"wss://{HOST}:{proxy.port}/ws", "--ca", str(proxy.public)]
    for command in (["topics", "list"], ["pub", "orders", "1"], ["sub", "orders", "--last", "1", "--count", "1"]):
        process = await asyncio.create_subprocess_exec(Server.program(), *command, *server, stdout=asyncio.subprocess.PIPE)
        out, _ = await soon(process.communicate())
        assert process.returncode == 0 and (command[0] == "pub" or b"orders" in out), (command, out)


async def forwards_everything(proxy: Proxy) -> None:
    created = await proxy.rest("POST", "/topics", {"name": "orders"})
    assert created.startswith("HTTP/1.1 201"), created
    # The page's own origin is accepted, because the proxy forwards Host unchanged; a foreign one is not.
    try:
        async with proxy.connect(origin="https://evil.example"):
            raise AssertionError("a foreign origin was let in")
    except InvalidStatus as refused:
        assert refused.response.status_code == 403, refused
        assert b"Origin" in refused.response.body, "the body of the problem is lost"
    async with proxy.connect("?token=" + KEY, origin=proxy.origin, subprotocols=["threadcast.v1"]) as client:
        assert client.subprotocol == "threadcast.v1"
        await client.send('{"type":"subscribe","topic":"orders","client_id":"s1"}')
        assert json.loads(await soon(client.recv()))["type"] == "ack"
        published = await proxy.rest("POST", "/topics/orders/messages", {"payload": "x" * 900_000})
        assert published.startswith("HTTP/1.1 201"), published
        while (frame := json.loads(await soon(client.recv())))["type"] != "event":
            pass
        assert frame["message"]["payload"] == "x" * 900_000


async def forwards_an_event_stream(proxy: Proxy, heartbeat_secs: float, silent_secs: float) -> None:
    """Each event at once, the id of a resume, and a silent stream for longer than the proxy's timeout."""
    path = "/topics/orders/events"
    async with proxy.stream(path) as stream:
        ack = await stream.next("ack")
        epoch = ack["data"]["epoch"]
        heartbeats = 0
        while heartbeats * heartbeat_secs < 2 * silent_secs:
            heartbeats += await stream.line() == ": heartbeat"
        for payload in (1, {"large": "x" * 300_000}, 3):
            published = await proxy.rest("POST", "/topics/orders/messages", {"payload": payload})
            assert published.startswith("HTTP/1.1 201"), published
            event = await stream.next("event")
            assert event["data"]["message"]["payload"] == payload
            assert event["id"] == f"{epoch}:{event['data']['seq']}"
    before = event["data"]["seq"] - 2
    async with proxy.stream(path, f"Last-Event-ID: {epoch}:{before}") as stream:
        assert (await stream.next("ack"))["data"]["recovered"] is True
        for seq in (before + 1, before + 2):
            assert (await stream.next("event"))["data"]["seq"] == seq


async def keeps_a_silent_client(proxy: Proxy, heartbeat_secs: float, silent_secs: float) -> None:
    """The server's heartbeat keeps a silent client connected for longer than the proxy's timeout."""
    async with proxy.connect(ping_interval=None) as client:
        pings = 0
        while pings * heartbeat_secs < 2 * silent_secs:
            assert json.loads(await soon(client.recv()))["msg"] == "ping"
            pings += 1


async def reports_that_the_server_is_down(proxy: Proxy) -> None:
    """Proxies log most about a failed request; no log may contain a key."""
    for query, headers in CREDENTIALS.items():
        try:
            async with proxy.connect(query, additional_headers=headers):
                raise AssertionError("the proxy accepted the connection")
        except InvalidStatus as refused:
            assert refused.response.status_code == 502, refused


async def forwards_the_shutdown(proxy: Proxy, server: Server) -> None:
    async with proxy.connect() as client, proxy.stream("/topics/orders/events") as stream:
        await stream.next("ack")
        await server.stop()
        assert (await stream.next("info"))["data"]["msg"] == "server_shutdown"
        await stream.ends()
        while json.loads(await soon(client.recv()))["msg"] != "server_shutdown":
            pass
        await soon(client.wait_closed())
        assert client.close_code == 1001, client.close_code
