
// The REST API of the server this page came from. The key stays in memory.

const REQUEST_TIMEOUT_MS = 15_000;

let key = "";

/** A request that was not answered with success; status 0 when it was not answered at all. */
class Failure extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** The bytes of the key, each as one character: what a header and base64 can carry. */
const keyBytes = () => String.fromCharCode(...new TextEncoder().encode(key));

async function request(method, path, body) {
  const headers = {};
  if (key) headers.Authorization = `Bearer ${keyBytes()}`;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let response;
  try {
    const signal = AbortSignal.timeout(REQUEST_TIMEOUT_MS);
    response = await fetch(path, { method, headers, body, signal, cache: "no-store" });
  } catch {
    throw new Failure(0, "The server does not answer");
  }
  const answer = await response.json().catch(() => {
    throw new Failure(response.status || 0, `${response.status} is not an answer of threadcast: is the address right, with a / at its end?`);
  });
  if (!response.ok) throw new Failure(response.status, answer.detail ?? `Status ${response.status}`);
  return answer;
}

const topicPath = (name) => `topics/${encodeURIComponent(name)}`;

/** How long to wait after so many failures: doubled up to a bound, with a random part. */
function backOff(failures, mostMs) {
  const longest = Math.min(500 * 2 ** failures, mostMs);
  return longest * (0.5 + Math.random() / 2);
}
