"""Publishes through the Python client each `[topic, payload]` of standard input and prints how it went, one JSON text
per line. Arguments: a URL and JSON options."""

import asyncio
import json
import sys

from threadcast import Publisher, Refused, Stopped, Unacknowledged


async def main(url: str, options: dict) -> None:
    publisher = Publisher(url, **options)
    while line := await asyncio.to_thread(sys.stdin.readline):
        try:
            told = {"seq": await publisher.publish(*json.loads(line))}
        except (Refused, Stopped) as refused:
            told = {"refused": refused.code}
        except Unacknowledged as lost:
            told = {"unacknowledged": lost.message_id}
        print(json.dumps(told), flush=True)
    await publisher.close()


asyncio.run(main(sys.argv[1], json.loads(sys.argv[2])))
