"""Tests the Python and the JavaScript client with the same scenarios: cut connections, restarted servers, servers of a
cluster. Run by `tests/clients/run`."""

import asyncio
import contextlib
import hashlib
import logging
import os
import random
import re
import shutil
import sys
import tempfile
import urllib.error
import uuid
from pathlib import Path

from stage import ROOT, Client, Proxy, ScriptedServer, Server, keys_file, soon
from threadcast import Publisher, subscribe

HERE = ROOT / "tests" / "clients"
NODE = ["node", "--import", str(HERE / "websocket.mjs")]
LANGUAGES = {
    "python": ([sys.executable, str(HERE / "subscriber.py")], [sys.executable, str(HERE / "publisher.py")]),
    "javascript": ([*NODE, str(HERE / "subscriber.mjs")], [*NODE, str(HERE / "publisher.mjs")]),
}
TOPIC = "orders"


async def subscribed(server: Server, count: int = 1) -> None:
    """Waits until the topic has `count` subscribers."""
    async with asyncio.timeout(30):
        while (await server.rest("GET", f"/topics/{TOPIC}"))["subscribers"] != count:
            await asyncio.sleep(0.01)


async def resumes_exactly(subscriber, _publisher) -> None:
    server = await Server.start()
    await server.rest("POST", "/topics", {"name": TOPIC, "history_size": 100})
    proxy = await Proxy.start(server)
    await server.publish(TOPIC, range(1, 6))
    async with await Client.start(subscriber, proxy.url, topic=TOPIC, client_id="s1", last_n=3) as client:
        await client.events(range(3, 6))
        await server.publish(TOPIC, range(6, 21))
        await client.events(range(6, 21))

        # Disconnected for less than the history: no event is missing or repeated.
        proxy.cut()
        await server.publish(TOPIC, range(21, 31))
        await proxy.refused()
        proxy.mend()
        await client.events(range(21, 31))

        # Disconnected for longer: an exact gap, then the rest.
        proxy.cut()
        await server.publish(TOPIC, range(31, 181))
        proxy.mend()
        await client.gap(reason="history_evicted", from_seq=31, to_seq=80)
        await client.events(range(81, 181))

        # The server is restarted, and the topic is created again later.
        await server.stop()
        server = proxy.server = await Server.start()
        before = proxy.accepted
        async with asyncio.timeout(30):
            while proxy.accepted == before:
                await asyncio.sleep(0.01)
        await server.rest("POST", "/topics", {"name": TOPIC})
        await server.publish(TOPIC, range(1, 4))
        await client.gap(reason="epoch_changed")
        await client.events(range(1, 4))
        await server.publish(TOPIC, [{"text": "naïve ☃", "numbers": [0, -1.5, None, True]}])
        line = await client.line()
        assert line["payload"] == {"text": "naïve ☃", "numbers": [0, -1.5, None, True]}, line
        position = line["position"]
    await subscribed(server, 0)

    # A new process resumes where the old one stopped.
    await server.publish(TOPIC, range(5, 8))
    async with await Client.start(subscriber, proxy.url, topic=TOPIC, client_id="s1", position=position) as client:
        await client.events(range(5, 8))
    await proxy.close()
    await server.stop()


async def waits_for_a_topic_that_does_not_exist_yet(subscriber, _publisher) -> None:
    server = await Server.start()
    proxy = await Proxy.start(server)
    waiting = {"topic": TOPIC, "client_id": "s1", "last_n": 2, "wait_for_topic": True}
    async with await Client.start(subscriber, proxy.url, **waiting) as client:
        before = proxy.accepted
        async with asyncio.timeout(30):
            while proxy.accepted < before + 2:
                await asyncio.sleep(0.01)
        await server.rest("POST", "/topics", {"name": TOPIC})
        # Most of them before the subscription has noticed the topic.
        await server.publish(TOPIC, range(1, 8))
        await client.events(range(1, 8))
        await server.rest("DELETE", f"/topics/{TOPIC}")
        await client.stopped("topic_deleted")
    await proxy.close()
    await server.stop()


