"""Every operation of the API, as its document describes it, with a request that would be taken."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from common.auth.principal import INCLUDES, Role
from tests.support.whole import BUYER, Scene, a_review, refund, snapshot


@dataclass(frozen=True)
class Operation:
    """One operation: who may call it, and what a request of it carries."""

    method: str
    path: str
    roles: frozenset[Role]
    headers: frozenset[str]
    takes_body: bool
    required: frozenset[str] = frozenset()
    """Query parameters that it asks for."""

    @property
    def name(self) -> str:
        """`POST /chat_router/v1/messages`."""
        return f"{self.method} {self.path}"

    @property
    def names_something(self) -> bool:
        """Whether an id stands in its path."""
        return "{" in self.path

    def place(self, ids: Mapping[str, str]) -> str:
        """The path with these ids."""
        return self.path.format_map(ids)

    def may(self, role: Role) -> bool:
        """Whether a role may call it."""
        return bool(INCLUDES[role] & self.roles)

    @property
    def caller(self) -> Role:
        """A role that may call it, of those with the widest sight."""
        return next(role for role in _WIDEST if self.may(role))


_WIDEST = (Role.SYSTEM, Role.ADMIN, Role.SUPERVISOR, Role.OPERATIONS, Role.AGENT, Role.BUYER)


def operations_of(document: Mapping[str, Any]) -> list[Operation]:
    """The operations under /v1 of every service."""
    return [
        Operation(
            method.upper(),
            path,
            frozenset(Role(name) for name in stated["x-roles"]),
            frozenset(one["name"] for one in stated.get("parameters", ()) if one["in"] == "header"),
            "requestBody" in stated,
            frozenset(
                one["name"]
                for one in stated.get("parameters", ())
                if one["in"] == "query" and one.get("required")
            ),
        )
        for path, item in document["paths"].items()
        for method, stated in item.items()
        if "/v1/" in path
    ]


def body_of(operation: Operation, scene: Scene) -> Any:
    """A body that the operation takes; None where it takes none. `KeyError` for a new one."""
    return bodies(scene)[operation.name] if operation.takes_body else None


def bodies(scene: Scene) -> dict[str, Any]:
    """For each operation with a body, one that it takes."""
    ids = scene.ids
    order = snapshot("new-order")
    asked = {
        "order_id": ids["order_id"],
        "kind": "refund_only",
        "reason": "质量问题",
        "goods_received": True,
    }
    rules = {"deadline_hours": {}, "proof_days": 7}
    return {
        "POST /chat_router/v1/messages": {
            "client_message_id": "m-new",
            "text": "在吗",
            "conversation_id": ids["conversation_id"],
            "buyer_id": BUYER,
        },
        "POST /chat_router/v1/conversations/{conversation_id}/messages": {
            "client_message_id": "m-newer",
            "text": "在吗",
        },
        "POST /chat_router/v1/conversations/{conversation_id}/transfers": {
            "to_group_id": ids["group_id"]
        },
        "POST /chat_router/v1/conversations/{conversation_id}/read_marks": {"up_to_seq": 1},
        "POST /chat_router/v1/conversations/{conversation_id}/rating": {"rating": 5},
        "PUT /chat_router/v1/agents/{agent_id}": {"capacity": 3},
        "PUT /chat_router/v1/agents/{agent_id}/presence": {"presence": "online"},
        "PUT /chat_router/v1/groups/{group_id}": {"name": "售后"},
        "PUT /chat_router/v1/buyers/{buyer_id}": {"name": "李华"},
        "PUT /chat_router/v1/shop_settings": {"timezone": "Asia/Shanghai"},
        "POST /chat_router/v1/return_requests": asked,
        "POST /order_ops/v1/orders": order,
        "POST /order_ops/v1/orders/{order_id}/memos": {"text": "送礼"},
        "POST /order_ops/v1/orders/{order_id}/resolutions": {"note": "已核实"},
        "PUT /order_ops/v1/reminder_blocklist/{buyer_id}": {"blocked": True},
        "PUT /order_ops/v1/reminder_policies/current": REMINDER_POLICY,
        "POST /aftersales/v1/cases": asked | {"buyer_id": BUYER},
        "POST /aftersales/v1/cases/{case_id}/agreements": {
            "amount_fen": 10_000,
            "refund_version": 1,
        },
        "POST /aftersales/v1/cases/{case_id}/refusals": {"reason": "已经发货"},
        "POST /aftersales/v1/cases/{case_id}/returns": {"tracking_no": "SF1"},
        "POST /aftersales/v1/cases/{case_id}/receipts": {"intact": True},
        "POST /aftersales/v1/cases/{case_id}/withdrawals": {"reason": ""},
        "POST /aftersales/v1/refunds": refund("new-refund", order),
        "PUT /aftersales/v1/deadline_policies": {
            "policies": [
                {"state": "wait_seller_agree", "seconds": 3600, "action": "auto_agree"},
            ]
        },
        "POST /feedback/v1/items/{item_id}/corrections": {"tags": [], "sentiment": "neutral"},
        "POST /feedback/v1/reviews": a_review("new-review"),
        "POST /feedback/v1/tasks": {"product_id": "coat-001", "tag": scene.tag},
        "POST /feedback/v1/tasks/{task_id}/answers": {"text": "正在查"},
        "POST /feedback/v1/tasks/{task_id}/closings": {"answer": "已修", "outcome": "fixed"},
        "PUT /feedback/v1/policies/current": rules,
    }


REMINDER_POLICY: dict[str, Any] = {
    "enabled": True,
    "stages": [],
    "max_per_day": 1,
    "quiet_from": "22:00",
    "quiet_until": "08:00",
    "time_zone": "Asia/Shanghai",
    "minimum_fen": 0,
    "grades": [],
    "recent_purchase_seconds": 0,
    "live_chat_seconds": 600,
    "minimum_gap_seconds": 0,
    "late_tolerance_seconds": 3600,
    "acknowledge_seconds": 600,
    "holdout_basis_points": 0,
}
