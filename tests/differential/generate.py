"""Generated requests: mostly well formed, some with an unusual part, some with random bytes changed. A seed fixes them."""

SECRET = b"differential"

#: For each part of a request, usual values, and unusual or invalid ones.
METHODS = [b"GET"] * 3 + [b"DELETE", b"PUT"], [b"HEAD", b"OPTIONS", b"POST", b"get", b"M-SEARCH", b"G!#$%&'*+.^_`|~1", b"G@T", b""]
VERSIONS = [b"HTTP/1.1"], [
    b"HTTP/1.0", b"HTTP/1.0", b"HTTP/2.0", b"HTTP/1.2", b"HTTP/0.9", b"HTTP/1.10", b"http/1.1", b"HTTP/1", b"HTTP/01.1", b"",
]
TARGETS = [b"/topics/%s"], [
    b"http://x/topics/%s", b"HTTP://X:80/topics/%s", b"http://y/topics/%s", b"https://x:443/topics/%s", b"/topics/%s#f", b"topics/%s",
    b"*", b"x:80", b"ftp://x/%s", b"//topics/%s", b"/topics/%s ", b"/topics/\xe9%s", b"/topics/%s\x7f", b"http://u@x/%s", b"/topics/%s\x00",
    b"/topics/a b", b"/topics/%s" + b"x" * 5000,
]
HOSTS = [[b"Host: x"]], [
    [], [b"Host: x", b"Host: x"], [b"host:x:80"], [b"Host: [::1]:1"], [b"Host: x, y"], [b"Host:"], [b"Host: u@x"], [b"Host : x"],
    [b"Host: x y"], [b"Host: x:"], [b"Host: x:99999"], [b"HOST:\t x \t"], [b" Host: x"], [b"Host: \xe9"], [b"Host: x/"],
]
KEYS = [[b"X-API-Key: " + SECRET]], [
    [], [b"x-api-key:" + SECRET + b" \t"], [b"X-API-Key: \t " + SECRET], [b"X-API-Key: wrong"], [b"X-API-Key: a " + SECRET],
    [b"X-API-Key: " + SECRET, b"X-API-Key: " + SECRET], [b"X-API-Key: " + SECRET, b"X-API-Key: other"], [b"X-API-Key:"],
]
EXTRAS = [
    b"Accept: text/html;q=0.9, */*", b"Connection: keep-alive", b"X: y", b"X:", b"X-Y_Z.1!#$%&'*+^`|~: v", b"X: caf\xe9", b"X: a\tb",
    b"Connection: close", b"Connection: closed", b"Expect: 100-continue",
], [
    b"Connection: a , CLOSE", b"X : y", b"X\t: y", b"X Y: z", b"(X): y", b": y", b"X", b"X: a\r\n b", b"\tX: y", b"X: a\x00b", b"X: a\x01b",
    b"X: a\x0bb", b"X: a\x7fb", b"X\xe9: y", b"X: a\nY: b", b"X: a\rY: b", b"X: \r", b"Expect: tea", b"X" * 200 + b": y",
    b"X: " + b"y" * 2000, b"X: " + b"y" * 17000,
]
LENGTHS = [b"%d"], [
    b"000%d", b"%d, %d", b"+%d", b"-%d", b"%d ", b"0x%d", b"%dx", b"", b"%d.0", b"%d %d", b"18446744073709551616", b"100000000000000",
    b"\x0b%d", b"%d\x0c",
]
CODINGS = [b"chunked"], [
    b"Chunked", b" chunked\t", b"gzip", b"chunked, chunked", b"gzip, chunked", b"identity", b"", b"\x0bchunked", b"xchunked",
]
CHUNK_ENDS = [b"\r\n"], [b"\n", b"\r", b"", b"x\r\n"]
SIZES = [b"%x", b"%X", b"%04x"], [b"", b"g", b"-1", b"+1", b"0x1", b" 1", b"f" * 16, b"0" * 16 + b"%x", b"1" * 21, b"100001"]
SIZE_TAILS = [b"", b"", b";a=b"], [b";", b" ", b"\t", b";\x01", b" ;a", b";\xe9"]
TRAILERS = [b"", b"", b"X: y\r\n", b"X:\r\nY: z\r\n"], [
    b"X: y\n", b"X\r\n", b"X : y\r\n", b" X: y\r\n", b"X: y\r\n z\r\n", b"X: \x01\r\n", b"X: \x00\r\n", b": y\r\n", b"(X): y\r\n",
]
ENDS = [b"\r\n"], [b"\n"]
BEGINNINGS = [b""], [b"\r\n", b"\r\n\r\n", b"\n", b" "]
ODD_SHARE = 0.04
DICTIONARY = [
    b"\r\n", b"\n", b"\r", b"\r\n\r\n", b"\x00", b"\t", b" ", b":", b"\x0b", b"\x7f", b"\x80", b"\xff", b",", b";", b"/", b"?", b"#", b"HTTP/1.1",
    b"Host: x\r\n", b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"0\r\n\r\n", b"GET / HTTP/1.1\r\n", b"chunked", b"0", b"9",
]


