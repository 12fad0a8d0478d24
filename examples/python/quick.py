import asyncio, json, uuid
import websockets

async def main():
    async with websockets.connect("ws://localhost:8080/ws") as ws:
        await ws.send(json.dumps({"type": "subscribe", "topic": "orders", "client_id": "python-1", "last_n": 5}))
        await ws.send(json.dumps({"type": "publish", "topic": "orders",
                                  "message": {"id": str(uuid.uuid4()), "payload": {"order_id": "ORD-125"}}}))
        async for text in ws:
            frame = json.loads(text)
            if frame["type"] == "event":
                print(frame["seq"], frame["message"]["payload"])
            else:
                print(frame)

asyncio.run(main())