async def stops_after_permanent_errors(subscriber, _publisher) -> None:
    server = await Server.start()
    await server.rest("POST", "/topics", {"name": TOPIC})
    proxy = await Proxy.start(server)
    async with await Client.start(subscriber, proxy.url, topic="nowhere", client_id="s1") as client:
        await client.stopped("TOPIC_NOT_FOUND")
    async with await Client.start(subscriber, proxy.url, topic=TOPIC, client_id="s1") as older:
        await subscribed(server)
        async with await Client.start(subscriber, proxy.url, topic=TOPIC, client_id="s1") as newer:
            await older.stopped("subscription_replaced")
            await server.publish(TOPIC, [1])
            await newer.events([1])
            await server.rest("DELETE", f"/topics/{TOPIC}")
            await newer.stopped("topic_deleted")
    await proxy.close()
    await server.stop()


async def reconnects_after_4100(subscriber, _publisher) -> None:
    """A subscriber that is closed for being slow resumes, and receives everything in the end."""
    server = await Server.start(PUBSUB_SEND_BUFFER_BYTES="1", PUBSUB_WRITE_TIMEOUT_SECS="0.3")
    await server.rest("POST", "/topics", {"name": TOPIC, "history_size": 1000})
    proxy = await Proxy.start(server)
    async with await Client.start(subscriber, proxy.url, topic=TOPIC, client_id="s1") as client:
        await subscribed(server)
        before = proxy.accepted
        proxy.stall()
        large = "x" * 500_000
        publishing = asyncio.create_task(server.publish(TOPIC, [large] * 12))
        await subscribed(server, 0)
        proxy.flow()
        await soon(publishing)
        await client.events(range(1, 13))
        assert proxy.accepted > before
    await proxy.close()
    await server.stop()


async def sends_its_key(subscriber, publisher) -> None:
    def entry(name: str, secret: str, rights: str) -> str:
        return f'[[key]]\nname = "{name}"\nsha256 = "{hashlib.sha256(secret.encode()).hexdigest()}"\n{rights}\n'

    admin = entry("admin", "root-secret", 'admin = true\nsubscribe = ["*"]')
    reader = entry("reader", "reader+/~secret", f'subscribe = ["{TOPIC}"]\npublish = ["{TOPIC}"]')
    keys = keys_file(admin + reader)
    try:
        server = await Server.start(PUBSUB_KEYS_FILE=str(keys))
        for topic in (TOPIC, "private"):
            await server.rest("POST", "/topics", {"name": topic}, key="root-secret")
        proxy = await Proxy.start(server)
        mine = {"client_id": "s1", "key": "reader+/~secret"}
        async with await Client.start(subscriber, proxy.url, topic="private", **mine) as client:
            await client.stopped("FORBIDDEN")
        async with await Client.start(publisher, proxy.url, key="reader+/~secret") as writer:
            assert await writer.ask([TOPIC, 1]) == {"seq": 1}
            assert await writer.ask(["private", 1]) == {"refused": "FORBIDDEN"}
        async with await Client.start(subscriber, proxy.url, topic=TOPIC, last_n=1, **mine) as client:
            await client.events([1])
            keys.write_text(admin)
            server.reload_keys()
            await client.stopped(4001)
        await proxy.close()
        await server.stop()
    finally:
        keys.unlink()


async def publishes_with_acks(_subscriber, publisher) -> None:
    server = await Server.start()
    await server.rest("POST", "/topics", {"name": TOPIC})
    proxy = await Proxy.start(server)
    async with await Client.start(publisher, proxy.url) as client:
        assert await client.ask([TOPIC, {"text": "naïve ☃"}]) == {"seq": 1}
        assert await client.ask(["nowhere", 1]) == {"refused": "TOPIC_NOT_FOUND"}
        assert await client.ask([TOPIC, None]) == {"seq": 2}

        # The message is published, but its ack is lost.
        proxy.stall()
        answer = asyncio.create_task(client.ask([TOPIC, "taken"]))
        async with asyncio.timeout(30):
            while (await server.rest("GET", f"/topics/{TOPIC}"))["seq"] != 3:
                await asyncio.sleep(0.01)
        proxy.cut()
        await proxy.refused()
        proxy.mend()
        assert await answer == {"seq": 3}
        # The same id again is not published again, in whatever form.
        message_id = str(uuid.uuid4())
        assert await client.ask([TOPIC, "mine", message_id]) == {"seq": 4}
        assert await client.ask([TOPIC, "mine", message_id.upper()]) == {"seq": 4}
    history = (await server.rest("GET", f"/topics/{TOPIC}/messages"))["events"]
    assert [event["message"]["payload"] for event in history] == [{"text": "naïve ☃"}, None, "taken", "mine"]
    await proxy.close()
    await server.stop()


