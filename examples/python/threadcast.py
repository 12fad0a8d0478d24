# SPDX-License-Identifier: MIT OR Apache-2.0
"""An asyncio client for threadcast: subscribes with resume, publishes with acks.

Copy this file next to your program. Needs Python 3.11 or later and the package websockets 14.2 or later.
"""

import asyncio
import itertools
import json
import logging
import random
import time
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.protocol import State

# Logs temporary errors and the time of the next attempt.
log = logging.getLogger("threadcast")

FIRST_PAUSE_SECS = 0.5
MAX_PAUSE_SECS = 30.0
# To connect: for a round through all addresses, of which each has an equal share.
CONNECT_TIMEOUT_SECS = 10.0
# How long a publish waits for a connection.
PUBLISH_TIMEOUT_SECS = 30.0

# Close codes after which reconnecting unchanged cannot succeed.
WRONG_CLIENT_CODES = (1002, 1003, 1007, 1008, 1009)
# Error codes after which a retry may succeed.
TEMPORARY_ERRORS = ("SHUTTING_DOWN", "UNAVAILABLE", "INTERNAL")
# Errors without a request: a close code follows and decides.
ERRORS_BEFORE_CLOSE = ("SLOW_CONSUMER", "UNAUTHORIZED")


class Stopped(Exception):
    """The subscription has ended. `code` is a close code, an HTTP status, an error code or a notice."""

    def __init__(self, code: int | str, text: str) -> None:
        super().__init__(f"{code}: {text}")
        self.code = code


