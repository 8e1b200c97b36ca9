"""The local signing key: an ES256 key in a file that only this user can read."""

import contextlib
import hashlib
import os
import secrets
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from common.settings import Settings

ALGORITHM = "ES256"


class SigningKey:
    """A private P-256 key, and the id by which tokens name it."""

    def __init__(self, private: ec.EllipticCurvePrivateKey) -> None:
        self.private = private
        self.public = private.public_key()
        point = self.public.public_bytes(
            serialization.Encoding.X962, serialization.PublicFormat.CompressedPoint
        )
        self.key_id = f"local-{hashlib.sha256(point).hexdigest()[:16]}"


def load_or_create_signing_key(settings: Settings) -> SigningKey:
    """The key of `settings.signing_key_path`, made there (mode 0600) if there is none.

    Processes that start at once agree on one key. Raises `ValueError` when the file holds
    something else, `OSError` when it cannot be read or made.
    """
    path = settings.signing_key_path
    with contextlib.suppress(FileNotFoundError):
        return _load(path)
    _create(path)
    return _load(path)


def _load(path: Path) -> SigningKey:
    pem = path.read_bytes()
    if path.stat().st_mode & 0o077 and os.access(path, os.W_OK):
        path.chmod(0o600)
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path} does not hold a private key in PEM") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.name != "secp256r1":
        raise ValueError(f"{path} does not hold a P-256 private key")
    return SigningKey(key)


def _create(path: Path) -> None:
    pem = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        _write_private(draft, pem)
        # A link appears whole or not at all, and never replaces a key that came first.
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def _write_private(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
