"""The fixtures of the checks: the real server, a server with a script, a proxy that can be cut, and client programs.

Nothing sleeps: every wait is for a line, a connection or a response, with a deadline."""

import asyncio
import json
import os
import re
import signal
import socket
import tempfile
import urllib.request
from pathlib import Path

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

ROOT = Path(__file__).resolve().parents[2]
DEADLINE_SECS = 30
LONGEST_LINE_BYTES = 4 << 20


async def soon(waitable):
    return await asyncio.wait_for(waitable, DEADLINE_SECS)


class Server:
    """The built server on a free port."""

    running: set[asyncio.subprocess.Process] = set()

    def __init__(self, process: asyncio.subprocess.Process, address: str) -> None:
        self.process = process
        self.address = address

    @staticmethod
    def program() -> str:
        return str(Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "debug" / "threadcast")

    @classmethod
    async def start(cls, **settings: str) -> "Server":
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PUBSUB_")}
        process = await asyncio.create_subprocess_exec(
            cls.program(),
            env=environment | {"PUBSUB_PORT": "0", "PUBSUB_LOG_LEVEL": "ERROR"} | settings,
            stdout=asyncio.subprocess.PIPE,
        )
        cls.running.add(process)
        line = (await soon(process.stdout.readline())).decode()
        return cls(process, re.fullmatch(r"listening on http://(\S+)\n", line)[1])

    async def rest(self, method: str, path: str, body: object = None, key: str | None = None) -> dict:
        headers = {"X-API-Key": key} if key else {}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://{self.address}{path}", data, headers, method=method)

        def ask() -> dict:
            with urllib.request.urlopen(request, timeout=DEADLINE_SECS) as answer:
                return json.load(answer)

        return await asyncio.to_thread(ask)

    async def publish(self, topic: str, payloads) -> None:
        for payload in payloads:
            await self.rest("POST", f"/topics/{topic}/messages", {"payload": payload})

    def reload_keys(self) -> None:
        self.process.send_signal(signal.SIGHUP)

    async def stop(self) -> None:
        self.process.terminate()
        assert await soon(self.process.wait()) == 0
        self.running.remove(self.process)

    @classmethod
    async def kill_all(cls) -> None:
        """Ends all servers after a failed check."""
        for process in cls.running:
            process.kill()
            await process.wait()


class ScriptedServer:
    """Answers the first request of each connection with the frames of a script, and closes it; the last one stays open."""

    def __init__(self, scripts: list[list[dict]]) -> None:
        self._scripts = iter(scripts)
        self._left = len(scripts)
        self._requests: asyncio.Queue[dict] = asyncio.Queue()

    @classmethod
    async def start(cls, *scripts: list[dict]) -> "ScriptedServer":
        server = cls(list(scripts))
        server._listener = await serve(server._play, "127.0.0.1", 0)
        return server

    @property
    def url(self) -> str:
        return "ws://%s:%d/ws" % self._listener.sockets[0].getsockname()

    async def request(self) -> dict:
        """The next first request of a connection."""
        return await soon(self._requests.get())

    async def close(self) -> None:
        self._listener.close()
        await soon(self._listener.wait_closed())

    async def _play(self, socket: ServerConnection) -> None:
        try:
            request = json.loads(await socket.recv())
            self._requests.put_nowait(request)
            self._left -= 1
            for frame in next(self._scripts, []):
                await socket.send(json.dumps(frame | {"ts": "2026-01-01T00:00:00.000000Z"}))
            if self._left <= 0:
                await socket.wait_closed()
        except ConnectionClosed:
            pass


class Proxy:
    """A port that stays while servers are restarted behind it. While cut, it closes all connections and accepts none."""

    def __init__(self) -> None:
        self.server: Server | None = None
        self.is_cut = False
        self.accepted = 0
        self._refused = asyncio.Event()
        self._flows = asyncio.Event()
        self._flows.set()
        self._writers: set[asyncio.StreamWriter] = set()

    @classmethod
    async def start(cls, server: Server) -> "Proxy":
        proxy = cls()
        proxy.server = server
        proxy._listener = await asyncio.start_server(proxy._forward, "127.0.0.1", 0)
        return proxy

    @property
    def url(self) -> str:
        return "ws://%s:%d/ws" % self._listener.sockets[0].getsockname()

    def cut(self) -> None:
        self.is_cut = True
        self._refused.clear()
        for writer in list(self._writers):
            writer.transport.abort()

    async def refused(self) -> None:
        """Waits until a client has failed to reconnect."""
        await soon(self._refused.wait())

    def mend(self) -> None:
        self.is_cut = False
        self.flow()

    def stall(self) -> None:
        """Stops reading from the server."""
        self._flows.clear()

    def flow(self) -> None:
        self._flows.set()

    async def close(self) -> None:
        self.cut()
        self._listener.close()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.is_cut:
            writer.transport.abort()
            self._refused.set()
            return
        self.accepted += 1
        host, port = self.server.address.rsplit(":", 1)
        plug = socket.socket()
        # Small, so that a stalled proxy soon blocks the server.
        plug.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 << 10)
        try:
            plug.connect((host, int(port)))
        except OSError:
            plug.close()
            writer.transport.abort()
            return
        from_server, to_server = await asyncio.open_connection(sock=plug)
        self._writers |= {writer, to_server}
        always = asyncio.Event()
        always.set()
        await asyncio.gather(_pump(reader, to_server, always), _pump(from_server, writer, self._flows))
        self._writers -= {writer, to_server}


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, flows: asyncio.Event) -> None:
    try:
        while chunk := await reader.read(65536):
            await flows.wait()
            writer.write(chunk)
            await writer.drain()
        writer.write_eof()
    except OSError:
        writer.transport.abort()


class Client:
    """A client program: JSON lines in, JSON lines out. Leaving the context kills it."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls, command: list[str], url: str, **options: object) -> "Client":
        return cls(
            await asyncio.create_subprocess_exec(
                *command,
                url,
                json.dumps(options),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                limit=LONGEST_LINE_BYTES,
            )
        )

    async def __aenter__(self) -> "Client":
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    async def line(self) -> dict:
        text = await soon(self._process.stdout.readline())
        assert text, "the client ended"
        return json.loads(text)

    async def ask(self, question: object) -> dict:
        self._process.stdin.write(json.dumps(question).encode() + b"\n")
        return await self.line()

    async def events(self, seqs) -> None:
        """Expects exactly these events."""
        for seq in seqs:
            line = await self.line()
            assert line.get("event") == seq, f"event {seq} was next: {line}"

    async def gap(self, **gap: object) -> dict:
        """Expects this gap; returns its position."""
        line = await self.line()
        assert line.get("gap") == {"from_seq": None, "to_seq": None} | gap, f"{gap} was next: {line}"
        return line["position"]

    async def stopped(self, code: int | str) -> None:
        """Expects this stop, and the end of the process."""
        line = await self.line()
        assert line == {"stop": code}, f"an end with {code} was next: {line}"
        assert await soon(self._process.stdout.read()) == b""
        assert await soon(self._process.wait()) == 0


def keys_file(entries: str) -> Path:
    with tempfile.NamedTemporaryFile("w", suffix=".toml", delete=False) as file:
        file.write(entries)
    return Path(file.name)
