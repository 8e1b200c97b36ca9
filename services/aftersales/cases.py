"""The after-sale case (售后单): its state, its history, and the refusals it may answer with."""

from datetime import datetime
from typing import Literal

import msgspec

from common.contracts import (
    ActorRole,
    CaseOutcome,
    CaseState,
    DeadlineAction,
    Platform,
    RefundKind,
    RefundPhase,
)
from common.errors import Conflict, InvalidInput

Origin = Literal["platform", "chat", "desk"]
"""Where a case began: on the shop platform, in a conversation, or entered over the API."""

TERMINAL: frozenset[CaseState] = frozenset({"success", "closed"})


class ActionNotAllowed(Conflict):
    """The state of the case has no such transition."""

    code = "action_not_allowed"
    title = "售后单当前状态不允许此操作 / The case's state does not allow this"
    hint = "Read the case again; `state` says what may be done (docs: aftersales, transitions)."


class StaleRefund(Conflict):
    """The answer names a refund version or amount that the buyer has changed since."""

    code = "stale_refund"
    title = "买家已修改退款申请 / The buyer changed the request"
    hint = "Read the case again and answer its present refund_version and amount_fen."


class OverPaid(Conflict):
    """More than what was paid would be refunded, counting what is held for other refunds."""

    code = "over_paid"
    title = "退款金额超过可退金额 / More than what can still be refunded"
    hint = "`refundable_fen` is what is left; agree on a lower amount with the buyer."


class OrderNotKnown(Conflict):
    """The order has not arrived from the order book yet."""

    code = "order_not_known"
    title = "订单尚未同步 / The order is not known yet"
    hint = "Wait for the order to arrive; the case is kept and checked then."


class CaseAlreadyOpen(Conflict):
    """The same order line has an open case."""

    code = "case_already_open"
    title = "该商品已有进行中的售后单 / A case is already open for this line"
    hint = "Go on with the open case, `case_id`."


class AnswerPending(Conflict):
    """The platform has not yet acknowledged the previous answer."""

    code = "answer_pending"
    title = "上一次答复平台尚未确认 / The previous answer is still on its way"
    hint = "Wait until the platform acknowledges it, then read the case again."


class RefundOfOtherOrder(Conflict):
    """A platform refund id that is known for another order."""

    code = "refund_of_other_order"
    title = "退款单属于其他订单 / The refund belongs to another order"
    hint = "Check order_id and refund_id of the snapshot."


class LineNotInOrder(InvalidInput):
    """The order has no such line."""

    code = "line_not_in_order"
    title = "订单中没有该商品行 / The order has no such line"
    hint = "Use a line_id of the order, or leave it out for the whole order."


class Case(msgspec.Struct, kw_only=True):
    """One after-sale case.

    `amount_fen` is what the buyer asks for; None until the order is known, when the request
    named no amount. `order_checked`: the request was held against its order. `refund_version`
    is the platform's: it rises when the buyer alters the request. `pending_command_id` is a
    command the platform has not answered; `overtaken_command_id` a refusal whose answer a snapshot
    overtook: nobody waits for it any more, but it will say why. `blocked_reason`: why a refund
    could not be made and a person must look. `platform_state`, `platform_deadline_at` and the
    `snapshot_*` fields repeat the newest snapshot taken. `revision` numbers the changes from 1; it
    is the ETag and the `version` of the events.
    """

    shop_id: str
    case_id: str
    order_id: str
    line_id: str | None
    product_id: str | None = None
    buyer_id: str
    conversation_id: str | None = None
    platform: Platform
    refund_id: str | None = None
    request_id: str | None = None
    origin: Origin
    kind: RefundKind
    phase: RefundPhase
    state: CaseState = "wait_seller_agree"
    state_since: datetime
    amount_fen: int | None
    order_checked: bool = False
    refunded_fen: int = 0
    refund_version: int = 0
    reason: str
    description: str = ""
    goods_received: bool | None = None
    goods_intact: bool | None = None
    return_tracking_no: str | None = None
    return_courier: str | None = None
    tracking_at: datetime | None = None
    refusal_reason: str | None = None
    refusal_proof_url: str | None = None
    blocked_reason: str | None = None
    outcome: CaseOutcome | None = None
    pending_command_id: str | None = None
    overtaken_command_id: str | None = None
    platform_state: CaseState | None = None
    platform_deadline_at: datetime | None = None
    snapshot_at: datetime | None = None
    snapshot_rank: int = 0
    deadline_at: datetime | None = None
    deadline_action: DeadlineAction | None = None
    warned_deadline_at: datetime | None = None
    opened_at: datetime
    updated_at: datetime
    closed_at: datetime | None = None
    revision: int = 0

    @property
    def is_open(self) -> bool:
        """Whether anything can still happen to the case."""
        return self.state not in TERMINAL

    def stop_waiting(self) -> None:
        """Wait for no answer any more; that of a refusal still says why when it comes.

        The answer to an agreement needs no such trace: its hold knows it.
        """
        if self.pending_command_id is not None and self.state != "refunding":
            self.overtaken_command_id = self.pending_command_id
        self.pending_command_id = None


class Actor(msgspec.Struct, frozen=True):
    """Who did something: a person of the shop, the buyer, the platform, or the system itself."""

    id: str
    role: ActorRole


SYSTEM = Actor("system", "system")
PLATFORM = Actor("platform", "platform")


class CaseEntry(msgspec.Struct, kw_only=True):
    """One line of a case's history: what was done, by whom, why, and the state it led to."""

    shop_id: str
    case_id: str
    revision: int
    action: str
    previous_state: CaseState | None
    state: CaseState
    actor: str
    actor_role: ActorRole
    reason: str
    amount_fen: int | None
    refund_version: int
    at: datetime
