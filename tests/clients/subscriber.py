"""Prints the entries of `subscribe` of the Python client, one JSON text per line. Arguments: a URL and JSON options."""

import asyncio
import json
import sys

from threadcast import Gap, Position, Stopped, subscribe


async def main(url: str, options: dict) -> None:
    position = options.pop("position", None)
    if position:
        options["position"] = Position(**position)
    try:
        async for entry in subscribe(url, **options):
            line = {"position": vars(entry.position)}
            if isinstance(entry, Gap):
                line["gap"] = {"reason": entry.reason, "from_seq": entry.from_seq, "to_seq": entry.to_seq}
            else:
                line |= {"event": entry.seq, "id": entry.id, "payload": entry.payload}
            print(json.dumps(line), flush=True)
    except Stopped as stopped:
        print(json.dumps({"stop": stopped.code}), flush=True)


asyncio.run(main(sys.argv[1], json.loads(sys.argv[2])))
