"""Publishes through the Python client each `[topic, payload]` of standard input and prints how it went, one JSON text
per line; of a list of them, all at once. Arguments: a URL and JSON options."""

import asyncio
import json
import sys

from threadcast import NotSent, Publisher, Refused, Stopped, Unacknowledged


async def publish(publisher: Publisher, message: list) -> dict:
    try:
        return {"seq": await publisher.publish(*message)}
    except (Refused, Stopped) as refused:
        return {"refused": refused.code}
    except Unacknowledged as lost:
        return {"unacknowledged": lost.message_id}
    except NotSent as not_sent:
        return {"not_sent": not_sent.message_id}


async def main(url: str, options: dict) -> None:
    publisher = Publisher(url, **options)
    while line := await asyncio.to_thread(sys.stdin.readline):
        asked = json.loads(line)
        if isinstance(asked[0], list):
            result = await asyncio.gather(*(publish(publisher, message) for message in asked))
        else:
            result = await publish(publisher, asked)
        print(json.dumps(result), flush=True)
    await publisher.close()


asyncio.run(main(sys.argv[1], json.loads(sys.argv[2])))
