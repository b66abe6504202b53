"""Calling other services, as far as the rule grants host, method and path."""

import json as json_module
from dataclasses import dataclass

from wit_world.imports import http as host

from .errors import fallible

host_send = fallible(host.send)


@dataclass
class Response:
    status: int
    #: By name, in lower case.
    headers: dict
    body: bytes

    @property
    def text(self):
        return self.body.decode()

    def json(self):
        return json_module.loads(self.body)


def send(method, url, *, headers=None, body=b"", json=None):
    """Sends a request. `json` is sent as the body, with its content type unless `headers` has one."""
    headers = dict(headers or {})
    if json is not None:
        body = json_module.dumps(json).encode()
        if all(name.lower() != "content-type" for name in headers):
            headers["content-type"] = "application/json"
    response = host_send(host.Request(method.upper(), url, list(headers.items()), bytes(body)))
    return Response(response.status, {name.lower(): value for name, value in response.headers}, response.body)


def get(url, *, headers=None):
    return send("GET", url, headers=headers)


def post(url, *, headers=None, body=b"", json=None):
    return send("POST", url, headers=headers, body=body, json=json)
