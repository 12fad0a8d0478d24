"""The server under test, on a free port, and a client for it."""

import json
import os
import socket
import subprocess

TIMEOUT_SECS = 20


class Server:
    """A running threadcast, stopped at the end of its `with` block."""

    def __init__(self, path, secret):
        self._path, self._secret = path, secret

    def __enter__(self):
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PUBSUB_")}
        environment |= {"PUBSUB_PORT": "0", "PUBSUB_API_KEY": self._secret.decode(), "PUBSUB_LOG_LEVEL": "ERROR"}
        self._process = subprocess.Popen([self._path], env=environment, stdout=subprocess.PIPE, text=True)
        line = self._process.stdout.readline()
        host, port = line.strip().removeprefix("listening on http://").split(":")
        self._address = (host, int(port))
        return self

    def __exit__(self, *_):
        self._process.terminate()
        self._process.wait(TIMEOUT_SECS)

    def ask(self, data):
        """Everything the server sends in response to these bytes until it closes."""
        with socket.create_connection(self._address, TIMEOUT_SECS) as connection:
            try:
                connection.sendall(data)
                connection.shutdown(socket.SHUT_WR)
            except OSError:
                pass  # It has answered and closed already.
            answer = b""
            while piece := _receive(connection):
                answer += piece
            return answer


def _receive(connection):
    try:
        return connection.recv(65536)
    except ConnectionResetError:
        return b""


def answers(stream, to_head):
    """The responses in a stream: status, detail if there is one, and whether the connection closes. `to_head` tells for each
    whether it has no body."""
    found = []
    while stream:
        head, end, rest = stream.partition(b"\r\n\r\n")
        if not end:
            raise ValueError("half an answer")
        status_line, *lines = head.decode("latin-1").split("\r\n")
        status = int(status_line.split(" ")[1])
        if status == 100:
            stream = rest
            continue
        fields = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        has_body = status != 204 and not (len(found) < len(to_head) and to_head[len(found)])
        length = int(fields["content-length"]) if has_body else 0
        body, stream = rest[:length], rest[length:]
        found.append((status, json.loads(body).get("detail") if body else None, fields.get("connection") == "close"))
    return found
