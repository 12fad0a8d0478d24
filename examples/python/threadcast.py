# SPDX-License-Identifier: MIT OR Apache-2.0
"""A client of threadcast on asyncio: subscribing with resume, publishing with ack.

To use it, copy this file next to your program. Needs Python 3.11 or newer and the package websockets, 14.2 or newer.
"""

import asyncio
import itertools
import json
import logging
import random
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.protocol import State

# What went wrong for a time, and when the next attempt is made.
log = logging.getLogger("threadcast")

FIRST_PAUSE_SECS = 0.5
LONGEST_PAUSE_SECS = 30.0
# How long a publish waits for a connection.
PUBLISH_TIMEOUT_SECS = 30.0

# Ends of a connection after which coming back as we are would only end the same way.
WRONG_CLIENT_CODES = (1002, 1003, 1007, 1008, 1009)
# Answers to a request after which another try may succeed.
PASSING_ERRORS = ("SHUTTING_DOWN", "INTERNAL")
# Errors that answer nothing: a close code follows and tells what to do.
BEFORE_A_CLOSE = ("SLOW_CONSUMER", "UNAUTHORIZED")


class Stopped(Exception):
    """The client gives up. `code` says why: a close code, an HTTP status, an error code or a notice."""

    def __init__(self, code: int | str, text: str) -> None:
        super().__init__(f"{code}: {text}")
        self.code = code