class Refused(Exception):
    """The server answered a publish with an error."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(f"{code}: {text}")
        self.code = code


class Unacknowledged(Exception):
    """The connection was lost before the ack: the message may or may not be published. Publish it again with the same
    id, so that subscribers can recognise a copy."""

    def __init__(self, message_id: str) -> None:
        super().__init__(f"no ack for message {message_id}")
        self.message_id = message_id


class NotSent(Exception):
    """The message was not sent: there was no connection in time, or the publisher is closed."""

    def __init__(self, message_id: str, reason: str) -> None:
        super().__init__(f"message {message_id} was not sent: {reason}")
        self.message_id = message_id


@dataclass(frozen=True)
class Position:
    """Where to resume. Store it together with the results of the work."""

    seq: int
    epoch: str


@dataclass(frozen=True)
class Event:
    seq: int
    id: str
    payload: Any
    ts: str
    position: Position


@dataclass(frozen=True)
class Gap:
    """A range of missing events. After `epoch_changed` the range is unknown."""

    reason: str
    from_seq: int | None
    to_seq: int | None
    count: int | None
    position: Position


async def subscribe(
    url: str,
    topic: str,
    client_id: str | None = None,
    *,
    key: str | None = None,
    last_n: int = 0,
    position: Position | None = None,
) -> AsyncIterator[Event | Gap]:
    """Yields the events of a topic, and every gap in its place.

    `url` may have the addresses of several servers of one cluster, separated by commas. Reconnects after a lost connection
    and resumes after the last yielded entry. Raises `Stopped` if that cannot succeed: the topic was deleted, another
    subscriber took over, the key or the request is invalid.
    """
    subscription = _Subscription(topic, client_id or f"python-{uuid.uuid4()}", last_n, position)
    servers = _Servers(url, key)
    while True:
        try:
            async with servers.open() as socket:
                await socket.send(json.dumps(subscription.request()))
                while True:
                    entry = subscription.handle(json.loads(await socket.recv()))
                    servers.note_answer()
                    if entry is not None:
                        yield entry
        except (_TemporaryError, ConnectionClosed, InvalidHandshake, OSError, EOFError) as error:
            await servers.wait(error)


class Publisher:
    """Publishes over one connection, opened with the first message and again after a loss.

    Calls may overlap (`asyncio.gather`): the messages of one task are sent in the order of its calls. `url` is as in
    `subscribe`.
    """

    def __init__(self, url: str, key: str | None = None, timeout: float = PUBLISH_TIMEOUT_SECS) -> None:
        self._servers = _Servers(url, key)
        self._timeout = timeout
        self._is_closed = asyncio.Event()
        self._numbers = itertools.count(1)
        self._opening = asyncio.Lock()
        self._socket: ClientConnection | None = None
        self._answers: dict[str, asyncio.Future] = {}
        self._reader: asyncio.Task | None = None

    async def publish(self, topic: str, payload: Any, message_id: str | None = None) -> int:
        """Returns the sequence number of the message. Raises `Refused`, `Unacknowledged`, `NotSent` or `Stopped`, and
        `ValueError` for values that JSON cannot represent, such as NaN."""
        message_id = message_id or str(uuid.uuid4())
        request_id = str(next(self._numbers))
        message = {"id": message_id, "payload": payload}
        request = {"type": "publish", "topic": topic, "message": message, "request_id": request_id}
        text = json.dumps(request, allow_nan=False)
        socket, answers = await self._connected_in_time(message_id)
        answer = answers[request_id] = asyncio.get_running_loop().create_future()
        try:
            await socket.send(text)
            frame = await answer
        except ConnectionClosed:
            frame = None
        finally:
            del answers[request_id]
        if frame is None:
            raise Unacknowledged(message_id)
        if frame["type"] == "error":
            raise Refused(frame["error"]["code"], frame["error"]["message"])
        return frame["seq"]

    async def close(self) -> None:
        """Closes permanently: pending messages fail, and nothing more is sent."""
        self._is_closed.set()
        if self._socket is not None:
            await self._socket.close()

    async def _connected_in_time(self, message_id: str) -> tuple[ClientConnection, dict[str, asyncio.Future]]:
        if not self._is_closed.is_set():
            connecting = asyncio.ensure_future(self._connected())
            closed = asyncio.ensure_future(self._is_closed.wait())
            try:
                await asyncio.wait({connecting, closed}, timeout=self._timeout, return_when=asyncio.FIRST_COMPLETED)
                if connecting.done():
                    return connecting.result()
            finally:
                connecting.cancel()
                closed.cancel()
        reason = "the publisher is closed" if self._is_closed.is_set() else "there was no connection in time"
        raise NotSent(message_id, reason)

    async def _connected(self) -> tuple[ClientConnection, dict[str, asyncio.Future]]:
        async with self._opening:
            if self._socket is not None and self._socket.state is not State.OPEN:
                # A message that was too large closed its connection; the next one may be smaller.
                if 4000 <= (self._socket.close_code or 0) <= 4099:
                    raise Stopped(self._socket.close_code, self._socket.close_reason or "")
                self._socket = None
                self._servers.next()
            while self._socket is None:
                try:
                    self._socket = await self._servers.open()
                    self._servers.note_answer()
                    self._answers = {}
                    self._reader = asyncio.create_task(_receive_answers(self._socket, self._answers))
                except (InvalidHandshake, OSError, EOFError) as error:
                    await self._servers.wait(error)
            return self._socket, self._answers


async def _receive_answers(socket: ClientConnection, answers: dict[str, asyncio.Future]) -> None:
    try:
        while True:
            frame = json.loads(await socket.recv())
            answer = answers.get(frame.get("request_id"))
            if answer is not None and not answer.done():
                answer.set_result(frame)
    except ConnectionClosed:
        for answer in answers.values():
            if not answer.done():
                answer.set_result(None)


class _TemporaryError(Exception):
    """The subscribe failed, but a retry may succeed."""


class _Subscription:
    """The position of a subscription, and the check of its numbers. Has no socket."""

    def __init__(self, topic: str, client_id: str, last_n: int, position: Position | None) -> None:
        self._topic = topic
        self._client_id = client_id
        self._last_n = last_n
        self._seq = position.seq if position else None
        self._epoch = position.epoch if position else None
        # After a subscribe with `last_n`, or in a new epoch, the first number may be any.
        self._open_start = False
        # From the last ack. Used only after its gap: if the connection is lost in between, nothing has changed.
        self._acked_epoch: str | None = None

    def request(self) -> dict:
        start = {"last_n": self._last_n}
        if self._seq is not None:
            start = {"after_seq": self._seq, "epoch": self._epoch}
        return {"type": "subscribe", "topic": self._topic, "client_id": self._client_id, **start}

    def handle(self, frame: dict) -> Event | Gap | None:
        """Handles one frame of the server; returns the entry for the subscriber, if any."""
        # A gap is an info or an error, depending on its reason.
        if "gap" in frame:
            return self._on_gap(frame["gap"], frame)
        match frame["type"]:
            case "event":
                return self._on_event(frame)
            case "ack":
                self._on_ack(frame)
            case "error":
                self._on_error(frame["error"])
            case "info" if frame["msg"] in ("topic_deleted", "subscription_replaced"):
                raise Stopped(frame["msg"], f"the subscription to {self._topic} has ended")
        return None

    def _on_ack(self, ack: dict) -> None:
        self._acked_epoch = ack["epoch"]
        if self._seq is None:
            self._epoch = ack["epoch"]
            self._open_start = self._last_n > 0
            self._seq = max(ack["seq"] - self._last_n, 0)

    def _on_event(self, frame: dict) -> Event:
        seq, message = frame["seq"], frame["message"]
        if seq != self._seq + 1 and not (self._open_start and seq > self._seq):
            raise Stopped("unexpected_seq", f"event {seq} after {self._seq}")
        self._advance(seq)
        return Event(seq, message["id"], message["payload"], frame["ts"], self._position())

    def _on_gap(self, gap: dict, frame: dict) -> Gap:
        if gap["reason"] == "epoch_changed" and "epoch" in frame:
            # On an open subscription: the frame has the new position.
            self._epoch, self._seq, self._open_start = frame["epoch"], frame["seq"], False
        elif gap["reason"] == "epoch_changed":
            self._epoch, self._seq, self._open_start = self._acked_epoch, 0, True
        else:
            if gap["from_seq"] != self._seq + 1 and not self._open_start:
                raise Stopped("unexpected_seq", f"a gap from {gap['from_seq']} after {self._seq}")
            self._advance(gap["to_seq"])
        numbers = (gap.get(name) for name in ("from_seq", "to_seq", "count"))
        return Gap(gap["reason"], *numbers, self._position())

    def _advance(self, seq: int) -> None:
        self._seq, self._open_start = seq, False

    def _position(self) -> Position:
        return Position(self._seq, self._epoch)

    def _on_error(self, error: dict) -> None:
        # A restarted server has no topics until they are created again.
        is_missing = error["code"] == "TOPIC_NOT_FOUND" and self._acked_epoch is not None
        if is_missing or error["code"] in TEMPORARY_ERRORS:
            raise _TemporaryError(f"{error['code']}: {error['message']}")
        if error["code"] not in ERRORS_BEFORE_CLOSE:
            raise Stopped(error["code"], error["message"])


def _retry_after(error: Exception) -> float | None:
    """The `Retry-After` of the server, if any; raises `Stopped` if a retry cannot succeed."""
    if isinstance(error, ConnectionClosed) and error.rcvd is not None:
        _stop_if_permanent(error.rcvd.code, error.rcvd.reason)
    if isinstance(error, InvalidStatus):
        response = error.response
        if response.status_code < 500 and response.status_code != 429:
            text = (response.body or b"").decode(errors="replace")
            raise Stopped(response.status_code, text) from error
        after = response.headers.get("Retry-After", "")
        return float(after) if after.isdecimal() else None
    return None


def _stop_if_permanent(code: int, reason: str) -> None:
    if 4000 <= code <= 4099 or code in WRONG_CLIENT_CODES:
        raise Stopped(code, reason)


class _Servers:
    """The addresses of the servers, tried in turn, and the pauses: one follows when each address has failed. They double
    and have a random part, so that clients do not reconnect at the same time."""

    def __init__(self, urls: str, key: str | None) -> None:
        self._urls = [url.strip() for url in urls.split(",")]
        self._key = key
        self._place = 0
        # Since the last pause.
        self._failed = 0
        self._retry_after = 0.0
        self._pause = FIRST_PAUSE_SECS
        self._answered_at: float | None = None

    def open(self) -> connect:
        """Connects to the address whose turn it is."""
        return connect(
            self._urls[self._place],
            additional_headers={"Authorization": f"Bearer {self._key}"} if self._key else {},
            open_timeout=CONNECT_TIMEOUT_SECS / len(self._urls),
            # An event is larger than its message, so the limit of the server does not apply.
            max_size=None,
            compression=None,
        )

    def note_answer(self) -> None:
        """The server answers."""
        self._pause = FIRST_PAUSE_SECS
        if self._answered_at is None:
            self._answered_at = time.monotonic()

    def next(self) -> None:
        """It is the turn of the next address."""
        self._place = (self._place + 1) % len(self._urls)
        answered_at, self._answered_at = self._answered_at, None
        # A connection that was open only briefly counts as a failed attempt.
        if answered_at is not None and time.monotonic() - answered_at > MAX_PAUSE_SECS:
            self._failed = 0

    async def wait(self, error: Exception) -> None:
        """Goes on to the next address. Raises `Stopped` if a retry cannot succeed."""
        self._retry_after = max(self._retry_after, _retry_after(error) or 0)
        self.next()
        self._failed += 1
        pause = 0.0 if self._failed < len(self._urls) else self._next_pause()
        log.warning("%s; next attempt in %.1f s", str(error) or type(error).__name__, pause)
        await asyncio.sleep(pause)

    def _next_pause(self) -> float:
        pause = max(self._pause * random.uniform(0.5, 1), self._retry_after)
        self._pause = min(self._pause * 2, MAX_PAUSE_SECS)
        self._failed, self._retry_after = 0, 0.0
        return pause
