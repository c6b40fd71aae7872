"""Who may ask: the one seam every request passes before anything is looked at.

The middleware `Gate` asks for every path but the liveness probe; routes that show an image, and the fast
path, ask again with the image's path. All of them call `Authorizer.authorize`.
"""

from __future__ import annotations

import hmac
import ipaddress
from abc import ABC, abstractmethod
from collections.abc import Iterable
from functools import lru_cache

from starlette.types import ASGIApp, Receive, Scope, Send

from pims.api.errors import Unauthenticated, UntrustedHost, instance_of, problem
from pims.errors import AccessDenied

__all__ = ["Authorizer", "Gate", "LoopbackAuthorizer", "NetworkAuthorizer"]

UNTRUSTED = (
    "This server answers requests sent to localhost only. To use it under another name, "
    "run it with AUTH=network."
)
CHALLENGE = 'Bearer realm="PIMS"'


class Authorizer(ABC):
    """Says yes, or raises. Called on the event loop for every request: it never blocks."""

    @abstractmethod
    def authorize(self, scope: Scope, filepath: str | None) -> None:
        """Whether this request may be answered.

        Parameters
        ----------
        scope : of the ASGI request
        filepath : of the image it shows; none when it shows no image

        Raises
        ------
        AccessDenied, or its subclasses Unauthenticated and UntrustedHost
        """


class LoopbackAuthorizer(Authorizer):
    """AUTH=off: the server listens on this machine only, and whoever reaches it may ask.

    A web page elsewhere reaches it too, by making its own name resolve to 127.0.0.1 (DNS rebinding). The
    browser then sends that name: only names of this machine, and `allowed_hosts`, are answered.
    """

    def __init__(self, allowed_hosts: Iterable[str] = ()) -> None:
        allowed = frozenset(host.lower() for host in allowed_hosts)
        self._behind_proxy = bool(allowed)
        self._is_own = lru_cache(maxsize=256)(lambda client: _is_local(client.encode()))
        self._is_trusted = lru_cache(maxsize=256)(lambda host: _hostname(host) in allowed or _is_local(host))

    def authorize(self, scope: Scope, filepath: str | None) -> None:
        client = scope.get("client")
        if client is not None and not self._behind_proxy and not self._is_own(client[0]):
            raise AccessDenied("This server answers requests from its own machine only.")
        host = None  # HTTP/1.0 clients send none; browsers, the only ones that can be tricked, always do
        for name, value in scope["headers"]:
            if name == b"host":
                if host is not None or not self._is_trusted(value[:300]):
                    raise UntrustedHost(UNTRUSTED)
                host = value


class NetworkAuthorizer(Authorizer):
    """AUTH=network: requests from these networks, and those that bring the shared secret, are answered."""

    def __init__(self, networks: Iterable[str], secret: str | None = None) -> None:
        self._networks = tuple(ipaddress.ip_network(network) for network in networks)
        self._secret = secret.encode() if secret else None
        self._is_inside = lru_cache(maxsize=4096)(self._find)

    def authorize(self, scope: Scope, filepath: str | None) -> None:
        client = scope.get("client")
        if client is not None and self._is_inside(client[0]):
            return
        if self._secret is None:
            raise AccessDenied("This server does not answer requests from your network.")
        given = _bearer(scope)
        if given is None:
            raise Unauthenticated("Send `Authorization: Bearer <secret>`.", CHALLENGE)
        if not hmac.compare_digest(given, self._secret):
            raise Unauthenticated("The secret is not the right one.", f'{CHALLENGE}, error="invalid_token"')

    def _find(self, client: str) -> bool:
        try:
            address = ipaddress.ip_address(client)
        except ValueError:
            return False
        mapped = getattr(address, "ipv4_mapped", None)
        return any((mapped or address) in network for network in self._networks)


class Gate:
    """ASGI middleware that lets nothing through unauthorised, but the paths named open."""

    def __init__(self, app: ASGIApp, authorizer: Authorizer, open_paths: Iterable[str] = ()) -> None:
        self.app = app
        self.authorizer = authorizer
        self.open_paths = frozenset(open_paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] not in self.open_paths:
            try:
                self.authorizer.authorize(scope, None)
            except AccessDenied as error:
                status, headers, body = problem(error, instance_of(scope))
                await send({"type": "http.response.start", "status": status, "headers": headers})
                await send({"type": "http.response.body", "body": body})
                return
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        await self.app(scope, receive, send)


def _bearer(scope: Scope) -> bytes | None:
    for name, value in scope["headers"]:
        if name == b"authorization":
            scheme, _, credential = value.partition(b" ")
            if scheme.lower() == b"bearer":
                token: bytes = credential.strip()
                return token
    return None


def _hostname(host: bytes) -> str:
    """A Host header without its port and the brackets of IPv6, in lower case."""
    text = host.decode("latin-1").lower()
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0]


def _is_local(host: bytes) -> bool:
    name = _hostname(host)
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
