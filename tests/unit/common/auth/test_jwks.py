"""Tokens of an outside issuer, and what happens while it is down."""

import json
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import jwt
import pytest
import stamina
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from common.auth.jwks import (
    FRESH_SECONDS,
    REFETCH_SECONDS,
    STALE_SECONDS,
    JwksVerifier,
    usable_keys,
)
from common.auth.tokens import Expected
from common.auth.verifiers import ByKey
from common.errors import Unauthorized, Unavailable

ISSUER = "https://login.example/realms/kefu"
EXPECTED = Expected(ISSUER, "kefu", "roles", "shop_id")

RSA_KEY = rsa.generate_private_key(65537, 2048)
WEAK_KEY = rsa.generate_private_key(65537, 1024)
EC_KEY = ec.generate_private_key(ec.SECP256R1())


def jwk(private: Any, kid: str | None, **more: Any) -> dict[str, Any]:
    is_rsa = isinstance(private, rsa.RSAPrivateKey)
    kind = jwt.algorithms.RSAAlgorithm if is_rsa else jwt.algorithms.ECAlgorithm
    described: dict[str, Any] = json.loads(kind.to_jwk(private.public_key()))
    return described | ({"kid": kid} if kid else {}) | more


def token(private: Any, kid: str | None, algorithm: str, **changed: Any) -> str:
    now = int(time.time())
    claims = {
        "iss": ISSUER, "aud": "kefu", "sub": "a1", "shop_id": "demo", "roles": ["agent"],
        "iat": now, "exp": now + 600,
    }  # fmt: skip
    return jwt.encode(claims | changed, private, algorithm, headers={"kid": kid} if kid else None)


class Issuer:
    """An issuer over a fake network, and a clock moved by hand."""

    def __init__(self) -> None:
        self.keys = [jwk(RSA_KEY, "r1"), jwk(EC_KEY, "e1")]
        self.fetched = 0
        self.failing = False
        self.now = 1000.0
        self.name = ISSUER

    def answer(self, request: httpx.Request) -> httpx.Response:
        if self.failing:
            raise httpx.ConnectError("refused")
        if request.url.path.endswith("/openid-configuration"):
            document = {"issuer": self.name, "jwks_uri": "https://login.example/keys"}
            return httpx.Response(200, json=document)
        self.fetched += 1
        return httpx.Response(200, json={"keys": self.keys})

    def verifier(self, jwks_url: str | None = "https://login.example/keys") -> JwksVerifier:
        client = httpx.AsyncClient(transport=httpx.MockTransport(self.answer))
        return JwksVerifier(EXPECTED, jwks_url=jwks_url, client=client, clock=lambda: self.now)


@pytest.fixture(autouse=True)
def _no_waiting() -> Any:
    with stamina.set_testing(True, attempts=1):
        yield


@pytest.fixture
def issuer() -> Issuer:
    return Issuer()


@pytest.fixture
async def verifier(issuer: Issuer) -> AsyncIterator[JwksVerifier]:
    made = issuer.verifier()
    yield made
    await made.close()


async def settled(verifier: JwksVerifier) -> None:
    """Until a renewal in the background is done."""
    if verifier._renewal is not None:
        await verifier._renewal


async def test_rsa_and_elliptic_tokens_of_the_issuer_hold(verifier: JwksVerifier) -> None:
    assert (await verifier.verify(token(RSA_KEY, "r1", "RS256"))).subject == "a1"
    assert (await verifier.verify(token(EC_KEY, "e1", "ES256"))).shop_id == "demo"


async def test_keys_are_fetched_once_for_many_tokens(
    issuer: Issuer, verifier: JwksVerifier
) -> None:
    for _ in range(5):
        await verifier.verify(token(RSA_KEY, "r1", "RS256"))
    assert issuer.fetched == 1


async def test_the_key_decides_the_algorithm(verifier: JwksVerifier) -> None:
    for forged in (
        token(RSA_KEY, "r1", "RS512"),
        token(RSA_KEY, "r1", "PS256"),
        token(RSA_KEY, "e1", "RS256"),
        token("secret-of-thirty-two-bytes-length!!", "r1", "HS256"),
    ):
        with pytest.raises(Unauthorized):
            await verifier.verify(forged)


async def test_claims_are_checked_against_the_issuer(verifier: JwksVerifier) -> None:
    for wrong in ({"iss": "https://evil.example"}, {"aud": "shop"}, {"exp": 1}, {"shop_id": None}):
        with pytest.raises(Unauthorized):
            await verifier.verify(token(RSA_KEY, "r1", "RS256", **wrong))


