"""The body of a posted order: field by field the same as the event `shop.order`."""

from typing import Annotated

import msgspec
from pydantic import Field

from common.contracts import OrderLine as EventLine
from common.contracts import OrderStatus, ParcelStatus, Platform, ShopOrder, StepStatus
from common.contracts import Parcel as EventParcel
from common.web.types import AwareDatetime, Body, ExternalId, Fen, Line, ShopId, Text


class OrderLine(Body):
    """One line. `paid_fen` is its share of what is, or would be, paid for goods."""

    line_id: ExternalId
    product_id: ExternalId
    sku_id: ExternalId | None = None
    title: Annotated[str, Field(max_length=500, pattern=r"^[^\x00-\x1f\x7f-\x9f]*$")]
    quantity: int = Field(strict=True, ge=1, le=1_000_000)
    unit_price_fen: Fen
    paid_fen: Fen


class Parcel(Body):
    """A parcel and what its courier last said."""

    tracking_no: ExternalId
    courier: str = Field(min_length=1, max_length=64, pattern=r"^[^\x00-\x1f\x7f-\x9f]+$")
    status: ParcelStatus


class OrderSnapshot(Body):
    """An order as it stands on its platform after a change. Money in fen.

    Snapshots may be repeated, late or reordered; a stale one changes nothing.
    """

    shop_id: ShopId | None = None
    platform: Platform
    order_id: ExternalId
    buyer_id: ExternalId
    status: OrderStatus
    step_status: StepStatus = "none"
    lines: list[OrderLine] = Field(max_length=500)
    goods_fen: Fen
    postage_fen: Fen
    discount_fen: Fen
    total_fen: Fen
    paid_fen: Fen
    created_at: AwareDatetime
    paid_at: AwareDatetime | None = None
    shipped_at: AwareDatetime | None = None
    signed_at: AwareDatetime | None = None
    finished_at: AwareDatetime | None = None
    closed_at: AwareDatetime | None = None
    closes_at: AwareDatetime | None = None
    close_reason: Line | None = None
    modified_at: AwareDatetime
    version: int | None = Field(None, strict=True, ge=0, le=2**53 - 1)
    region: Line | None = None
    parcels: list[Parcel] = Field([], max_length=100)
    seller_memo: Annotated[Text, Field(max_length=1000)] | None = None
    flag: int | None = Field(None, strict=True, ge=0, le=5)
    buyer_grade: Annotated[Line, Field(max_length=64)] | None = None
    refund_open: bool = False

    def event(self, shop_id: str) -> ShopOrder:
        """The same as an event of the caller's shop."""
        fields = {name: getattr(self, name) for name in type(self).model_fields}
        fields["shop_id"] = shop_id
        fields["lines"] = tuple(_struct(line, EventLine) for line in self.lines)
        fields["parcels"] = tuple(_struct(parcel, EventParcel) for parcel in self.parcels)
        return ShopOrder(**fields)


def _struct(body: Body, kind: type[msgspec.Struct]) -> msgspec.Struct:
    return kind(**{name: getattr(body, name) for name in type(body).model_fields})
