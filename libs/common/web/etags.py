"""ETags and If-Match: an update names the version it changed, or it does not happen.

    @router.put("/conversations/{id}/tags")
    async def replace_tags(caller: Staff, expected: IfMatch, body: Tags, response: Response) -> ...:
        # hand `expected` to the command; the handler calls expected.check(row.version)

    response.headers["ETag"] = etag(row.version)

An ETag is strong: the aggregate's version in quotes. `*` matches every version.
"""

import re
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Header

from common.errors import BadRequest, PreconditionFailed, PreconditionRequired

_LIST = re.compile(r'\s*(?:W/)?"[\x21\x23-\x7e]*"\s*(?:,\s*(?:W/)?"[\x21\x23-\x7e]*"\s*)*')
_STRONG = re.compile(r'(?<!W/)"(\d{1,16})"')
MAX_HEADER_CHARACTERS = 500


def etag(version: int) -> str:
    """The ETag of a version."""
    return f'"{version}"'


@dataclass(frozen=True, slots=True)
class ExpectedVersion:
    """The versions that a caller would overwrite; None means any."""

    versions: frozenset[int] | None

    def check(self, version: int) -> None:
        """Raise `PreconditionFailed`, with the current ETag, unless `version` is expected."""
        if self.versions is not None and version not in self.versions:
            raise PreconditionFailed(
                "If-Match names another version than the current one.",
                headers={"ETag": etag(version)},
            )


def parse_if_match(value: str | None) -> ExpectedVersion:
    """What If-Match says. `PreconditionRequired` without one, `BadRequest` for a broken one.

    A weak or foreign ETag is well-formed and matches nothing.
    """
    if value is None:
        raise PreconditionRequired("The update does not say which version it changes.")
    if value.strip() == "*":
        return ExpectedVersion(None)
    if len(value) > MAX_HEADER_CHARACTERS or not _LIST.fullmatch(value):
        raise BadRequest('If-Match is a list of ETags such as "7".')
    return ExpectedVersion(frozenset(int(found) for found in _STRONG.findall(value)))


def not_modified(if_none_match: str | None, version: int) -> bool:
    """Whether a read may be answered with 304: If-None-Match names this version."""
    if not if_none_match:
        return False
    offered = {part.strip().removeprefix("W/") for part in if_none_match.split(",")}
    return "*" in offered or etag(version) in offered


async def _if_match(
    if_match: Annotated[
        str | None,
        Header(alias="If-Match", description="ETag of the version that is changed, or `*`."),
    ] = None,
) -> ExpectedVersion:
    return parse_if_match(if_match)


IfMatch = Annotated[ExpectedVersion, Depends(_if_match)]
"""The version that an update names; required."""
