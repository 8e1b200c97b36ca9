"""Editing a buyer's profile: tags and attributes that every agent sees."""

from collections.abc import Iterable

import msgspec

from common.runtime import Need, Work, row, rows
from common.web.etags import ExpectedVersion

from .buyers import Buyer
from .conversations import Conversation
from .groups import SkillGroup, rank_of
from .panel import tell_staff
from .staffing import ANY_VERSION, Edited


class EditBuyer(msgspec.Struct, frozen=True, kw_only=True):
    """Command: a buyer's profile, as a whole."""

    shop_id: str
    buyer_id: str
    name: str
    tags: tuple[str, ...]
    attributes: dict[str, str]
    note: str
    priority: int
    dedicated_agent_id: str | None
    expected: ExpectedVersion = ANY_VERSION


def needs_of(command: EditBuyer) -> Iterable[Need]:
    """The groups, for their priorities; the buyer and their conversation."""
    yield rows(SkillGroup, "of_shop", command.shop_id)
    yield rows(Conversation, "open_of_buyer", command.shop_id, command.buyer_id)
    yield row(Buyer, command.shop_id, command.buyer_id)


def edit_buyer(command: EditBuyer, work: Work) -> Edited:
    """Replaces the profile; a waiting conversation takes the new priority at once."""
    buyer = work.get(Buyer, command.shop_id, command.buyer_id)
    command.expected.check(buyer.edition if buyer else 0)
    if buyer is None:
        buyer = Buyer(shop_id=command.shop_id, buyer_id=command.buyer_id, created_at=work.now)
        work.add(buyer)
    else:
        buyer.edition += 1
    _take_over(command, buyer)
    urgency = {g.group_id: g.priority for g in work.all(SkillGroup, "of_shop", command.shop_id)}
    for conversation in work.all(Conversation, "open_of_buyer", buyer.shop_id, buyer.buyer_id):
        conversation.rank = rank_of(buyer.priority, urgency.get(conversation.group_id, 0))
        conversation.dedicated_agent_id = buyer.dedicated_agent_id
        tell_staff(conversation, buyer, ("tags",), work)
    return Edited(edition=buyer.edition)


def _take_over(command: EditBuyer, buyer: Buyer) -> None:
    buyer.name = command.name
    buyer.tags = command.tags
    buyer.attributes = dict(command.attributes)
    buyer.note = command.note
    buyer.priority = command.priority
    buyer.dedicated_agent_id = command.dedicated_agent_id
