"""The demo shop: who works there, what it sells, what it answers. Chinese with English beside.

The JSON files beside this module are the shop; `apply` (kefu.seed.apply) puts into a running
system what its services keep. No service keeps answers or scripts yet: faq and scripts wait for
the bot and the script library.
"""

import json
from functools import cache
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
DEMO_SHOP = "demo"


@cache
def seed_file(name: str) -> Any:
    """One of the files: shop, staff, products, faq, scripts, policies."""
    return json.loads((FOLDER / f"{name}.json").read_text("utf-8"))


def catalogue() -> dict[str, tuple[str, int]]:
    """Product → (Chinese title, price in fen)."""
    return {
        product["product_id"]: (product["title"]["zh"], product["price_fen"])
        for product in seed_file("products")
    }


def people(*roles: str) -> list[dict[str, Any]]:
    """The staff with one of these roles; all without any."""
    return [one for one in seed_file("staff")["people"] if not roles or one["role"] in roles]
