"""The reminder block list: buyers who are never reminded to pay."""

import msgspec

from common.runtime import Work

from .buyers import buyer_of


class SetBlocked(msgspec.Struct, frozen=True, kw_only=True):
    """Puts a buyer on the block list or takes them off; repeating it changes nothing."""

    shop_id: str
    buyer_id: str
    blocked: bool
    reason: str
    actor: str


class BlockChanged(msgspec.Struct, frozen=True, kw_only=True):
    """The entry as it now stands."""

    buyer_id: str
    blocked: bool
    reason: str
    changed_by: str


def set_blocked(command: SetBlocked, work: Work) -> BlockChanged:
    """Alters the buyer's entry. Planned reminders stay planned and are dropped when due."""
    buyer = buyer_of(work, command.shop_id, command.buyer_id)
    if (buyer.blocked, buyer.block_reason) != (command.blocked, command.reason):
        buyer.blocked, buyer.block_reason = command.blocked, command.reason
        buyer.blocked_by, buyer.block_changed_at = command.actor, work.now
    return BlockChanged(
        buyer_id=buyer.buyer_id,
        blocked=buyer.blocked,
        reason=buyer.block_reason,
        changed_by=buyer.blocked_by,
    )
