import { createHmac } from "node:crypto";

const part = (text) => Buffer.from(text).toString("base64url");

function mint(secret, user, seconds, rights) {
  const claims = { sub: user, exp: Math.floor(Date.now() / 1000) + seconds, threadcast: rights };
  const message = `${part('{"alg":"HS256"}')}.${part(JSON.stringify(claims))}`;
  return `${message}.${createHmac("sha256", secret).update(message).digest("base64url")}`;
}

const token = mint(process.env.PUBSUB_JWT_SECRET, "ann", 3600, { publish: ["orders"], subscribe: ["orders", "shop.*"] });
const headers = { Authorization: `Bearer ${token}` };
const answer = await fetch("http://localhost:8080/topics/orders", { headers });
console.log("may read", (await answer.json()).name);
