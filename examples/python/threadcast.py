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
# How long a message is sent again, from its first sending: as long as the server remembers it.
IDEMPOTENCY_WINDOW_SECS = 120.0

# Close codes after which reconnecting unchanged cannot succeed.
WRONG_CLIENT_CODES = (1002, 1003, 1007, 1008, 1009)
# The close code for a message that is too large.
TOO_LARGE = 1009
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
    """No ack came, and the message cannot be sent again any more: there was no connection in time, the window has passed, or
    no server takes it. It may or may not be published."""

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
    topic: str


@dataclass(frozen=True)
class Gap:
    """A range of missing events. After `epoch_changed` the range is unknown."""

    reason: str
    from_seq: int | None
    to_seq: int | None
    count: int | None
    position: Position
    topic: str


@dataclass(frozen=True)
class TopicChange:
    """What has happened to a topic of a pattern. `change` is `joined`; `deleted`; `replaced`, when another subscriber with the
    same `client_id` has taken it over; or `not_joined`, when the server allows no more topics on this connection: then `topic` is
    `None` for several, and `count` says how many."""

    change: str
    topic: str | None
    position: Position | None = None
    count: int = 1


@dataclass(frozen=True)
class Presence:
    """Who is subscribed to a topic, by `client_id`: `subscribers` is all of them (of more than 1000, the first 1000 by name), else
    `None`, and `joined` and `left` are the changes since the entry before. `total` counts all of them."""

    total: int
    subscribers: list[str] | None
    joined: list[str]
    left: list[str]
    position: Position
    topic: str


class Subscribers:
    """Who is subscribed to one topic: `names` and `total`, after the last entry that was applied. Of more than 1000 subscribers, some
    names may be missing."""

    def __init__(self) -> None:
        self.total = 0
        self.names: set[str] = set()

    def apply(self, presence: Presence) -> None:
        self.total = presence.total
        if presence.subscribers is not None:
            self.names = set(presence.subscribers)
        self.names -= set(presence.left)
        self.names |= set(presence.joined)


async def subscribe(
    url: str,
    topic: str,
    client_id: str | None = None,
    *,
    key: str | None = None,
    last_n: int = 0,
    position: Position | None = None,
    wait_for_topic: bool = False,
    presence: bool = False,
) -> AsyncIterator[Event | Gap | Presence]:
    """Yields the events of a topic, and every gap in its place.

    `url` may have the addresses of several servers of one cluster, separated by commas. Reconnects after a lost connection
    and resumes after the last yielded entry. Raises `Stopped` if that cannot succeed: the topic was deleted, another
    subscriber took over, the key or the request is invalid. A topic that does not exist is one of these, unless
    `wait_for_topic`: then the subscription begins with its first event.

    With `presence` it also yields who is subscribed to the topic: all of them at the beginning and after each reconnect, then
    who came and left. `Subscribers` keeps the names.
    """
    subscription = _Subscription(topic, client_id, last_n, position, wait_for_topic, presence)
    async for entry in _follow(subscription, _Servers(url, key)):
        yield entry


async def subscribe_pattern(
    url: str,
    pattern: str,
    client_id: str | None = None,
    *,
    key: str | None = None,
    last_n: int = 0,
    positions: dict[str, Position] | None = None,
    presence: bool = False,
) -> AsyncIterator[Event | Gap | TopicChange | Presence]:
    """Yields the events and gaps of all topics that match a pattern such as `shop.*`, also of those that are created later, and
    what happens to the topics.

    As `subscribe`, but a topic that is deleted does not end it, nor one that another subscriber takes over while others are
    left. To resume in a new process, store the position of each entry under its topic, forget it when the topic is `deleted`, and
    pass all of them as `positions`: a topic without one is replayed from the beginning of its history.

    With `presence`, the list of each topic follows when it has `joined`; forget it when the topic is `deleted` or `replaced`.
    """
    subscription = _PatternSubscription(pattern, client_id, last_n, positions, presence)
    async for entry in _follow(subscription, _Servers(url, key)):
        yield entry


async def _follow(
    subscription: "_Subscription | _PatternSubscription", servers: "_Servers"
) -> AsyncIterator[Event | Gap | TopicChange | Presence]:
    while True:
        try:
            async with servers.open() as socket:
                await socket.send(json.dumps(subscription.request()))
                while True:
                    entries = subscription.handle(json.loads(await socket.recv()))
                    servers.note_answer()
                    for entry in entries:
                        yield entry
        except (_TemporaryError, ConnectionClosed, InvalidHandshake, OSError, EOFError) as error:
            await servers.wait(error)


