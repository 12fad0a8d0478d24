"""Prints the entries of `subscribe` of the Python client, with the option `pattern` of `subscribe_pattern`, one JSON text per line. Arguments: a URL and JSON options."""

import asyncio
import collections
import json
import sys

from threadcast import Gap, Position, Presence, Stopped, Subscribers, TopicChange, subscribe, subscribe_pattern


async def main(url: str, options: dict) -> None:
    position = options.pop("position", None)
    if position:
        options["position"] = Position(**position)
    positions = options.pop("positions", None)
    if positions is not None:
        options["positions"] = {topic: Position(**position) for topic, position in positions.items()}
    entries = subscribe_pattern if "pattern" in options else subscribe
    audiences = collections.defaultdict(Subscribers)
    try:
        async for entry in entries(url, **options):
            line = {"topic": entry.topic, "position": entry.position and vars(entry.position)}
            if isinstance(entry, TopicChange):
                line |= {"change": entry.change, "count": entry.count}
            elif isinstance(entry, Presence):
                audience = audiences[entry.topic]
                audience.apply(entry)
                line |= {"presence": sorted(audience.names), "total": audience.total}
                line["is_list"] = entry.subscribers is not None
            elif isinstance(entry, Gap):
                line["gap"] = {"reason": entry.reason, "from_seq": entry.from_seq, "to_seq": entry.to_seq}
            else:
                line |= {"event": entry.seq, "id": entry.id, "payload": entry.payload}
            print(json.dumps(line), flush=True)
    except Stopped as stopped:
        print(json.dumps({"stop": stopped.code}), flush=True)


asyncio.run(main(sys.argv[1], json.loads(sys.argv[2])))