async def publishes_each_message_once_while_connections_are_killed(_subscriber, publisher) -> None:
    """Eight publishers go on until 20 connections were killed: their server closes them, and the network cuts them."""
    publishers, batch, enough = 8, 10, 20
    server = await Server.start()
    await server.rest("POST", "/topics", {"name": TOPIC, "history_size": 1_000_000})
    proxy = await Proxy.start(server)
    kills = 0

    async def publish(number: int) -> list[dict]:
        receipts = []
        async with await Client.start(publisher, proxy.url) as client:
            while kills < enough:
                some = range(len(receipts), len(receipts) + batch)
                receipts += await client.ask([[TOPIC, f"{number}-{one}"] for one in some])
        return receipts

    publishing = asyncio.gather(*(publish(number) for number in range(publishers)))
    async with asyncio.timeout(120):
        while not publishing.done():
            connections = (await server.rest("GET", "/connections"))["connections"]
            open_ones = [one["id"] for one in connections if one["protocol"] == "websocket"]
            if random.random() < 0.2:
                proxy.cut()
                proxy.mend()
            for one in random.sample(open_ones, min(2, len(open_ones))):
                with contextlib.suppress(urllib.error.HTTPError):
                    await server.rest("DELETE", f"/connections/{one}")
                kills += 1
            await asyncio.wait({publishing}, timeout=0.05)
    published = await publishing
    history = (await server.rest("GET", f"/topics/{TOPIC}/messages"))["events"]
    assert len(history) == sum(map(len, published)), len(history)
    payloads = {event["seq"]: event["message"]["payload"] for event in history}
    for number, receipts in enumerate(published):
        mine = [payloads[receipt["seq"]] for receipt in receipts]
        assert mine == [f"{number}-{one}" for one in range(len(receipts))], mine
        seqs = [receipt["seq"] for receipt in receipts]
        assert seqs == sorted(seqs), "out of order"
    await proxy.close()
    await server.stop()


async def gives_up_when_the_window_has_passed(_subscriber, publisher) -> None:
    server = await Server.start()
    await server.rest("POST", "/topics", {"name": TOPIC})
    proxy = await Proxy.start(server)
    async with await Client.start(publisher, proxy.url, idempotency_window=0) as client:
        assert await client.ask([TOPIC, 1]) == {"seq": 1}
        proxy.stall()
        answer = asyncio.create_task(client.ask([TOPIC, 2]))
        async with asyncio.timeout(30):
            while (await server.rest("GET", f"/topics/{TOPIC}"))["seq"] != 2:
                await asyncio.sleep(0.01)
        proxy.cut()
        proxy.mend()
        assert "unacknowledged" in await answer
        assert await client.ask([TOPIC, 3]) == {"seq": 3}
    await proxy.close()
    await server.stop()


async def sends_again_while_nobody_knows_whether_it_is_published(_subscriber, publisher) -> None:
    """A server of a cluster that cannot reach its Redis answers a message that was sent before."""
    unavailable = {"type": "error", "request_id": "1", "error": {"code": "UNAVAILABLE", "message": "away"}}
    server = await ScriptedServer.start([], [unavailable], [ack(7, "e", request_id="1", duplicate=True)])
    async with await Client.start(publisher, server.url) as client:
        assert await client.ask([TOPIC, 1]) == {"seq": 7}
    requests = [await server.request() for _ in range(3)]
    assert requests[0]["idempotent"] is True and requests[0] == requests[1] == requests[2], requests
    await server.close()


async def publishes_in_order_while_waiting(_subscriber, publisher) -> None:
    server = await Server.start()
    await server.rest("POST", "/topics", {"name": TOPIC, "history_size": 1000})
    proxy = await Proxy.start(server)
    proxy.cut()
    async with await Client.start(publisher, proxy.url) as client:
        many = asyncio.create_task(client.ask([[TOPIC, number] for number in range(1, 101)]))
        await proxy.refused()
        proxy.mend()
        assert await many == [{"seq": number} for number in range(1, 101)]
    history = (await server.rest("GET", f"/topics/{TOPIC}/messages"))["events"]
    assert [event["message"]["payload"] for event in history] == list(range(1, 101))
    await proxy.close()
    await server.stop()