async def test_a_new_key_is_found_at_once(issuer: Issuer, verifier: JwksVerifier) -> None:
    await verifier.verify(token(RSA_KEY, "r1", "RS256"))
    new = ec.generate_private_key(ec.SECP256R1())
    issuer.keys = [jwk(new, "e2")]
    issuer.now += REFETCH_SECONDS
    await verifier.verify(token(new, "e2", "ES256"))
    with pytest.raises(Unauthorized):
        await verifier.verify(token(RSA_KEY, "r1", "RS256"))


async def test_forged_key_ids_do_not_hammer_the_issuer(
    issuer: Issuer, verifier: JwksVerifier
) -> None:
    await verifier.verify(token(RSA_KEY, "r1", "RS256"))
    for number in range(50):
        with pytest.raises(Unauthorized):
            await verifier.verify(token(RSA_KEY, f"forged-{number}", "RS256"))
    assert issuer.fetched == 1
    issuer.now += REFETCH_SECONDS
    with pytest.raises(Unauthorized):
        await verifier.verify(token(RSA_KEY, "forged", "RS256"))
    assert issuer.fetched == 2


async def test_keys_are_renewed_behind_the_callers_back(
    issuer: Issuer, verifier: JwksVerifier
) -> None:
    await verifier.verify(token(RSA_KEY, "r1", "RS256"))
    issuer.keys = [jwk(EC_KEY, "e1")]
    issuer.now += FRESH_SECONDS + 1
    await verifier.verify(token(RSA_KEY, "r1", "RS256"))  # nobody waits for the renewal
    await settled(verifier)
    assert issuer.fetched == 2
    with pytest.raises(Unauthorized):
        await verifier.verify(token(RSA_KEY, "r1", "RS256"))


async def test_while_the_issuer_is_down_the_keys_at_hand_count_for_a_day(
    issuer: Issuer, verifier: JwksVerifier
) -> None:
    await verifier.verify(token(RSA_KEY, "r1", "RS256"))
    issuer.failing = True
    issuer.now += STALE_SECONDS - 10
    await verifier.verify(token(RSA_KEY, "r1", "RS256"))
    await settled(verifier)
    issuer.now += 60
    with pytest.raises(Unavailable) as refused:
        await verifier.verify(token(RSA_KEY, "r1", "RS256"))
    assert refused.value.retry_after
    issuer.failing = False
    issuer.now += REFETCH_SECONDS
    await verifier.verify(token(RSA_KEY, "r1", "RS256"))


async def test_before_the_first_keys_come_the_answer_is_to_try_again(
    issuer: Issuer, verifier: JwksVerifier
) -> None:
    issuer.failing = True
    with pytest.raises(Unavailable):
        await verifier.verify(token(RSA_KEY, "r1", "RS256"))
    issuer.failing = False
    issuer.now += 5
    await verifier.verify(token(RSA_KEY, "r1", "RS256"))


async def test_keys_are_discovered_from_the_issuers_own_document(issuer: Issuer) -> None:
    verifier = issuer.verifier(jwks_url=None)
    await verifier.verify(token(RSA_KEY, "r1", "RS256"))
    issuer.name = "https://evil.example"
    with pytest.raises(Unavailable):
        await issuer.verifier(jwks_url=None).verify(token(RSA_KEY, "r1", "RS256"))


async def test_local_and_outside_keys_can_stand_side_by_side(issuer: Issuer) -> None:
    local = Issuer()
    local.keys = [jwk(EC_KEY, "local-1")]
    both = ByKey("local-1", local.verifier(), issuer.verifier())
    await both.verify(token(EC_KEY, "local-1", "ES256"))
    await both.verify(token(RSA_KEY, "r1", "RS256"))
    assert (local.fetched, issuer.fetched) == (1, 1)
    await both.close()


@pytest.mark.parametrize(
    "described",
    [
        {},
        {"kty": "oct", "k": "c2VjcmV0", "kid": "s"},
        jwk(WEAK_KEY, "weak"),
        jwk(RSA_KEY, "enc", use="enc"),
        jwk(RSA_KEY, "ps", alg="PS256"),
        jwk(ec.generate_private_key(ec.SECP384R1()), "p384"),
        {"kty": "RSA", "kid": "broken", "n": "!!", "e": "AQAB"},
        {"kty": "EC", "kid": "broken", "crv": "P-256", "x": "AA", "y": "AA"},
        "not an object",
    ],
)
def test_keys_that_may_not_sign_are_passed_over(described: Any) -> None:
    assert usable_keys({"keys": [described, jwk(EC_KEY, "e1")]}).keys() == {"e1"}
    with pytest.raises(ValueError, match="no RS256 or ES256 key"):
        usable_keys({"keys": [described]})


@pytest.mark.parametrize("document", [{}, {"keys": None}, {"keys": {}}, {"keys": []}])
def test_a_document_without_keys_is_none(document: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="lists no"):
        usable_keys(document)
