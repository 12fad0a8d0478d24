"""The rules by which threadcast is stricter than h11. A request that breaks one must be refused."""

import re

MAX_HEAD_BYTES = 16 * 1024
MAX_FIELDS = 64
MAX_TARGET_BYTES = 4 * 1024
MAX_BODY_BYTES = 1024 * 1024
BODY_LIMIT = "a body of at most 1 MiB"

HOST = re.compile(rb"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~-]+)(:(\d*))?")
ABSOLUTE = re.compile(rb"(https?)://([^/?]*)(.*)", re.IGNORECASE)


def in_head(head, request):
    """The rules broken by the head of a request that h11 accepts. `head` is its bytes."""
    line, _, fields = head.partition(b"\n")
    values = lambda name: [value for field, value in request.headers if field == name]  # noqa: E731
    raw_fields = [field for field in fields.split(b"\n") if field.strip(b"\r")]
    raw = lambda name: [field for field in raw_fields if field.lower().startswith(name + b":")]  # noqa: E731
    lengths, codings, hosts = raw(b"content-length"), values(b"transfer-encoding"), values(b"host")
    rules = {
        "a line ends with CR LF": re.search(rb"(?<!\r)\n|\r(?!\n)", head),
        "no folded field": re.search(rb"\n[ \t]", head),
        "no control byte in a head": re.search(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]", head),
        "only HTTP/1.0 and HTTP/1.1": request.http_version not in (b"1.0", b"1.1"),
        "one Content-Length, of digits": len(lengths) > 1
        or any(not re.fullmatch(rb"[^:]*:[ \t]*\d+[ \t]*\r?", length) for length in lengths),
        "Content-Length or Transfer-Encoding": lengths and codings,
        "no Transfer-Encoding in HTTP/1.0": codings and request.http_version == b"1.0",
        "Host is a host with a port": any(_authority(host) is None for host in hosts),
        "a target is a path, an http URL, or the * of OPTIONS": not _is_target(request.target)
        and (request.method, request.target) != (b"OPTIONS", b"*"),
        "a URL names the same host as Host": _names_another_host(request.target, hosts),
        "no expectation but 100-continue": request.http_version == b"1.1"
        and any(value.lower() != b"100-continue" for value in values(b"expect")),
        "a head of at most 16 KiB": len(head) > MAX_HEAD_BYTES,
        "at most 64 fields": len(raw_fields) > MAX_FIELDS,
        "a target of at most 4 KiB": len(request.target) > MAX_TARGET_BYTES,
        BODY_LIMIT: any(int(value) > MAX_BODY_BYTES for value in values(b"content-length")),
    }
    return [rule for rule, broken in rules.items() if broken]


def in_chunks(body):
    """The rules broken by a chunked body that h11 accepts so far."""
    rest = body
    while rest:
        line, end, rest = rest.partition(b"\r\n")
        size = re.match(rb"[0-9A-Fa-f]+", line)
        if not end or not size:
            break
        if len(size[0]) > 16:
            return ["a chunk size of at most 16 digits"]
        if not re.fullmatch(rb"[0-9A-Fa-f]+(;[\t\x20-\x7e\x80-\xff]*)?", line):
            return ["no whitespace or control byte around a chunk size"]
        if int(size[0], 16) > MAX_BODY_BYTES:
            return [BODY_LIMIT]
        if int(size[0], 16) == 0:
            return _in_trailers(rest)
        rest = rest[int(size[0], 16) + 2 :]
    return []


def _in_trailers(trailers):
    if trailers.startswith(b"\r\n"):
        return []
    end = re.search(rb"\n\r?\n", trailers)
    trailers = trailers[: end.end()] if end else trailers
    rules = {
        "a trailer ends with CR LF": re.search(rb"(?<!\r)\n|\r(?!\n)", trailers),
        "no folded trailer": re.search(rb"\n[ \t]", trailers),
        "no control byte in a trailer": re.search(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]", trailers),
    }
    return [rule for rule, broken in rules.items() if broken]


def _authority(text):
    """The host in lower case and the port, or None."""
    match = HOST.fullmatch(text)
    if not match or (match[3] and int(match[3]) > 65535):
        return None
    return match[1].lower(), match[3] or None


def _is_target(target):
    if b"#" in target:
        return False
    absolute = ABSOLUTE.fullmatch(target)
    return target.startswith(b"/") or (absolute is not None and _authority(absolute[2]) is not None)


def _names_another_host(target, hosts):
    absolute = ABSOLUTE.fullmatch(target)
    if target.startswith(b"/") or not absolute or not hosts:
        return False
    named, host = _authority(absolute[2]), _authority(hosts[0])
    if not named or not host:
        return False
    default = b"443" if absolute[1].lower() == b"https" else b"80"
    return (named[0], named[1] or default) != (host[0], host[1] or default)