async def reports_unsent_messages(_subscriber, publisher) -> None:
    server = await Server.start(PUBSUB_MAX_MESSAGE_BYTES="1024")
    await server.rest("POST", "/topics", {"name": TOPIC})
    proxy = await Proxy.start(server)
    async with await Client.start(publisher, proxy.url, timeout=2) as client:
        # A message that is too large only closes its connection.
        assert await client.ask([TOPIC, "x" * 2000]) == {"refused": "PAYLOAD_TOO_LARGE"}
        assert await client.ask([TOPIC, 1]) == {"seq": 1}
        proxy.cut()
        answer = await client.ask([TOPIC, 2])
        # Or the cut was not detected yet.
        assert "not_sent" in answer or "unacknowledged" in answer, answer
        proxy.mend()
        # The pause before the next attempt may be longer than the timeout of a message.
        while "not_sent" in (answer := await client.ask([TOPIC, 3])):
            pass
        # The second one may be published or not.
        assert answer in ({"seq": 2}, {"seq": 3}), answer
    await proxy.close()
    await server.stop()


def ack(seq: int, epoch: str, **more: object) -> dict:
    return {"type": "ack", "topic": TOPIC, "status": "ok", "seq": seq, "epoch": epoch} | more


def event(seq: int) -> dict:
    return {"type": "event", "topic": TOPIC, "message": {"id": f"m{seq}", "payload": seq}, "seq": seq}


def epoch_changed(**more: object) -> dict:
    return {"type": "info", "topic": TOPIC, "msg": "gap", "gap": {"reason": "epoch_changed"}} | more


def position(request: dict) -> tuple:
    return request.get("after_seq"), request.get("epoch")


async def goes_on_in_a_new_epoch(subscriber, _publisher) -> None:
    """Redis has lost events while the subscription was open: the notice has the new position."""
    server = await ScriptedServer.start(
        [ack(5, "old"), event(6), epoch_changed(epoch="new", seq=2), event(3)],
        [ack(4, "new", recovered=True), event(4), epoch_changed(epoch="newer", seq=0)],
        [ack(1, "newer", recovered=True), event(1)],
    )
    async with await Client.start(subscriber, server.url, topic=TOPIC, client_id="s1") as client:
        await client.events([6])
        assert await client.gap(reason="epoch_changed") == {"seq": 2, "epoch": "new"}
        await client.events([3, 4])
        assert await client.gap(reason="epoch_changed") == {"seq": 0, "epoch": "newer"}
        await client.events([1])
    await server.request()
    assert position(await server.request()) == (3, "new")
    assert position(await server.request()) == (0, "newer")
    await server.close()


async def expects_the_next_event_of_a_new_epoch(subscriber, _publisher) -> None:
    server = await ScriptedServer.start([ack(5, "old"), epoch_changed(epoch="new", seq=2), event(4)])
    async with await Client.start(subscriber, server.url, topic=TOPIC, client_id="s1") as client:
        await client.gap(reason="epoch_changed")
        await client.stopped("unexpected_seq")
    await server.close()


async def reads_a_topic_behind_its_position_anew(subscriber, _publisher) -> None:
    """Redis has lost events, and nobody who knew them is left: the topic is behind, in the same epoch."""
    server = await ScriptedServer.start(
        [ack(5, "e"), event(6)],
        [ack(2, "e", recovered=False), epoch_changed(), event(1), event(2), event(3)],
        [ack(4, "e", recovered=True), event(4)],
    )
    async with await Client.start(subscriber, server.url, topic=TOPIC, client_id="s1") as client:
        await client.events([6])
        await client.gap(reason="epoch_changed")
        await client.events([1, 2, 3, 4])
    await server.request()
    assert position(await server.request()) == (6, "e")
    assert position(await server.request()) == (3, "e")
    await server.close()


async def retries_while_unavailable(subscriber, _publisher) -> None:
    unavailable = {"type": "error", "error": {"code": "UNAVAILABLE", "message": "the engine cannot be reached"}}
    server = await ScriptedServer.start([unavailable], [ack(0, "e"), event(1)])
    async with await Client.start(subscriber, server.url, topic=TOPIC, client_id="s1") as client:
        await client.events([1])
    await server.close()