class Publisher:
    """Publishes over one connection, opened with the first message and again after a loss. A message without an ack is then
    sent again, within `idempotency_window` seconds after its first sending: it is published once. The window must not be longer
    than that of the server.

    Calls may overlap (`asyncio.gather`): the messages of one task are sent in the order of its calls. `url` is as in
    `subscribe`.
    """

    def __init__(
        self,
        url: str,
        key: str | None = None,
        timeout: float = PUBLISH_TIMEOUT_SECS,
        idempotency_window: float = IDEMPOTENCY_WINDOW_SECS,
    ) -> None:
        self._servers = _Servers(url, key)
        self._timeout = timeout
        self._window = idempotency_window
        self._is_closed = asyncio.Event()
        self._numbers = itertools.count(1)
        self._opening = asyncio.Lock()
        self._socket: ClientConnection | None = None
        # Whether the connection has given an answer; without one it counts as a failed attempt.
        self._has_answered = False
        # By request id, in the order in which they were sent.
        self._pending: dict[str, _Pending] = {}
        self._reader: asyncio.Task | None = None
        self._resending: asyncio.Task | None = None

    async def publish(self, topic: str, payload: Any, message_id: str | None = None) -> int:
        """Returns the sequence number of the message. Raises `Refused`, `Unacknowledged`, `NotSent` or `Stopped`, and
        `ValueError` for values that JSON cannot represent, such as NaN. A message with the id of an earlier one is not
        published again, and has its number."""
        message_id = message_id or str(uuid.uuid4())
        request_id = str(next(self._numbers))
        message = {"id": message_id, "payload": payload}
        request = {"type": "publish", "topic": topic, "message": message, "idempotent": True, "request_id": request_id}
        text = json.dumps(request, allow_nan=False)
        socket = await self._connected_in_time(message_id)
        pending = self._pending[request_id] = _Pending(message_id, text)
        try:
            await self._send(pending, socket)
            return await pending.answer
        finally:
            del self._pending[request_id]

    async def close(self) -> None:
        """Closes permanently: pending messages fail, and nothing more is sent."""
        self._is_closed.set()
        if self._socket is not None:
            await self._socket.close()

    async def _connected_in_time(self, message_id: str) -> ClientConnection:
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

    async def _connected(self) -> ClientConnection:
        """The open connection, or a new one, over which all messages without an answer were sent again."""
        async with self._opening:
            if self._socket is not None and self._socket.state is not State.OPEN:
                # A message that was too large closed its connection; the next one may be smaller.
                if 4000 <= (self._socket.close_code or 0) <= 4099:
                    raise Stopped(self._socket.close_code, self._socket.close_reason or "")
                self._socket = None
                if self._has_answered:
                    self._servers.next()
                else:
                    await self._servers.wait(_TemporaryError("the connection was lost before an answer"))
            while self._socket is None:
                try:
                    self._socket = await self._servers.open()
                    self._has_answered = False
                    self._reader = asyncio.create_task(self._receive_answers(self._socket))
                except (InvalidHandshake, OSError, EOFError) as error:
                    await self._servers.wait(error)
            for pending in [pending for pending in self._pending.values() if pending.is_lost()]:
                if pending.age() >= self._window:
                    pending.give_up()
                else:
                    pending.is_resent = True
                    await self._send(pending, self._socket)
            return self._socket

    async def _send(self, pending: "_Pending", socket: ClientConnection) -> None:
        pending.socket = socket
        try:
            await socket.send(pending.text)
        except ConnectionClosed:
            self._resend()

    def _resend(self) -> None:
        """Makes sure that a task sends what was lost again."""
        if self._resending is None or self._resending.done():
            self._resending = asyncio.create_task(self._resend_lost())

    async def _resend_lost(self) -> None:
        while lost := [pending for pending in self._pending.values() if pending.is_lost()]:
            try:
                await self._connected_in_time("")
            except (NotSent, Stopped):
                for pending in lost:
                    pending.give_up()

    async def _receive_answers(self, socket: ClientConnection) -> None:
        try:
            while True:
                frame = json.loads(await socket.recv())
                pending = self._pending.get(frame.get("request_id"))
                if pending is not None and not pending.answer.done() and not self._on_answer(pending, frame):
                    await socket.close()
        except ConnectionClosed:
            self._on_loss(socket)

    def _on_answer(self, pending: "_Pending", frame: dict) -> bool:
        """Returns `False` if the message must be sent over another connection."""
        is_error = frame["type"] == "error"
        if is_error and pending.is_resent and frame["error"]["code"] in TEMPORARY_ERRORS:
            # Nobody knows yet whether it is published.
            self._has_answered = False
            return False
        self._has_answered = True
        self._servers.note_answer()
        if is_error and not pending.is_resent:
            pending.answer.set_exception(Refused(frame["error"]["code"], frame["error"]["message"]))
        elif is_error or pending.is_resent and not frame.get("duplicate") and pending.age() >= self._window:
            pending.give_up()
        else:
            pending.answer.set_result(frame["seq"])
        return True

    def _on_loss(self, socket: ClientConnection) -> None:
        code = socket.close_code or 0
        waiting = [pending for pending in self._pending.values() if pending.socket is socket and pending.is_lost()]
        is_permanent = 4000 <= code <= 4099 or code in WRONG_CLIENT_CODES
        if code == TOO_LARGE:
            # The server answers in order: it was the first without an answer, and those after it were not read.
            for pending in waiting[:1]:
                pending.answer.set_exception(Refused("PAYLOAD_TOO_LARGE", "the message is larger than the server accepts"))
        elif is_permanent or self._is_closed.is_set():
            for pending in waiting:
                pending.give_up()
        self._resend()


