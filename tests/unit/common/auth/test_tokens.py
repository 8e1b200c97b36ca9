"""Tokens: which hold, which do not, and whom they stand for."""

import base64
import hmac
import json
import multiprocessing
import stat
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given
from hypothesis import strategies as st

from common.auth.keys import SigningKey, load_or_create_signing_key
from common.auth.principal import Principal, Role
from common.auth.tokens import Expected, issue_token, principal_of
from common.auth.verifiers import LocalVerifier, Remembering, build_verifier
from common.errors import KefuError, TokenExpired, Unauthorized
from common.settings import Settings

EXPECTED = Expected("kefu", "kefu", "roles", "shop_id")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path)


@pytest.fixture
def key(settings: Settings) -> SigningKey:
    return load_or_create_signing_key(settings)


@pytest.fixture
def verifier(key: SigningKey) -> LocalVerifier:
    return LocalVerifier(key, EXPECTED)


def claims(**changed: Any) -> dict[str, Any]:
    now = int(time.time())
    full = {
        "iss": "kefu", "aud": "kefu", "sub": "a1", "shop_id": "demo", "roles": ["agent"],
        "iat": now, "exp": now + 600,
    }  # fmt: skip
    return {name: value for name, value in (full | changed).items() if value is not ...}


def signed(key: SigningKey, payload: dict[str, Any], **header: Any) -> str:
    return jwt.encode(payload, key.private, "ES256", headers={"kid": key.key_id} | header)


async def test_a_token_stands_for_its_subject_shop_and_roles(
    key: SigningKey, settings: Settings, verifier: LocalVerifier
) -> None:
    token = issue_token(
        key, settings, subject="a1", roles=[Role.SUPERVISOR, Role.AGENT], shop_id="demo"
    )
    caller = await verifier.verify(token)
    assert (caller.subject, caller.shop_id) == ("a1", "demo")
    assert caller.roles == {Role.SUPERVISOR, Role.AGENT}
    assert caller.expires_at.timestamp() == pytest.approx(time.time() + 12 * 3600, abs=60)


@pytest.mark.parametrize(
    "changed",
    [
        {"iss": "other"},
        {"iss": ...},
        {"aud": "other"},
        {"aud": ...},
        {"sub": ...},
        {"sub": ""},
        {"sub": 7},
        {"sub": "a\nb"},
        {"sub": "x" * 129},
        {"shop_id": ...},
        {"shop_id": 7},
        {"shop_id": ["demo"]},
        {"exp": ...},
        {"exp": "soon"},
        {"exp": 10**30},
        {"iat": ...},
        {"iat": time.time() + 3600},
        {"nbf": time.time() + 3600},
    ],
)
async def test_a_token_with_a_wrong_claim_does_not_hold(
    key: SigningKey, verifier: LocalVerifier, changed: dict[str, Any]
) -> None:
    with pytest.raises(Unauthorized):
        await verifier.verify(signed(key, claims(**changed)))


async def test_clocks_may_differ_by_half_a_minute_and_no_more(
    key: SigningKey, verifier: LocalVerifier
) -> None:
    now = int(time.time())
    await verifier.verify(signed(key, claims(exp=now - 15, iat=now + 15, nbf=now + 15)))
    with pytest.raises(TokenExpired):
        await verifier.verify(signed(key, claims(exp=now - 45)))


async def test_roles_that_are_not_known_are_ignored(
    key: SigningKey, verifier: LocalVerifier
) -> None:
    for given_roles, held in (
        (["agent", "root", 7, None], {Role.AGENT}),
        ("agent supervisor", {Role.AGENT, Role.SUPERVISOR}),
        ({"agent": True}, set()),
        (..., set()),
    ):
        caller = await verifier.verify(signed(key, claims(roles=given_roles)))
        assert caller.roles == held


# ---------------------------------------------------------------- forged


def unsigned(header: dict[str, Any], payload: dict[str, Any], signature: str = "") -> str:
    def part(value: dict[str, Any]) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    return f"{part(header)}.{part(payload)}.{signature}"


async def test_a_token_that_nobody_signed_does_not_hold(
    key: SigningKey, verifier: LocalVerifier
) -> None:
    for algorithm in ("none", "None", "NONE", ""):
        header = {"alg": algorithm, "kid": key.key_id}
        for token in (unsigned(header, claims()), unsigned(header, claims(), "AAAA")):
            with pytest.raises(Unauthorized):
                await verifier.verify(token)


