"""Tokens of an outside issuer, verified with the keys it publishes (JWKS, RFC 7517).

Keys are fetched when first needed, and again in the background every ten minutes. A token with
an unknown key id asks for the keys at once, but at most once in thirty seconds, so that forged
ids cannot make us hammer the issuer. While the issuer is down the keys at hand count for a day.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any

import httpx
import jwt
import msgspec
import stamina
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from common.auth.principal import Principal
from common.auth.tokens import Expected, key_id_of, read_token
from common.errors import Unauthorized, Unavailable
from common.settings import Settings
from common.telemetry.logs import get_logger

FRESH_SECONDS = 600.0
STALE_SECONDS = 86_400.0
REFETCH_SECONDS = 30.0
FIRST_REFETCH_SECONDS = 3.0
MAX_DOCUMENT_BYTES = 262_144
MIN_RSA_BITS = 2048

log = get_logger(__name__)

Keys = dict[str | None, tuple[Any, str]]
"""Key id → (public key, the one algorithm it is good for)."""


class JwksVerifier:
    """Accepts RS256 and ES256 tokens of one issuer; the key decides which, not the token."""

    def __init__(
        self,
        expected: Expected,
        *,
        jwks_url: str | None,
        client: httpx.AsyncClient | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._expected = expected
        self._jwks_url = jwks_url
        self._client = client or httpx.AsyncClient(timeout=5.0, follow_redirects=False)
        self._clock = clock
        self._keys: Keys = {}
        self._fetched_at = float("-inf")
        self._tried_at = float("-inf")
        self._fetching = asyncio.Lock()
        self._renewal: asyncio.Task[None] | None = None

    @classmethod
    def by(cls, settings: Settings) -> "JwksVerifier":
        """The verifier of the configured issuer."""
        expected = Expected.by(settings, settings.oidc_issuer)
        return cls(expected, jwks_url=settings.jwks_url)

    async def verify(self, token: str) -> Principal:
        """See `Verifier`."""
        key, algorithm = await self._key(key_id_of(token))
        return read_token(token, key, algorithm, self._expected)

    async def close(self) -> None:
        """Let go of connections."""
        if self._renewal is not None:
            self._renewal.cancel()
        await self._client.aclose()

    async def _key(self, key_id: str | None) -> tuple[Any, str]:
        if key_id not in self._keys or self._age() > STALE_SECONDS:
            await self._refresh(key_id)
        elif self._age() > FRESH_SECONDS and (self._renewal is None or self._renewal.done()):
            self._renewal = asyncio.create_task(self._refresh(key_id))
        if self._age() > STALE_SECONDS:
            raise Unavailable("The issuer's keys cannot be fetched.", retry_after=self._pause())
        if key_id not in self._keys:
            raise Unauthorized("The token is signed with a key that is not accepted here.")
        return self._keys[key_id]

    def _age(self) -> float:
        return self._clock() - self._fetched_at

    def _pause(self) -> float:
        return REFETCH_SECONDS if self._keys else FIRST_REFETCH_SECONDS

    async def _refresh(self, key_id: str | None) -> None:
        async with self._fetching:
            now = self._clock()
            known = key_id in self._keys and self._age() <= FRESH_SECONDS
            if known or now - self._tried_at < self._pause():
                return
            self._tried_at = now
            try:
                self._keys = usable_keys(await self._fetch_jwks())
                self._fetched_at = self._clock()
            except (httpx.HTTPError, msgspec.MsgspecError, ValueError) as error:
                log.warning("jwks_fetch_failed", error=type(error).__name__)

    async def _fetch_jwks(self) -> Mapping[str, Any]:
        if self._jwks_url is None:
            self._jwks_url = await self._discover()
        return await self._get(self._jwks_url)

    async def _discover(self) -> str:
        issuer = self._expected.issuer
        document = await self._get(f"{issuer.rstrip('/')}/.well-known/openid-configuration")
        address = document.get("jwks_uri")
        if document.get("issuer") != issuer or not isinstance(address, str):
            raise ValueError(f"{issuer} describes another issuer, or names no keys")
        if issuer.startswith("https:") and not address.startswith("https:"):
            raise ValueError(f"{issuer} names keys without https")
        return address

    async def _get(self, address: str) -> Mapping[str, Any]:
        async for attempt in stamina.retry_context(on=_worth_repeating, attempts=3, timeout=10.0):
            with attempt:
                return await self._get_once(address)
        raise AssertionError("stamina leaves by return or raise")

    async def _get_once(self, address: str) -> Mapping[str, Any]:
        async with self._client.stream("GET", address) as answer:
            answer.raise_for_status()
            document = b""
            async for part in answer.aiter_bytes():
                document += part
                if len(document) > MAX_DOCUMENT_BYTES:
                    raise ValueError(f"{address} answers with too much")
        return msgspec.json.decode(document, type=dict[str, Any])


def _worth_repeating(error: Exception) -> bool:
    if isinstance(error, httpx.HTTPStatusError):
        return error.response.status_code >= 500
    return isinstance(error, httpx.TransportError)


def usable_keys(document: Mapping[str, Any]) -> Keys:
    """The keys of a JWKS document that may sign tokens here; all others are passed over."""
    listed = document.get("keys")
    if not isinstance(listed, list):
        raise ValueError("the document lists no keys")
    keys: Keys = {}
    for described in listed[:100]:
        if isinstance(described, dict) and (usable := _usable(described)):
            keys[described.get("kid")] = usable
    if not keys:
        raise ValueError("the document lists no RS256 or ES256 key")
    return keys


def _usable(described: dict[str, Any]) -> tuple[Any, str] | None:
    if described.get("use", "sig") != "sig" or not isinstance(described.get("kid"), str | None):
        return None
    algorithm = {"RSA": "RS256", "EC": "ES256"}.get(str(described.get("kty")))
    if algorithm is None or described.get("alg", algorithm) != algorithm:
        return None
    try:
        key = jwt.PyJWK(described, algorithm).key
    except (jwt.PyJWTError, ValueError, TypeError):
        return None
    strong = (isinstance(key, RSAPublicKey) and key.key_size >= MIN_RSA_BITS) or (
        isinstance(key, EllipticCurvePublicKey) and key.curve.name == "secp256r1"
    )
    return (key, algorithm) if strong else None
