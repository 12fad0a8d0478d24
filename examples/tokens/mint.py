import base64
import hmac
import json
import os
import time
import urllib.request


def part(text: bytes) -> str:
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


def mint(secret: str, user: str, seconds: int, **rights: object) -> str:
    claims = {"sub": user, "exp": int(time.time()) + seconds, "threadcast": rights}
    message = part(b'{"alg":"HS256"}') + "." + part(json.dumps(claims).encode())
    return message + "." + part(hmac.digest(secret.encode(), message.encode(), "sha256"))


token = mint(os.environ["PUBSUB_JWT_SECRET"], "ann", 3600, publish=["orders"], subscribe=["orders", "shop.*"])
request = urllib.request.Request("http://localhost:8080/topics/orders", headers={"Authorization": f"Bearer {token}"})
with urllib.request.urlopen(request) as answer:
    print("may read", json.load(answer)["name"])
