import asyncio
from threadcast import Gap, Publisher, subscribe

URL = "ws://localhost:8080/ws"

async def main():
    publisher = Publisher(URL)
    print("published as", await publisher.publish("orders", {"order_id": "ORD-126"}))
    async for entry in subscribe(URL, "orders", "python-2", last_n=5):
        if isinstance(entry, Gap):
            print("missed", entry.reason, entry.from_seq, entry.to_seq)
        else:
            print(entry.seq, entry.payload)

asyncio.run(main())
