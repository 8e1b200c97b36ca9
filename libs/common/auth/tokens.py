"""Tokens: the claims they must carry, made for development and read from anywhere.

A token is a JWT (RFC 7519) with `iss`, `aud`, `sub`, `exp` and `iat`, a shop claim and a roles
claim. `nbf` is honoured when it is there; many OpenID providers leave it out. Roles that this
product does not know are ignored.
"""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import jwt

from common.auth.keys import ALGORITHM, SigningKey
from common.auth.principal import Principal, Role
from common.errors import TokenExpired, Unauthorized
from common.ids import new_id
from common.settings import Settings

LEEWAY_SECONDS = 30
MAX_TOKEN_CHARACTERS = 8_192
MAX_SUBJECT_CHARACTERS = 128
REQUIRED_CLAIMS = ["iss", "aud", "sub", "exp", "iat"]

_KNOWN_ROLES = {role.value: role for role in Role}


@dataclass(frozen=True, slots=True)
class Expected:
    """What a token must say to be ours."""

    issuer: str
    audience: str
    roles_claim: str
    shop_claim: str

    @classmethod
    def by(cls, settings: Settings, issuer: str | None = None) -> "Expected":
        """The expectations of these settings, for `issuer` instead of the configured one."""
        return cls(
            issuer or settings.jwt_issuer,
            settings.jwt_audience,
            settings.jwt_roles_claim,
            settings.jwt_shop_claim,
        )


def issue_token(
    key: SigningKey,
    settings: Settings,
    *,
    subject: str,
    roles: Iterable[Role],
    shop_id: str,
    lifetime_seconds: float = 12 * 3600,
) -> str:
    """A token signed with the local key, for development and for tests."""
    now = int(time.time())
    claims = {
        "iss": settings.jwt_issuer,
        "aud": settings.jwt_audience,
        "sub": subject,
        "shop_id": shop_id,
        "roles": sorted(roles),
        "iat": now,
        "nbf": now,
        "exp": now + int(lifetime_seconds),
        "jti": new_id(),
    }
    return jwt.encode(claims, key.private, ALGORITHM, headers={"kid": key.key_id})


def key_id_of(token: str) -> str | None:
    """The key that a token says it is signed with; `Unauthorized` when it is no token."""
    if len(token) > MAX_TOKEN_CHARACTERS:
        raise Unauthorized("The token is too long.")
    try:
        header = jwt.get_unverified_header(token)
    except (jwt.PyJWTError, ValueError, RecursionError) as error:
        raise Unauthorized("The token is not a JWT.") from error
    kid = header.get("kid")
    return kid if isinstance(kid, str) else None


def read_token(token: str, key: Any, algorithm: str, expected: Expected) -> Principal:
    """The principal of a token signed with `key`; `Unauthorized` when anything is wrong."""
    try:
        claims = jwt.decode(
            token,
            key,
            algorithms=[algorithm],
            audience=expected.audience,
            issuer=expected.issuer,
            leeway=LEEWAY_SECONDS,
            options={"require": REQUIRED_CLAIMS},
        )
    except jwt.ExpiredSignatureError as error:
        raise TokenExpired("The token has expired.") from error
    except (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError) as error:
        raise Unauthorized("The token is not valid here.") from error
    return principal_of(claims, expected)


def principal_of(claims: Mapping[str, Any], expected: Expected) -> Principal:
    """The principal that verified claims describe; `Unauthorized` when one cannot be used."""
    subject, shop_id = claims.get("sub"), _claim(claims, expected.shop_claim)
    if not _name(subject) or not _name(shop_id):
        raise Unauthorized(f"The token lacks sub or {expected.shop_claim}.")
    return Principal(
        subject=str(subject),
        roles=_roles(_claim(claims, expected.roles_claim)),
        shop_id=str(shop_id),
        expires_at=_expiry(claims),
    )


def _expiry(claims: Mapping[str, Any]) -> datetime:
    try:
        return datetime.fromtimestamp(int(claims["exp"]), UTC)
    except (KeyError, OverflowError, OSError, TypeError, ValueError) as error:
        raise Unauthorized("The token's exp is no time.") from error


def _claim(claims: Mapping[str, Any], path: str) -> Any:
    if path in claims:
        # Some providers put dots and slashes into the names themselves.
        return claims[path]
    value: Any = claims
    for part in path.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _name(value: object) -> bool:
    return (
        isinstance(value, str) and 0 < len(value) <= MAX_SUBJECT_CHARACTERS and value.isprintable()
    )


def _roles(value: object) -> frozenset[Role]:
    names = value.split() if isinstance(value, str) else value
    if not isinstance(names, list):
        return frozenset()
    return frozenset(
        _KNOWN_ROLES[name] for name in names if isinstance(name, str) and name in _KNOWN_ROLES
    )
