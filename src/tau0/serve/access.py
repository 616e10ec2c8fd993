"""Who may connect: the address that is listened at, a shared token, TLS, and no page of a foreign site."""

from __future__ import annotations

import base64
import binascii
import hmac
import ipaddress
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from websockets.datastructures import Headers

MIN_TOKEN = 16
"""Fewest characters of a token. `python -c "import secrets; print(secrets.token_urlsafe(32))"` makes a good one."""

_SCHEMES = ("bearer", "api-key")
LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")


class AccessError(ValueError):
    """The server would be open to strangers, or its certificate cannot be used."""


@dataclass(frozen=True, kw_only=True)
class Access:
    """Where the server listens and whom it believes.

    Attributes:
        host: Address. Other machines are let in by a token alone, unless `is_open`.
        port: 0 for any that is free.
        token: What clients have to know; None for no token.
        certificate: TLS certificate chain, PEM; None for no TLS.
        key: Its private key, PEM.
        is_open: Strangers on the network may drive the robot: somebody has said so.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    token: str | None = field(default=None, repr=False)
    certificate: Path | None = None
    key: Path | None = None
    is_open: bool = False

    def __post_init__(self) -> None:
        if self.token is not None and (len(self.token) < MIN_TOKEN or not self.token.isascii() or not self.token.isprintable()):
            raise AccessError(f"the token has {len(self.token)} characters; it needs at least {MIN_TOKEN}, of ASCII that can be printed")
        if (self.certificate is None) != (self.key is None):
            raise AccessError("TLS needs both a certificate and its key, only one was given")
        if not 0 <= self.port < 2**16:
            raise AccessError(f"port {self.port} does not exist; there are 0 to {2**16 - 1}")
        if not self.is_local and self.token is None and not self.is_open:
            raise AccessError(
                f"whoever reaches {self.host} could drive the robot: give a token, or allow it by name (--insecure-no-token); "
                f"or listen at 127.0.0.1, which this machine alone reaches"
            )

    @property
    def is_local(self) -> bool:
        """Whether this machine alone can connect."""
        return is_loopback(self.host)

    @property
    def scheme(self) -> str:
        """`wss` with TLS, `ws` without."""
        return "ws" if self.certificate is None else "wss"

    def tls(self) -> ssl.SSLContext | None:
        """TLS 1.2 or later with the certificate; None for no TLS. Raises `AccessError` when the files are no certificate and its key."""
        if self.certificate is None or self.key is None:
            return None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            context.load_cert_chain(self.certificate, self.key)
        except (OSError, ssl.SSLError) as error:
            raise AccessError(f"{self.certificate} and {self.key} are no certificate and its key: {error}") from error
        return context

    def knows(self, headers: Headers) -> bool:
        """Whether the request shows the token, as `Authorization: Bearer ...` or `Api-Key ...`. Takes as long for every wrong token."""
        if self.token is None:
            return True
        given = headers.get_all("Authorization")
        scheme, _, word = given[0].partition(" ") if len(given) == 1 else ("", "", "")
        return matches(word.strip(), self.token) and scheme.lower() in _SCHEMES

    def knows_person(self, headers: Headers) -> bool:
        """Whether the request shows the token as `knows` wants it, or as a browser does that has asked for it: the password of any name."""
        if self.token is None or self.knows(headers):
            return True
        given = headers.get_all("Authorization")
        scheme, _, word = given[0].partition(" ") if len(given) == 1 else ("", "", "")
        try:
            password = base64.b64decode(word.strip(), validate=True).partition(b":")[2].decode()
        except (binascii.Error, ValueError):
            password = ""
        return matches(password, self.token) and scheme.lower() == "basic"

    def is_foreign(self, headers: Headers) -> bool:
        """Whether a browser asks on behalf of another site, or under a name that is not this machine's (a rebound one)."""
        hosts, origins = headers.get_all("Host"), headers.get_all("Origin")
        if len(hosts) != 1 or len(origins) > 1:
            return True
        if origins and urlsplit(origins[0]).netloc != hosts[0]:
            return True
        return self.is_local and self.token is None and not is_loopback(urlsplit(f"//{hosts[0]}").hostname or "")


def matches(given: str, wanted: str) -> bool:
    """Whether two secrets are equal, in a time that does not tell where they differ."""
    return hmac.compare_digest(given.encode("utf-8", "surrogatepass"), wanted.encode())


def is_loopback(host: str) -> bool:
    """Whether the address is this machine's own."""
    if host in LOCAL_NAMES:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