class _Pending:
    """A message without an answer."""

    def __init__(self, message_id: str, text: str) -> None:
        self.message_id = message_id
        self.text = text
        self.answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        # Over which it was sent last.
        self.socket: ClientConnection | None = None
        self.is_resent = False
        self._first_sent = time.monotonic()

    def age(self) -> float:
        return time.monotonic() - self._first_sent

    def is_lost(self) -> bool:
        """Whether no answer can come over the connection of the last sending."""
        return not self.answer.done() and self.socket is not None and self.socket.state is not State.OPEN

    def give_up(self) -> None:
        if not self.answer.done():
            self.answer.set_exception(Unacknowledged(self.message_id))


class _TemporaryError(Exception):
    """The subscribe failed, but a retry may succeed."""


class _Cursor:
    """The position in one topic, and the check of its numbers."""

    def __init__(self, topic: str, position: Position | None = None) -> None:
        self._topic = topic
        self._seq = position.seq if position else None
        self._epoch = position.epoch if position else None
        # After a subscribe with `last_n`, or in a new epoch, the first number may be any.
        self._open_start = False
        # From the last ack. Used only after its gap: if the connection is lost in between, nothing has changed.
        self._acked_epoch: str | None = None

    def position(self) -> Position | None:
        return None if self._seq is None else Position(self._seq, self._epoch)

    def on_ack(self, ack: dict, last_n: int | None) -> None:
        """Without a position, the newest `last_n` events were requested; `None` is all of them."""
        self._acked_epoch = ack["epoch"]
        if self._seq is None:
            self._epoch = ack["epoch"]
            self._open_start = bool(last_n)
            self._seq = 0 if last_n is None else max(ack["seq"] - last_n, 0)

    def on_event(self, frame: dict) -> Event:
        seq, message = frame["seq"], frame["message"]
        if seq != self._seq + 1 and not (self._open_start and seq > self._seq):
            raise Stopped("unexpected_seq", f"event {seq} of {self._topic} after {self._seq}")
        self._advance(seq)
        return Event(seq, message["id"], message["payload"], frame["ts"], self.position(), self._topic)

    def on_gap(self, frame: dict) -> Gap:
        gap = frame["gap"]
        if gap["reason"] == "epoch_changed" and "epoch" in frame:
            # On an open subscription: the frame has the new position.
            self._epoch, self._seq, self._open_start = frame["epoch"], frame["seq"], False
        elif gap["reason"] == "epoch_changed":
            self._epoch, self._seq, self._open_start = self._acked_epoch, 0, True
        else:
            if gap["from_seq"] != self._seq + 1 and not self._open_start:
                raise Stopped("unexpected_seq", f"a gap from {gap['from_seq']} of {self._topic} after {self._seq}")
            self._advance(gap["to_seq"])
        numbers = (gap.get(name) for name in ("from_seq", "to_seq", "count"))
        return Gap(gap["reason"], *numbers, self.position(), self._topic)

    def on_presence(self, frame: dict) -> Presence:
        joined, left = frame.get("joined", []), frame.get("left", [])
        return Presence(frame["total"], frame.get("subscribers"), joined, left, self.position(), self._topic)

    def _advance(self, seq: int) -> None:
        self._seq, self._open_start = seq, False