async def test_the_public_key_is_no_shared_secret(key: SigningKey, verifier: LocalVerifier) -> None:
    header = {"alg": "HS256", "kid": key.key_id}
    for encoding in (serialization.Encoding.DER, serialization.Encoding.PEM):
        secret = key.public.public_bytes(encoding, serialization.PublicFormat.SubjectPublicKeyInfo)
        signed_part = unsigned(header, claims()).rpartition(".")[0]
        digest = hmac.digest(secret, signed_part.encode(), "sha256")
        signature = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        with pytest.raises(Unauthorized):
            await verifier.verify(f"{signed_part}.{signature}")


async def test_a_token_of_another_key_does_not_hold_even_under_our_keys_name(
    key: SigningKey, verifier: LocalVerifier
) -> None:
    stranger = SigningKey(ec.generate_private_key(ec.SECP256R1()))
    with pytest.raises(Unauthorized):
        await verifier.verify(signed(stranger, claims()))
    with pytest.raises(Unauthorized):
        await verifier.verify(signed(stranger, claims(), kid=key.key_id))
    rsa_key = rsa.generate_private_key(65537, 2048)
    token = jwt.encode(claims(), rsa_key, "RS256", headers={"kid": key.key_id})
    with pytest.raises(Unauthorized):
        await verifier.verify(token)


async def test_a_key_that_the_token_brings_along_is_not_looked_at(
    key: SigningKey, verifier: LocalVerifier
) -> None:
    stranger = SigningKey(ec.generate_private_key(ec.SECP256R1()))
    jwk = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(stranger.public))
    token = signed(stranger, claims(), kid=key.key_id, jwk=jwk, jku="https://evil.example/keys")
    with pytest.raises(Unauthorized):
        await verifier.verify(token)


async def test_a_changed_payload_breaks_the_signature(
    key: SigningKey, verifier: LocalVerifier
) -> None:
    header, payload, signature = signed(key, claims()).split(".")
    raised = unsigned({}, claims(roles=["admin"])).split(".")[1]
    assert raised != payload
    with pytest.raises(Unauthorized):
        await verifier.verify(f"{header}.{raised}.{signature}")


@given(st.text(max_size=300) | st.binary(max_size=300).map(lambda raw: raw.decode("latin-1")))
async def test_any_text_is_refused_without_another_error(text: str) -> None:
    verifier = LocalVerifier(SHARED_KEY, EXPECTED)
    with pytest.raises(Unauthorized):
        await Remembering(verifier).verify(text)


SHARED_KEY = SigningKey(ec.generate_private_key(ec.SECP256R1()))

json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)


@given(
    st.fixed_dictionaries(
        {}, optional=dict.fromkeys(("sub", "shop_id", "roles", "exp"), json_values)
    )
)
def test_odd_claims_of_a_trusted_issuer_are_a_principal_or_refused(found: dict[str, Any]) -> None:
    try:
        caller = principal_of(found, EXPECTED)
    except Unauthorized:
        return
    assert isinstance(caller, Principal)
    assert caller.shop_id == found["shop_id"]


@pytest.mark.parametrize(
    "path, payload",
    [
        ("realm_access.roles", {"realm_access": {"roles": ["agent"]}}),
        ("https://kefu.example/roles", {"https://kefu.example/roles": ["agent"]}),
    ],
)
def test_roles_are_found_where_the_provider_puts_them(path: str, payload: dict[str, Any]) -> None:
    expected = Expected("kefu", "kefu", path, "shop_id")
    caller = principal_of({"sub": "a", "shop_id": "s", "exp": 1_900_000_000} | payload, expected)
    assert caller.roles == {Role.AGENT}


# ---------------------------------------------------------------- remembered


class Counting:
    """A verifier that counts, and accepts until it is told not to."""

    def __init__(self, expires_at: float) -> None:
        self.asked = 0
        self.accepts = True
        self.expires_at = expires_at

    async def verify(self, token: str) -> Principal:
        self.asked += 1
        if not self.accepts:
            raise Unauthorized
        moment = datetime.fromtimestamp(self.expires_at, UTC)
        return Principal(token, frozenset({Role.AGENT}), "demo", moment)

    async def close(self) -> None:
        return None