async def silent_address() -> asyncio.Server:
    """Accepts connections and does not answer."""

    async def ignore(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    return await asyncio.start_server(ignore, "127.0.0.1", 0)


async def uses_the_next_address(subscriber, publisher) -> None:
    """Two proxies before one server are like two servers of one cluster."""
    server = await Server.start()
    await server.rest("POST", "/topics", {"name": TOPIC, "history_size": 100})
    first, second = await Proxy.start(server), await Proxy.start(server)
    urls = f"{first.url}, {second.url}"
    async with await Client.start(subscriber, urls, topic=TOPIC, client_id="s1") as client:
        await subscribed(server)
        await server.publish(TOPIC, range(1, 4))
        await client.events(range(1, 4))
        assert (first.accepted, second.accepted) == (1, 0)

        # It goes on to the other one, and stays there when the first works again.
        first.cut()
        await server.publish(TOPIC, range(4, 8))
        await client.events(range(4, 8))
        first.mend()
        await server.publish(TOPIC, range(8, 10))
        await client.events(range(8, 10))
        assert (first.accepted, second.accepted) == (1, 1)

        second.cut()
        await server.publish(TOPIC, range(10, 14))
        await client.events(range(10, 14))
        assert (first.accepted, second.accepted) == (2, 1)
        second.mend()
    await subscribed(server, 0)
    async with await Client.start(publisher, urls) as client:
        assert await client.ask([TOPIC, 14]) == {"seq": 14}
        assert (first.accepted, second.accepted) == (3, 1)
        first.cut()
        assert await client.ask([TOPIC, 15]) == {"seq": 15}
        assert (first.accepted, second.accepted) == (3, 2)
    await first.close()
    await second.close()
    await server.stop()


async def leaves_an_address_that_does_not_answer(subscriber, publisher) -> None:
    server = await Server.start()
    await server.rest("POST", "/topics", {"name": TOPIC})
    await server.publish(TOPIC, [1])
    silent = await silent_address()
    urls = "ws://%s:%d/ws,ws://%s/ws" % (*silent.sockets[0].getsockname(), server.address)
    async with (
        await Client.start(subscriber, urls, topic=TOPIC, client_id="s1", last_n=2) as reader,
        await Client.start(publisher, urls) as writer,
    ):
        answer = asyncio.create_task(writer.ask([TOPIC, 2]))
        await reader.events([1, 2])
        assert await answer == {"seq": 2}
    silent.close()
    await server.stop()


async def expect(client: Client, topic: str | None, **line: object) -> dict:
    """Expects this line of this topic; returns its position."""
    actual = await client.line()
    position = actual.pop("position")
    if "event" in actual:
        del actual["id"], actual["payload"]
    if "change" in line:
        line = {"count": 1} | line
    assert actual == {"topic": topic} | line, f"{topic} {line} was next: {actual}"
    return position


async def follows_a_pattern(subscriber, _publisher) -> None:
    """Topics appear, are deleted and created again while the client is there, and while it is away."""
    server = await Server.start(PUBSUB_HISTORY_SIZE="3")
    proxy = await Proxy.start(server)

    async def create(topic: str, count: int = 0) -> None:
        await server.rest("POST", "/topics", {"name": topic})
        await server.publish(topic, range(count))

    await create("a.1", 2)
    await create("a.2", 2)
    await create("b", 2)
    options = {"pattern": "a.*", "client_id": "s1"}
    async with await Client.start(subscriber, proxy.url, **options, last_n=1) as client:
        for topic in ("a.1", "a.2"):
            assert (await expect(client, topic, change="joined"))["seq"] == 1
            await expect(client, topic, event=2)
        await create("a.3", 1)
        assert (await expect(client, "a.3", change="joined"))["seq"] == 0
        await expect(client, "a.3", event=1)
        await server.rest("DELETE", "/topics/a.3")
        await expect(client, "a.3", change="deleted")

        proxy.cut()
        await proxy.refused()
        await server.rest("DELETE", "/topics/a.1")
        await server.rest("DELETE", "/topics/a.2")
        await create("a.2", 1)
        await create("a.3", 5)
        proxy.mend()
        await expect(client, "a.1", change="deleted")
        await expect(client, "a.2", gap={"reason": "epoch_changed", "from_seq": None, "to_seq": None})
        await expect(client, "a.2", event=1)
        await expect(client, "a.3", change="joined")
        await expect(client, "a.3", gap={"reason": "history_evicted", "from_seq": 1, "to_seq": 2})
        for seq in (3, 4, 5):
            position = await expect(client, "a.3", event=seq)

        # The position is that of the new epoch.
        proxy.cut()
        await proxy.refused()
        await server.publish("a.2", [2])
        proxy.mend()
        await expect(client, "a.2", event=2)

    # A new process resumes with what it knows, and reads the rest from the beginning.
    await server.publish("a.3", [6])
    async with await Client.start(subscriber, proxy.url, **options, positions={"a.3": position}) as older:
        await expect(older, "a.2", change="joined")
        await expect(older, "a.2", event=1)
        await expect(older, "a.2", event=2)
        await expect(older, "a.3", event=6)
        async with await Client.start(subscriber, proxy.url, **options) as newer:
            await expect(older, "a.2", change="replaced")
            await older.stopped("subscription_replaced")
            await expect(newer, "a.2", change="joined")
            await expect(newer, "a.3", change="joined")
            await server.publish("a.2", [3])
            await expect(newer, "a.2", event=3)
    await proxy.close()
    await server.stop()


async def refuses_what_is_no_pattern(subscriber, _publisher) -> None:
    server = await Server.start()
    async with await Client.start(subscriber, f"ws://{server.address}/ws", pattern="a/*", client_id="s1") as client:
        await client.stopped("BAD_REQUEST")
    await server.stop()


async def reports_topics_beyond_the_limit(subscriber, _publisher) -> None:
    server = await Server.start(PUBSUB_MAX_SUBSCRIPTIONS="2", PUBSUB_TOPICS="a.1,a.2,a.3")
    async with await Client.start(subscriber, f"ws://{server.address}/ws", pattern="a.*") as client:
        await expect(client, "a.1", change="joined")
        await expect(client, None, change="not_joined", count=2)
        await server.rest("POST", "/topics", {"name": "a.4"})
        await expect(client, "a.4", change="not_joined")
    await server.stop()


async def checks_the_numbers_of_each_topic_of_a_pattern(subscriber, _publisher) -> None:
    pattern = {"pattern": "o*"}
    joined = {"type": "info", "msg": "subscribed", "topic": TOPIC, "seq": 5, "epoch": "e"} | pattern
    start = [{"type": "ack", "topic": "o*", "status": "ok", "matched": 1}, joined]
    for wrong in (event(5), event(7), event(6) | {"topic": "other"}):
        server = await ScriptedServer.start([*start, wrong])
        async with await Client.start(subscriber, server.url, **pattern) as client:
            await expect(client, TOPIC, change="joined")
            await client.stopped("unexpected_topic" if wrong["topic"] == "other" else "unexpected_seq")
        await server.close()


async def present(client: Client, topic: str, *names: str, is_list: bool) -> dict:
    """Expects that these are subscribed, directly by a list or after changes; returns the position."""
    while True:
        line = await client.line()
        assert line["topic"] == topic and line["is_list"] == is_list, line
        assert line["total"] == len(line["presence"]), line
        if line["presence"] == list(names):
            return line["position"]
        assert not is_list, f"{names} were next: {line}"


async def hears_who_is_subscribed(subscriber, _publisher) -> None:
    server = await Server.start()
    await server.rest("POST", "/topics", {"name": TOPIC})
    await server.publish(TOPIC, [1])
    proxy = await Proxy.start(server)
    direct = f"ws://{server.address}/ws"
    options = {"topic": TOPIC, "client_id": "s1", "last_n": 1, "presence": True}
    async with await Client.start(subscriber, proxy.url, **options) as client:
        await present(client, TOPIC, "s1", is_list=True)
        await client.events([1])
        async with await Client.start(subscriber, direct, topic=TOPIC, client_id="s2") as plain:
            position = await present(client, TOPIC, "s1", "s2", is_list=False)
            assert position["seq"] == 1, position
            await server.publish(TOPIC, [2])
            # Nothing of it comes without the option.
            await plain.events([2])
            await client.events([2])

            # After a cut there is a new list, and then what was missed.
            proxy.cut()
            await proxy.refused()
            await server.publish(TOPIC, [3])
            async with await Client.start(subscriber, direct, topic=TOPIC, client_id="s0"):
                await subscribed(server, 2)
                proxy.mend()
                position = await present(client, TOPIC, "s0", "s1", "s2", is_list=True)
                assert position["seq"] == 2, position
                await client.events([3])
        await present(client, TOPIC, "s1", is_list=False)
    await proxy.close()
    await server.stop()


async def hears_who_is_subscribed_to_each_topic_of_a_pattern(subscriber, _publisher) -> None:
    server = await Server.start(PUBSUB_TOPICS="a.1")
    url = f"ws://{server.address}/ws"
    async with await Client.start(subscriber, url, pattern="a.*", client_id="s1", presence=True) as client:
        await expect(client, "a.1", change="joined")
        await present(client, "a.1", "s1", is_list=True)
        await server.rest("POST", "/topics", {"name": "a.2"})
        await expect(client, "a.2", change="joined")
        await present(client, "a.2", "s1", is_list=True)
        async with await Client.start(subscriber, url, topic="a.2", client_id="s2"):
            await present(client, "a.2", "s1", "s2", is_list=False)
        await present(client, "a.2", "s1", is_list=False)
    await server.stop()


async def takes_lists_and_changes_of_presence(subscriber, _publisher) -> None:
    """A reader that fell too far behind gets the list again. Changes may name somebody that no list had."""

    def notice(total: int, **names: list[str]) -> dict:
        return {"type": "info", "topic": TOPIC, "msg": "presence", "total": total} | names

    server = await ScriptedServer.start(
        [
            ack(5, "e"),
            notice(2, subscribers=["a", "b"]),
            notice(2, joined=["c"], left=["a", "z"]),
            notice(1500, subscribers=["x", "y"]),
            notice(1499, joined=[], left=["y"]),
            event(6),
        ]
    )
    async with await Client.start(subscriber, server.url, topic=TOPIC, client_id="s1", presence=True) as client:
        for names, total, is_list in (("ab", 2, True), ("bc", 2, False), ("xy", 1500, True), ("x", 1499, False)):
            line = await client.line()
            position = line.pop("position")
            assert position == {"seq": 5, "epoch": "e"}, position
            assert line == {"topic": TOPIC, "presence": list(names), "total": total, "is_list": is_list}, line
        await client.events([6])
    assert (await server.request())["presence"] is True
    await server.close()


SCENES = [
    resumes_exactly,
    waits_for_a_topic_that_does_not_exist_yet,
    stops_after_permanent_errors,
    reconnects_after_4100,
    sends_its_key,
    publishes_with_acks,
    publishes_each_message_once_while_connections_are_killed,
    gives_up_when_the_window_has_passed,
    sends_again_while_nobody_knows_whether_it_is_published,
    publishes_in_order_while_waiting,
    reports_unsent_messages,
    goes_on_in_a_new_epoch,
    expects_the_next_event_of_a_new_epoch,
    reads_a_topic_behind_its_position_anew,
    retries_while_unavailable,
    uses_the_next_address,
    leaves_an_address_that_does_not_answer,
    follows_a_pattern,
    refuses_what_is_no_pattern,
    reports_topics_beyond_the_limit,
    checks_the_numbers_of_each_topic_of_a_pattern,
    hears_who_is_subscribed,
    hears_who_is_subscribed_to_each_topic_of_a_pattern,
    takes_lists_and_changes_of_presence,
]


async def dead_connection_is_detected() -> None:
    """Without WebSocket pings, by requests of the client."""
    subscriber, _ = LANGUAGES["javascript"]
    server = await Server.start()
    await server.rest("POST", "/topics", {"name": TOPIC})
    proxy = await Proxy.start(server)
    async with await Client.start(subscriber, proxy.url, topic=TOPIC, client_id="s1", quiet_ms=200) as client:
        await subscribed(server)
        await server.publish(TOPIC, [1])
        await client.events([1])
        proxy.stall()
        before = proxy.accepted
        async with asyncio.timeout(30):
            while proxy.accepted == before:
                await asyncio.sleep(0.01)
        proxy.flow()
        await server.publish(TOPIC, [2])
        await client.events([2])
    await proxy.close()
    await server.stop()


async def error_event_without_close_is_a_failed_attempt() -> None:
    program = await asyncio.create_subprocess_exec("node", str(HERE / "only_error.mjs"), stdout=asyncio.subprocess.PIPE)
    output = (await soon(program.stdout.read())).decode()
    assert await soon(program.wait()) == 0
    assert output == "subscribed, published as 7, 4 sockets\n", output


async def values_that_json_cannot_represent_are_refused() -> None:
    publisher = Publisher("ws://127.0.0.1:1/ws")
    for payload in (float("nan"), float("inf")):
        try:
            await soon(publisher.publish(TOPIC, payload))
        except ValueError:
            continue
        raise AssertionError("it was published")


async def temporary_errors_are_logged() -> None:
    output = asyncio.Queue()
    handler = logging.Handler()
    handler.emit = lambda record: output.put_nowait(record.getMessage())
    log = logging.getLogger("threadcast")
    log.addHandler(handler)
    log.propagate = False
    server = await Server.start()
    proxy = await Proxy.start(server)
    proxy.cut()
    publisher = Publisher(proxy.url, timeout=1)
    for attempt in (anext(subscribe(proxy.url, TOPIC)), publisher.publish(TOPIC, 1)):
        attempt = asyncio.create_task(attempt)
        line = await soon(output.get())
        assert re.fullmatch(r"\S.*; next attempt in \d+\.\d s", line), line
        attempt.cancel()
        await asyncio.wait({attempt})
    log.removeHandler(handler)
    await publisher.close()
    await proxy.close()
    await server.stop()


async def wrong_key_stops_the_client() -> None:
    """Only outside of browsers, where the status of a refused handshake is visible."""
    subscriber, publisher = LANGUAGES["python"]
    server = await Server.start(PUBSUB_API_KEY="right")
    url = f"ws://{server.address}/ws"
    async with await Client.start(subscriber, url, topic=TOPIC, client_id="s1", key="wrong") as client:
        await client.stopped(401)
    async with await Client.start(publisher, url) as client:
        assert await client.ask([TOPIC, 1]) == {"refused": 401}
    await server.stop()


async def snippet(name: str, server: Server, *expected: str, **variables: str) -> None:
    """Runs a snippet of the documents with this server, until it has printed all this."""
    program = ROOT / "examples" / name
    command = {".py": [sys.executable], ".js": NODE, ".sh": ["bash", "-e"]}[program.suffix]
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(program.parent, folder, dirs_exist_ok=True)
        copy = Path(folder) / program.name
        text = copy.read_text()
        assert "localhost:8080" in text
        copy.write_text(text.replace("localhost:8080", server.address))
        # curl prints its progress to standard error.
        process = await asyncio.create_subprocess_exec(
            *command,
            str(copy),
            env=os.environ | variables,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        output = ""
        while not all(words in output for words in expected):
            chunk = await soon(process.stdout.read(4096))
            assert chunk, f"{name} ended after: {output}"
            output += chunk.decode()
        if process.returncode is None:
            process.kill()
        await process.wait()


async def snippets_work() -> None:
    server = await Server.start()
    created = '"status":"created"'
    await snippet("curl/quick.sh", server, created, '"seq":1', "ORD-124", '"subscribers":0', '"deleted"')
    await server.rest("POST", "/topics", {"name": TOPIC})
    await snippet("python/quick.py", server, "{'type': 'ack'", "1 {'order_id': 'ORD-125'}")
    await snippet("python/follow.py", server, "published as 2", "1 {'order_id': 'ORD-125'}\n2 {'order_id': 'ORD-126'}")
    await snippet("browser/follow.js", server, "published as 3", "connected", "3 { order_id: 'ORD-127' }")
    await subscribed(server, 0)
    page = asyncio.create_task(snippet("browser/quick.js", server, "{ order_id: 'ORD-128' }"))
    await subscribed(server)
    await server.publish(TOPIC, [{"order_id": "ORD-128"}])
    await page
    await server.stop()


async def snippets_that_make_tokens_work() -> None:
    secret = {"PUBSUB_JWT_SECRET": "a-secret-of-more-than-32-bytes-for-tests"}
    server = await Server.start(PUBSUB_TOPICS=TOPIC, **secret)
    await snippet("tokens/mint.py", server, "may read orders", **secret)
    await snippet("tokens/mint.js", server, "may read orders", **secret)
    await server.stop()


async def main() -> None:
    try:
        for language, programs in LANGUAGES.items():
            for scene in SCENES:
                await scene(*programs)
                print(f"{language}: {scene.__name__.replace('_', ' ')}", flush=True)
        checks = (
            wrong_key_stops_the_client,
            dead_connection_is_detected,
            error_event_without_close_is_a_failed_attempt,
            values_that_json_cannot_represent_are_refused,
            temporary_errors_are_logged,
            snippets_work,
            snippets_that_make_tokens_work,
        )
        for check in checks:
            await check()
            print(check.__name__.replace("_", " "), flush=True)
    finally:
        await Server.kill_all()


asyncio.run(main())