class _Subscription:
    """A subscription to one topic. Has no socket."""

    def __init__(
        self,
        topic: str,
        client_id: str | None,
        last_n: int,
        position: Position | None,
        wait_for_topic: bool,
        presence: bool,
    ) -> None:
        self._wait_for_topic = wait_for_topic
        # The topic did not exist: all its events are new.
        self._was_missing = False
        self._was_acked = False
        self._topic = topic
        self._subscriber = _subscriber(client_id, presence)
        self._last_n = last_n
        self._cursor = _Cursor(topic, position)

    def request(self) -> dict:
        start = {"after_seq": 0} if self._was_missing else {"last_n": self._last_n}
        position = self._cursor.position()
        if position is not None:
            start = {"after_seq": position.seq, "epoch": position.epoch}
        return {"type": "subscribe", "topic": self._topic, **self._subscriber, **start}

    def handle(self, frame: dict) -> list[Event | Gap | Presence]:
        """Handles one frame of the server; returns the entries for the subscriber."""
        # A gap is an info or an error, depending on its reason.
        if "gap" in frame:
            return [self._cursor.on_gap(frame)]
        match frame["type"]:
            case "event":
                return [self._cursor.on_event(frame)]
            case "ack":
                self._was_acked = True
                self._cursor.on_ack(frame, None if self._was_missing else self._last_n)
            case "error":
                # A restarted server has no topics until they are created again.
                may_be_missing = self._was_acked or self._wait_for_topic
                is_missing = frame["error"]["code"] == "TOPIC_NOT_FOUND" and may_be_missing
                self._was_missing = self._was_missing or is_missing
                _raise_error(frame["error"], is_missing)
            case "info" if frame["msg"] == "presence":
                return [self._cursor.on_presence(frame)]
            case "info" if frame["msg"] in ("topic_deleted", "subscription_replaced"):
                raise Stopped(frame["msg"], f"the subscription to {self._topic} has ended")
        return []


class _PatternSubscription:
    """A subscription to all topics that match a pattern. Has no socket."""

    def __init__(
        self,
        pattern: str,
        client_id: str | None,
        last_n: int,
        positions: dict[str, Position] | None,
        presence: bool,
    ) -> None:
        self._pattern = pattern
        self._subscriber = _subscriber(client_id, presence)
        self._last_n = last_n
        # After the first ack it resumes by positions: what has no position is then replayed from its beginning.
        self._resumes = positions is not None
        self._cursors = {topic: _Cursor(topic, position) for topic, position in (positions or {}).items()}
        # The topics whose events the server sends on this connection.
        self._live: set[str] = set()

    def request(self) -> dict:
        self._live.clear()
        start: dict = {"last_n": self._last_n}
        if self._resumes:
            positions = {topic: cursor.position() for topic, cursor in self._cursors.items()}
            start = {"positions": {topic: vars(position) for topic, position in positions.items()}}
        return {"type": "subscribe", "topic": self._pattern, **self._subscriber, **start}

    def handle(self, frame: dict) -> list[Event | Gap | TopicChange | Presence]:
        """As that of `_Subscription`."""
        if "gap" in frame:
            return [self._live_cursor(frame).on_gap(frame)]
        match frame["type"]:
            case "event":
                return [self._live_cursor(frame).on_event(frame)]
            case "ack":
                self._resumes = True
            case "error" if "pattern" in frame:
                return [TopicChange("not_joined", frame.get("topic"), count=frame.get("count", 1))]
            case "error":
                _raise_error(frame["error"])
            case "info" if frame["msg"] == "subscribed":
                return self._on_subscribed(frame)
            case "info" if frame["msg"] == "presence":
                return [self._live_cursor(frame).on_presence(frame)]
            case "info" if frame["msg"] == "topic_deleted":
                return self._forget(frame["topic"])
            case "info" if frame["msg"] == "subscription_replaced":
                return self._on_replaced(frame["topic"])
        return []

    def _live_cursor(self, frame: dict) -> _Cursor:
        if frame["topic"] not in self._live:
            raise Stopped("unexpected_topic", f"{frame['topic']} has not joined")
        return self._cursors[frame["topic"]]

    def _on_subscribed(self, notice: dict) -> list[TopicChange]:
        topic, is_resume = notice["topic"], "recovered" in notice
        # Without `recovered`, a topic with a position was deleted and created again before it joined.
        changes = [] if is_resume else self._forget(topic)
        self._live.add(topic)
        if topic not in self._cursors:
            cursor = self._cursors[topic] = _Cursor(topic)
            cursor.on_ack(notice, None if is_resume else self._last_n)
            changes.append(TopicChange("joined", topic, cursor.position()))
        else:
            self._cursors[topic].on_ack(notice, self._last_n)
        return changes

    def _forget(self, topic: str) -> list[TopicChange]:
        self._live.discard(topic)
        return [TopicChange("deleted", topic)] if self._cursors.pop(topic, None) else []

    def _on_replaced(self, topic: str) -> list[TopicChange]:
        self._live.discard(topic)
        if not self._live:
            raise Stopped("subscription_replaced", f"the subscription to {self._pattern} has ended")
        return [TopicChange("replaced", topic)]


def _subscriber(client_id: str | None, presence: bool) -> dict:
    # Absent, not false, for servers that are older than presence.
    return {"client_id": client_id or f"python-{uuid.uuid4()}"} | ({"presence": True} if presence else {})


def _raise_error(error: dict, is_temporary: bool = False) -> None:
    if is_temporary or error["code"] in TEMPORARY_ERRORS:
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
