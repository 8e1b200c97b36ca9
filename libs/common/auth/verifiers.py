"""Verifiers: a token in, a principal out, or the error that says why not."""

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Protocol

from common.auth.keys import ALGORITHM, SigningKey, load_or_create_signing_key
from common.auth.principal import Principal
from common.auth.tokens import Expected, key_id_of, read_token
from common.errors import Unauthorized
from common.settings import Settings


class Verifier(Protocol):
    """Anything that can tell whether a token holds."""

    async def verify(self, token: str) -> Principal:
        """The caller. `Unauthorized` for a bad token, `Unavailable` while no keys can be had."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


class LocalVerifier:
    """Accepts what the local key signed (ES256), and nothing else."""

    def __init__(self, key: SigningKey, expected: Expected) -> None:
        self._key = key
        self._expected = expected

    async def verify(self, token: str) -> Principal:
        """See `Verifier`."""
        if key_id_of(token) != self._key.key_id:
            raise Unauthorized("The token is signed with a key that is not accepted here.")
        return read_token(token, self._key.public, ALGORITHM, self._expected)

    async def close(self) -> None:
        """Nothing to let go of."""


class ByKey:
    """The local key for tokens that name it, the issuer's keys for all others."""

    def __init__(self, local_key_id: str, local: Verifier, remote: Verifier) -> None:
        self._local_key_id = local_key_id
        self._local = local
        self._remote = remote

    async def verify(self, token: str) -> Principal:
        """See `Verifier`."""
        chosen = self._local if key_id_of(token) == self._local_key_id else self._remote
        return await chosen.verify(token)

    async def close(self) -> None:
        """Let go of connections."""
        await self._remote.close()


class Remembering:
    """Remembers good tokens for a minute: a signature costs a hundred times a look-up.

    A key withdrawn by the issuer therefore counts for up to a minute more. Only digests are
    kept, at most `size` of them; the least used goes first.
    """

    def __init__(
        self,
        inner: Verifier,
        *,
        seconds: float = 60.0,
        size: int = 20_000,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._inner = inner
        self._seconds = seconds
        self._size = size
        self._clock = clock
        self._known: OrderedDict[bytes, tuple[Principal, float]] = OrderedDict()

    async def verify(self, token: str) -> Principal:
        """See `Verifier`."""
        digest = hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
        now = self._clock()
        if known := self._known.get(digest):
            principal, until = known
            if now < until:
                self._known.move_to_end(digest)
                return principal
            del self._known[digest]
        principal = await self._inner.verify(token)
        if principal.expires_at.timestamp() > now:
            self._remember(digest, principal, now)
        return principal

    def _remember(self, digest: bytes, principal: Principal, now: float) -> None:
        until = min(now + self._seconds, principal.expires_at.timestamp())
        self._known[digest] = (principal, until)
        while len(self._known) > self._size:
            self._known.popitem(last=False)

    async def close(self) -> None:
        """Let go of connections."""
        await self._inner.close()


class RefuseAll:
    """For processes that serve nobody but the probes."""

    async def verify(self, token: str) -> Principal:
        """See `Verifier`."""
        raise Unauthorized("This process accepts no tokens.")

    async def close(self) -> None:
        """Nothing to let go of."""


def build_verifier(settings: Settings) -> Verifier:
    """The verifier that these settings ask for.

    Raises `ValueError` that says what to set when they accept no token at all.
    """
    local = _local(settings) if settings.local_tokens else None
    remote = _remote(settings) if settings.remote_keys else None
    if local is not None and remote is not None:
        return Remembering(ByKey(local[0], local[1], remote))
    if local is not None:
        return Remembering(local[1])
    if remote is not None:
        return Remembering(remote)
    raise ValueError(
        "no tokens are accepted: set KEFU_OIDC_ISSUER or KEFU_JWKS_URL, "
        "or KEFU_ALLOW_LOCAL_TOKENS=true to accept locally signed ones"
    )


def _local(settings: Settings) -> tuple[str, Verifier]:
    key = load_or_create_signing_key(settings)
    return key.key_id, LocalVerifier(key, Expected.by(settings))


def _remote(settings: Settings) -> Verifier:
    from common.auth.jwks import JwksVerifier  # httpx only where it is needed

    return JwksVerifier.by(settings)
