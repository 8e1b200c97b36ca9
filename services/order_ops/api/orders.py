"""Orders: posted by shop systems, read by staff and by the buyers they belong to."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from common.auth.principal import Principal
from common.contracts import OrderStatus, ParcelStatus, Platform, StepStatus
from common.errors import NotFound
from common.web.etags import etag, not_modified
from common.web.idempotency import IdempotencyKey
from common.web.pages import Moment, Page, PageQuery, page_of
from common.web.serving import RunningService
from common.web.types import ExternalId, View

from .. import store
from ..bookkeeping import OrderRecorded, RecordOrder
from ..orders import Anomaly
from .callers import Reader, ShopSystem, Staff, own_only
from .snapshots import OrderSnapshot

router = APIRouter(prefix="/v1", tags=["orders"])


class OrderRecordedView(View):
    """What became of a snapshot. `changes` is empty for a repeat or a stale one."""

    order_id: str
    status: OrderStatus
    revision: int
    changes: list[str]
    anomalies: list[Anomaly]


class LineView(View):
    """One line of an order."""

    line_id: str
    product_id: str
    sku_id: str | None = None
    title: str
    quantity: int
    unit_price_fen: int
    paid_fen: int


class ParcelView(View):
    """A parcel of an order."""

    tracking_no: str
    courier: str
    status: ParcelStatus


class OrderView(View):
    """An order as the book has it. Money in fen.

    `seller_memo`, `flag`, `anomalies` and `needs_person` are the shop's own: buyers get nothing
    there. `needs_person`: nobody has seen to the latest anomaly or memo conflict yet; `anomalies`
    names every kind there ever was. `closes_at` is when an unpaid order is closed by the platform.
    """

    order_id: str
    platform: Platform
    buyer_id: str
    status: OrderStatus
    step_status: StepStatus
    revision: int
    lines: list[LineView]
    goods_fen: int
    postage_fen: int
    discount_fen: int
    total_fen: int
    paid_fen: int
    created_at: datetime
    paid_at: datetime | None
    shipped_at: datetime | None
    signed_at: datetime | None
    finished_at: datetime | None
    closed_at: datetime | None
    closes_at: datetime | None
    close_reason: str | None
    modified_at: datetime
    region: str | None
    parcels: list[ParcelView]
    refund_open: bool
    seller_memo: str | None
    flag: int | None
    anomalies: list[Anomaly]
    needs_person: bool


class HistoryView(View):
    """One line of an order's history.

    `kind` is an event (`order.paid`), `anomaly.<kind>`, `memo.<state>` or `resolved`: `actor` has
    seen to what the order waited for.
    """

    entry_id: str
    kind: str
    status: OrderStatus
    revision: int
    actor: str
    note: str
    occurred_at: datetime
    recorded_at: datetime


@router.post("/orders")
async def post_order(
    caller: ShopSystem, key: IdempotencyKey, body: OrderSnapshot, service: RunningService
) -> OrderRecordedView:
    """Take in a snapshot of an order: the same as the event `shop.order`."""
    shop_id = caller.require_shop(body.shop_id)
    recorded: OrderRecorded = await service.submit(RecordOrder(snapshot=body.event(shop_id)), key)
    return OrderRecordedView.model_validate(recorded)


@router.get("/orders")
async def list_orders(
    caller: Reader,
    page: PageQuery,
    service: RunningService,
    buyer_id: Annotated[ExternalId | None, Query(description="Orders of one buyer.")] = None,
    status: Annotated[OrderStatus | None, Query(description="Orders in one status.")] = None,
    needs_person: Annotated[
        bool | None, Query(description="true: orders that wait for a person to see to them.")
    ] = None,
) -> Page[OrderView]:
    """The shop's orders, newest first; for a buyer, that buyer's own."""
    if buyer_id is not None:
        caller.require_self(buyer_id)
    filters: dict[str, Any] = {"buyer_id": own_only(caller) or buyer_id, "status": status}
    if own_only(caller) is None:
        filters["needs_person"] = needs_person
    after = page.after(tuple[Moment, str])
    async with service.database.read() as conn:
        found = await store.orders(conn, caller.shop_id, filters, after, page.limit + 1)
    views = [_view(row, caller) for row in found]
    return page_of(views, page.limit, lambda view: (view.created_at, view.order_id))


@router.get("/orders/{order_id}", response_model=OrderView)
async def get_order(
    caller: Reader,
    order_id: ExternalId,
    service: RunningService,
    request: Request,
    response: Response,
) -> Any:
    """One order, with its version as ETag."""
    row = await _order_row(service, caller, order_id)
    headers = {"ETag": etag(row["version"])}
    if not_modified(request.headers.get("if-none-match"), row["version"]):
        return Response(status_code=304, headers=headers)
    response.headers.update(headers)
    return _view(row, caller)


@router.get("/orders/{order_id}/history")
async def get_order_history(
    caller: Staff, order_id: ExternalId, page: PageQuery, service: RunningService
) -> Page[HistoryView]:
    """What happened to an order, oldest first."""
    await _order_row(service, caller, order_id)
    after = page.after(tuple[str])
    async with service.database.read() as conn:
        found = await store.history(
            conn, caller.shop_id, order_id, after[0] if after else None, page.limit + 1
        )
    views = [HistoryView.model_validate(row) for row in found]
    return page_of(views, page.limit, lambda view: (view.entry_id,))


async def _order_row(
    service: RunningService, caller: Principal, order_id: str
) -> Mapping[str, Any]:
    """The order; `NotFound` as well for a buyer who asks for another's."""
    async with service.database.read() as conn:
        row = await store.order(conn, caller.shop_id, order_id)
    if row is None or own_only(caller) not in (None, row["buyer_id"]):
        raise NotFound("No such order.")
    return row


def _view(row: Mapping[str, Any], caller: Principal) -> OrderView:
    shown = dict(row) | {"refund_open": row["refund_open"] or row["case_open"]}
    if own_only(caller) is not None:
        shown |= {"seller_memo": None, "flag": None, "anomalies": [], "needs_person": False}
    return OrderView.model_validate(shown)