def request(rng, name):
    """One request for a topic of this name, with the body it announces."""
    target = _pick(rng, TARGETS).replace(b"%s", name)
    line = b" ".join([_pick(rng, METHODS), target, _pick(rng, VERSIONS)])
    fields = [*_pick(rng, HOSTS), *_pick(rng, KEYS)]
    fields += [_pick(rng, EXTRAS) for _ in range(rng.choice([0, 1, 2]))]
    if rng.random() < 0.02:
        fields += [b"X: y"] * rng.randint(55, 70)
    framing, body = rng.choice([_none, _sized, _chunked] * 10 + [_both])(rng)
    fields += framing
    rng.shuffle(fields)
    end = _pick(rng, ENDS)
    whole = _pick(rng, BEGINNINGS) + end.join([line, *fields, b"", b""]) + body
    return mutate(rng, whole) if rng.random() < 0.2 else whole


def _pick(rng, choices):
    usual, odd = choices
    return rng.choice(odd if rng.random() < ODD_SHARE else usual)


def mutate(rng, data):
    """Changes a few bytes."""
    data = bytearray(data)
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        at = rng.randrange(len(data) + 1)
        match rng.randrange(4):
            case 0:
                data[at : at + 1] = bytes([rng.randrange(256)])
            case 1:
                del data[at : at + rng.choice([1, 1, 2, 5])]
            case 2:
                data[at:at] = rng.choice(DICTIONARY)
            case _:
                piece = data[at : at + rng.randint(1, 20)]
                data[at:at] = piece
    return bytes(data)


def _none(_rng):
    return [], b""


def _sized(rng):
    body = b"z" * rng.choice([0, 1, 5, 30])
    fields = [b"Content-Length: " + _pick(rng, LENGTHS).replace(b"%d", b"%d" % len(body))]
    if rng.random() < ODD_SHARE:
        fields.append(rng.choice([fields[0], b"content-length: 3"]))
    return fields, body


def _chunked(rng):
    body = b""
    for _ in range(rng.randint(0, 3)):
        data = b"z" * rng.choice([1, 9, 17])
        size = _pick(rng, SIZES)
        size = size % len(data) if b"%" in size else size
        body += size + _pick(rng, SIZE_TAILS) + _pick(rng, CHUNK_ENDS) + data + _pick(rng, CHUNK_ENDS)
    body += b"0" + _pick(rng, SIZE_TAILS) + _pick(rng, CHUNK_ENDS) + _pick(rng, TRAILERS) + _pick(rng, CHUNK_ENDS)
    return [b"Transfer-Encoding: " + _pick(rng, CODINGS)], body


def _both(rng):
    sized, _ = _sized(rng)
    chunked, body = _chunked(rng)
    return rng.choice([sized + chunked, chunked + chunked]), body
