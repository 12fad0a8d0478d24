
// The REST API of the server this page came from. The key stays in memory.

const REQUEST_TIMEOUT_MS = 15_000;

let key = "";

/** An unsuccessful request; status 0 if there was no response. */
class RequestError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** The bytes of the key, each as one character, as headers and base64 require. */
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
    throw new RequestError(0, "The server does not answer");
  }
  const answer = await response.json().catch(() => {
    throw new RequestError(response.status || 0, `${response.status} is not a response of threadcast: check the address, which must end with /`);
  });
  if (!response.ok) throw new RequestError(response.status, answer.detail ?? `Status ${response.status}`);
  return answer;
}

const topicPath = (name) => `topics/${encodeURIComponent(name)}`;

/** The pause after a number of errors: doubled up to a limit, with a random part. */
function backoff(errors, maxMs) {
  const longest = Math.min(500 * 2 ** errors, maxMs);
  return longest * (0.5 + Math.random() / 2);
}
