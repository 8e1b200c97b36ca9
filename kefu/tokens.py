"""Tokens signed with the local key: for development, the demo and the replay."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from kefu.cli.failures import CommandFailed

if TYPE_CHECKING:
    from common.auth.keys import SigningKey
    from common.auth.principal import Role
    from common.settings import Settings

MAX_HOURS = 24 * 366


class Issuer:
    """Makes tokens for one shop with the local signing key.

    The key is made on first use (`create`), or must be there already: a replay that made its own
    would hold tokens that nobody accepts.
    """

    def __init__(self, settings: "Settings", shop_id: str, *, create: bool = False) -> None:
        from common.auth.keys import load_or_create_signing_key

        path = settings.signing_key_path
        if not create and not path.exists():
            raise CommandFailed(
                f"no signing key at {path}: start `kefu dev` first, or name the running system's "
                "folder with KEFU_HOME (or its key with KEFU_SIGNING_KEY_FILE)"
            )
        self.settings = settings
        self.shop_id = shop_id
        self.key: SigningKey = load_or_create_signing_key(settings)

    def token(self, subject: str, *roles: str, hours: float = 12.0) -> str:
        """A token of one subject; `CommandFailed` for a role that does not exist."""
        from common.auth.tokens import issue_token

        return issue_token(
            self.key,
            self.settings,
            subject=subject,
            roles=known_roles(roles),
            shop_id=self.shop_id,
            lifetime_seconds=hours * 3600,
        )


def known_roles(names: Iterable[str]) -> "list[Role]":
    """The roles of these names."""
    from common.auth.principal import Role

    try:
        return [Role(name.replace("-", "_")) for name in names]
    except ValueError as error:
        known = ", ".join(role.value for role in Role)
        raise CommandFailed(f"{error}; there are {known}") from None