async def test_a_good_token_is_verified_once_a_minute() -> None:
    now = [1000.0]
    inner = Counting(expires_at=10_000.0)
    verifier = Remembering(inner, clock=lambda: now[0])
    for _ in range(5):
        assert (await verifier.verify("t")).subject == "t"
    assert inner.asked == 1
    inner.accepts = False
    now[0] += 61
    with pytest.raises(Unauthorized):
        await verifier.verify("t")


async def test_a_remembered_token_does_not_outlive_its_expiry() -> None:
    now = [1000.0]
    inner = Counting(expires_at=1010.0)
    verifier = Remembering(inner, clock=lambda: now[0])
    await verifier.verify("t")
    now[0] = 1010.0
    inner.accepts = False
    with pytest.raises(Unauthorized):
        await verifier.verify("t")


async def test_bad_tokens_are_not_remembered_and_memory_is_bounded() -> None:
    inner = Counting(expires_at=10_000.0)
    verifier = Remembering(inner, size=2, clock=lambda: 1000.0)
    inner.accepts = False
    for _ in range(2):
        with pytest.raises(Unauthorized):
            await verifier.verify("bad")
    assert inner.asked == 2
    inner.accepts = True
    for token in ("a", "b", "c", "b", "a"):
        await verifier.verify(token)
    assert inner.asked == 2 + 4, "only `a` had been forgotten"


# ---------------------------------------------------------------- the local key


def test_the_key_is_made_once_and_for_its_owner_only(settings: Settings) -> None:
    first = load_or_create_signing_key(settings)
    path = settings.signing_key_path
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert load_or_create_signing_key(settings).key_id == first.key_id
    assert [found.name for found in path.parent.iterdir()] == ["signing.pem"]


def test_a_key_that_others_can_read_is_shut(settings: Settings) -> None:
    load_or_create_signing_key(settings)
    settings.signing_key_path.chmod(0o644)
    load_or_create_signing_key(settings)
    assert stat.S_IMODE(settings.signing_key_path.stat().st_mode) == 0o600


def _key_id(home: str, start: Any, found: Any) -> None:
    start.wait()
    found.put(load_or_create_signing_key(Settings(home=Path(home))).key_id)


def test_processes_that_start_at_once_agree_on_one_key(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    start, found = context.Event(), context.Queue()
    workers = [
        context.Process(target=_key_id, args=(str(tmp_path), start, found)) for _ in range(4)
    ]
    for worker in workers:
        worker.start()
    start.set()
    ids = {found.get(timeout=60) for _ in workers}
    for worker in workers:
        worker.join()
    assert len(ids) == 1
    assert ids == {load_or_create_signing_key(Settings(home=tmp_path)).key_id}


WRONG_CURVE = ec.generate_private_key(ec.SECP384R1()).private_bytes(
    serialization.Encoding.PEM,
    serialization.PrivateFormat.PKCS8,
    serialization.NoEncryption(),
)


@pytest.mark.parametrize("content", [b"", b"not a key", WRONG_CURVE])
def test_a_file_that_is_no_key_is_told_and_kept(settings: Settings, content: bytes) -> None:
    path = settings.signing_key_path
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"signing\.pem does not hold"):
        load_or_create_signing_key(settings)
    assert path.read_bytes() == content


# ---------------------------------------------------------------- which tokens are accepted


async def test_outside_development_the_local_key_counts_only_when_allowed(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="KEFU_OIDC_ISSUER"):
        build_verifier(Settings(home=tmp_path, env="prod"))
    allowed = Settings(home=tmp_path, env="prod", allow_local_tokens=True)
    token = issue_token(
        load_or_create_signing_key(allowed), allowed, subject="a", roles=[Role.AGENT], shop_id="s"
    )
    assert (await build_verifier(allowed).verify(token)).subject == "a"


async def test_with_an_issuer_the_local_key_does_not_count_even_in_development(
    tmp_path: Path,
) -> None:
    local = Settings(home=tmp_path)
    token = issue_token(
        load_or_create_signing_key(local), local, subject="a", roles=[Role.ADMIN], shop_id="s"
    )
    # Nothing listens there: had the local key been asked, the token would have been good.
    remote = build_verifier(Settings(home=tmp_path, jwks_url="http://127.0.0.1:9/keys"))
    with pytest.raises(KefuError):
        await remote.verify(token)
    await remote.close()