class Refused(Exception):
    """The server answered a publish with an error."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(f"{code}: {text}")
        self.code = code


class Unacknowledged(Exception):
    """The connection broke before the ack: the message may have been taken or not. Sent again with the same id, a
    copy can be recognised by those who receive it."""

    def __init__(self, message_id: str) -> None:
        super().__init__(f"no ack for message {message_id}")
        self.message_id = message_id


class NotSent(Exception):
    """The message was not sent: there was no connection in time, or there will be none."""

    def __init__(self, message_id: str, why: str) -> None:
        super().__init__(f"message {message_id} was not sent: {why}")
        self.message_id = message_id


@dataclass(frozen=True)
class Position:
    """Where to resume. Store it together with the work that it stands for."""

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
    """Events that will not come. After `epoch_changed` there are no numbers: how many is not known."""

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
    """Yields the events of a topic, and every gap in the place of what is missing, for as long as it takes.

    Comes back by itself after a lost connection and resumes behind what was yielded last. Raises `Stopped` when that
    makes no sense: the topic was deleted, another subscriber took over, the key or the request is wrong.
    """
    books = _Books(topic, client_id or f"python-{uuid.uuid4()}", last_n, position)
    pauses = _Pauses()
    while True:
        try:
            async with _open(url, key) as socket:
                await socket.send(json.dumps(books.request()))
                while True:
                    entry = books.enter(json.loads(await socket.recv()))
                    pauses.reset()
                    if entry is not None:
                        yield entry
        except (_PassingError, ConnectionClosed, InvalidHandshake, OSError, EOFError) as failure:
            await pauses.wait(failure)


class Publisher:
    """Publishes over one connection, which is opened when it is needed and again after it was lost.

    Calls may overlap (`asyncio.gather`): the messages of one task go out in the order of its calls.
    """

    def __init__(self, url: str, key: str | None = None, timeout: float = PUBLISH_TIMEOUT_SECS) -> None:
        self._url = url
        self._key = key
        self._timeout = timeout
        self._is_closed = asyncio.Event()
        self._numbers = itertools.count(1)
        self._opening = asyncio.Lock()
        self._socket: ClientConnection | None = None
        self._answers: dict[str, asyncio.Future] = {}
        self._reader: asyncio.Task | None = None

    async def publish(self, topic: str, payload: Any, message_id: str | None = None) -> int:
        """Returns the number that the topic gave to the message. Raises `Refused`, `Unacknowledged`, `NotSent` or
        `Stopped`; `ValueError` for what JSON has no words for, such as NaN."""
        message_id = message_id or str(uuid.uuid4())
        request_id = str(next(self._numbers))
        message = {"id": message_id, "payload": payload}
        request = {"type": "publish", "topic": topic, "message": message, "request_id": request_id}
        text = json.dumps(request, allow_nan=False)
        socket, answers = await self._in_time(message_id)
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
        """For good: what waits is given up, and nothing is sent any more."""
        self._is_closed.set()
        if self._socket is not None:
            await self._socket.close()

    async def _in_time(self, message_id: str) -> tuple[ClientConnection, dict[str, asyncio.Future]]:
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
        why = "the publisher is closed" if self._is_closed.is_set() else "there was no connection in time"
        raise NotSent(message_id, why)

    async def _connected(self) -> tuple[ClientConnection, dict[str, asyncio.Future]]:
        async with self._opening:
            pauses = _Pauses()
            while self._socket is None or self._socket.state is not State.OPEN:
                # A message that was too large ended its connection; the next one may be smaller.
                if self._socket is not None and 4000 <= (self._socket.close_code or 0) <= 4099:
                    raise Stopped(self._socket.close_code, self._socket.close_reason or "")
                try:
                    self._socket = await _open(self._url, self._key)
                    self._answers = {}
                    self._reader = asyncio.create_task(_take_answers(self._socket, self._answers))
                except (InvalidHandshake, OSError, EOFError) as failure:
                    await pauses.wait(failure)
            return self._socket, self._answers


async def _take_answers(socket: ClientConnection, answers: dict[str, asyncio.Future]) -> None:
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


class _PassingError(Exception):
    """The subscribe was not done, and may be next time."""


class _Books:
    """What a subscription has had, and so where it goes on. Knows no socket."""

    def __init__(self, topic: str, client_id: str, last_n: int, position: Position | None) -> None:
        self._topic = topic
        self._client_id = client_id
        self._last_n = last_n
        self._seq = position.seq if position else None
        self._epoch = position.epoch if position else None
        # After a subscribe with `last_n`, or in a new epoch, the first number may be any.
        self._open_start = False
        # Of the last ack. It is ours only once the gap is told: a connection lost between the two changes nothing.
        self._acked_epoch: str | None = None

    def request(self) -> dict:
        start = {"last_n": self._last_n}
        if self._seq is not None:
            start = {"after_seq": self._seq, "epoch": self._epoch}
        return {"type": "subscribe", "topic": self._topic, "client_id": self._client_id, **start}

    def enter(self, frame: dict) -> Event | Gap | None:
        """One frame of the server; what of it is for the subscriber."""
        # A gap comes as an info or as an error, by its reason.
        if "gap" in frame:
            return self._enter_gap(frame["gap"])
        match frame["type"]:
            case "event":
                return self._enter_event(frame)
            case "ack":
                self._begin(frame)
            case "error":
                self._fail(frame["error"])
            case "info" if frame["msg"] in ("topic_deleted", "subscription_replaced"):
                raise Stopped(frame["msg"], f"the subscription to {self._topic} has ended")
        return None

    def _begin(self, ack: dict) -> None:
        self._acked_epoch = ack["epoch"]
        if self._seq is None:
            self._epoch = ack["epoch"]
            self._open_start = self._last_n > 0
            self._seq = max(ack["seq"] - self._last_n, 0)

    def _enter_event(self, frame: dict) -> Event:
        seq, message = frame["seq"], frame["message"]
        if seq != self._seq + 1 and not (self._open_start and seq > self._seq):
            raise Stopped("hole", f"event {seq} came after {self._seq}")
        self._go_to(seq)
        return Event(seq, message["id"], message["payload"], frame["ts"], self._position())

    def _enter_gap(self, gap: dict) -> Gap:
        if gap["reason"] == "epoch_changed":
            self._epoch, self._seq, self._open_start = self._acked_epoch, 0, True
        else:
            if gap["from_seq"] != self._seq + 1 and not self._open_start:
                raise Stopped("hole", f"a gap from {gap['from_seq']} came after {self._seq}")
            self._go_to(gap["to_seq"])
        numbers = (gap.get(name) for name in ("from_seq", "to_seq", "count"))
        return Gap(gap["reason"], *numbers, self._position())

    def _go_to(self, seq: int) -> None:
        self._seq, self._open_start = seq, False

    def _position(self) -> Position:
        return Position(self._seq, self._epoch)

    def _fail(self, error: dict) -> None:
        # A server that was restarted has no topics until someone creates them again.
        forgotten = error["code"] == "TOPIC_NOT_FOUND" and self._acked_epoch is not None
        if forgotten or error["code"] in PASSING_ERRORS:
            raise _PassingError(f"{error['code']}: {error['message']}")
        if error["code"] not in BEFORE_A_CLOSE:
            raise Stopped(error["code"], error["message"])


def _open(url: str, key: str | None) -> connect:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    # An event is larger than the message it carries: the server's limit is not the client's.
    return connect(url, additional_headers=headers, max_size=None, compression=None)


def _pause_wanted(failure: Exception) -> float | None:
    """How long the server asks to wait, if it does; raises `Stopped` when waiting does not help."""
    if isinstance(failure, ConnectionClosed) and failure.rcvd is not None:
        _stop_if_told(failure.rcvd.code, failure.rcvd.reason)
    if isinstance(failure, InvalidStatus):
        response = failure.response
        if response.status_code < 500 and response.status_code != 429:
            text = (response.body or b"").decode(errors="replace")
            raise Stopped(response.status_code, text) from failure
        after = response.headers.get("Retry-After", "")
        return float(after) if after.isdecimal() else None
    return None


def _stop_if_told(code: int, reason: str) -> None:
    if 4000 <= code <= 4099 or code in WRONG_CLIENT_CODES:
        raise Stopped(code, reason)


class _Pauses:
    """Pauses between attempts: twice as long each time, with a random part, so that clients do not come back at once."""

    def __init__(self) -> None:
        self._next = FIRST_PAUSE_SECS

    def reset(self) -> None:
        self._next = FIRST_PAUSE_SECS

    async def wait(self, failure: Exception) -> None:
        """Raises `Stopped` when waiting does not help."""
        pause = max(self._next * random.uniform(0.5, 1), _pause_wanted(failure) or 0)
        log.warning("%s; next attempt in %.1f s", str(failure) or type(failure).__name__, pause)
        await asyncio.sleep(pause)
        self._next = min(self._next * 2, LONGEST_PAUSE_SECS)
