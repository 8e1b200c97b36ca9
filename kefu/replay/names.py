"""Names of one run: what the file calls `lihua` or `o1` is somebody of this run only.

Two runs of one file against one system therefore never meet. Products, groups and agents are the
shop's own and keep their names.
"""

from msgspec import Struct


class Names(Struct, frozen=True):
    """The names of a run; everything derived from them is the same whenever it is derived."""

    run: str

    def buyer(self, name: str) -> str:
        """The platform's id of a buyer."""
        return f"{name}.{self.run}"

    def order(self, name: str) -> str:
        """The platform's id of an order."""
        return f"{self.run}-{name}"

    def refund(self, name: str) -> str:
        """The platform's id of a refund request."""
        return f"{self.run}-rf-{name}"

    def review(self, name: str) -> str:
        """The platform's id of a review."""
        return f"{self.run}-rv-{name}"

    def action(self, step: str, part: str | int = "") -> str:
        """The id under which an action is sent, as client message id or Idempotency-Key."""
        return f"{self.run}.{step}.{part}" if part != "" else f"{self.run}.{step}"
