"""How h11 parses some bytes, and the responses of threadcast if it parses them the same way."""

import re
from dataclasses import dataclass, field

import h11

import differences
from generate import SECRET

NAME = re.compile(rb"[A-Za-z0-9_][A-Za-z0-9._:-]{0,127}")
PATH = re.compile(rb"(?:https?://[^/]*)?/topics/([^/?%]+)", re.IGNORECASE)

#: The response is not predicted, except that the request was understood.
UNDERSTOOD = "understood"
REFUSED = "refused"
#: Without the key.
STRANGER = (401, None)


@dataclass
class Expected:
    """The expected response to one request: a status with a detail, UNDERSTOOD or REFUSED."""

    answer: object
    closes: bool = False
    to_head: bool = False
    why: list = field(default_factory=list)


def judge(data):
    """The expected responses, in order; after the last the connection ends."""
    answers = []
    while data:
        # One empty line before a request is skipped (RFC 9112, section 2.2); h11 does not know that.
        data = data[2:] if data.startswith(b"\r\n") else data
        expected, data = _judge_one(data)
        if expected:
            answers.append(expected)
        if not expected or expected.closes:
            break
    return answers


def _judge_one(data):
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 24)
    connection.receive_data(data)
    try:
        request = connection.next_event()
    except h11.RemoteProtocolError as error:
        return Expected(REFUSED, closes=True, why=[f"h11: {error}"]), b""
    if request is h11.NEED_DATA:
        return None, b""
    left = len(connection.trailing_data[0])
    head = data[: len(data) - left]
    broken = differences.in_head(head, request)
    answer = _answer(request)
    # The body of an unauthorised request is not read, however long it is.
    if broken and (answer != STRANGER or broken != [differences.BODY_LIMIT]):
        return Expected(REFUSED, closes=True, why=broken), b""
    is_chunked = any(name == b"transfer-encoding" for name, _ in request.headers)
    has_body = is_chunked or any(int(value) > 0 for name, value in request.headers if name == b"content-length")
    if answer == STRANGER and has_body:
        return Expected(answer, closes=True), b""
    if is_chunked and (broken := differences.in_chunks(data[len(head) :])):
        return Expected(REFUSED, closes=True, why=broken), b""
    try:
        while not isinstance(event := connection.next_event(), h11.EndOfMessage):
            if event is h11.NEED_DATA:
                return None, b""
    except h11.RemoteProtocolError as error:
        return Expected(REFUSED, closes=True, why=[f"h11: {error}"]), b""
    closes = connection.their_state is h11.MUST_CLOSE
    return Expected(answer, closes, to_head=request.method == b"HEAD"), connection.trailing_data[0]


def _answer(request):
    keys = [value for name, value in request.headers if name == b"x-api-key"]
    if any(name in (b"authorization", b"origin", b"upgrade") for name, _ in request.headers):
        return UNDERSTOOD
    path = PATH.fullmatch(request.target)
    if request.method == b"OPTIONS":
        # Needs no key.
        exists = request.target == b"*" or (path and NAME.fullmatch(path[1]))
        return (204, None) if exists else UNDERSTOOD
    if re.fullmatch(rb"(https?://[^/]*)?/(livez|readyz)(\?.*)?", request.target, re.IGNORECASE):
        return UNDERSTOOD
    if not keys or any(key != SECRET for key in keys):
        return STRANGER
    if not path:
        return UNDERSTOOD
    if request.method not in (b"GET", b"HEAD", b"DELETE") and NAME.fullmatch(path[1]):
        return (405, None)
    detail = None if request.method == b"HEAD" else f"Topic '{path[1].decode()}' not found"
    return (404, detail)
