"""Why a part is not there."""


class PartUnavailable(Exception):
    """The part cannot be had on this machine; tests that need it are skipped with this reason."""


class PartBroken(Exception):
    """The part is there and does not start or end as it should; tests that need it fail."""
