"""Writes the demo day: `python -m kefu.demo.day > kefu/demo/day.jsonl`.

The day is kept as a file, so that it can be read, changed and played like any other; this module
says how it came about. The same text every time: there is no chance in it.

First comes the shop's past, which the complaint alarm measures the day against; after the barrier
the day itself, about a minute long. Every line has an English note on what it is there for.
"""

import json
import sys
from collections.abc import Iterator
from typing import Any

Line = dict[str, Any]

REMINDERS = {
    "stages": [
        {
            "stage": 1,
            "anchor": "after_creation",
            "earliest_seconds": 6,
            "latest_seconds": 6,
            "text": "亲,您拍下的「{title}」还没有付款,应付 {amount} 元,今天付款今天就发。",
        },
        {
            "stage": 2,
            "anchor": "after_creation",
            "earliest_seconds": 18,
            "latest_seconds": 18,
            "text": "亲,「{title}」还给您留着,应付 {amount} 元,有疑问随时问我们。",
        },
    ],
    "quiet_from": "00:00",
    "quiet_until": "00:00",
    "minimum_gap_seconds": 5,
    "holdout_basis_points": 0,
}
CHAT = {"heartbeat_timeout_seconds": 15, "grace_seconds": 3}

PAST_ORDERS = {"sweater-003": 48, "coat-001": 40, "cup-007": 30, "tea-009": 36}
PAST_DAYS = range(1, 35)
PAST_REVIEWS = (
    ("sweater-003", 12.0, 2, "穿了几天袖口有点起球。"),
    ("sweater-003", 20.0, 5, "毛衣很软,颜色也好看。"),
    ("sweater-003", 27.0, 5, "暖和,不扎人,满意。"),
    ("coat-001", 9.0, 5, "很轻很暖,码数合适。"),
    ("coat-001", 16.0, 3, "颜色比图片浅一点。"),
    ("cup-007", 11.0, 2, "收到杯子碎了一个,包装太薄。"),
    ("cup-007", 22.0, 5, "手感好,釉色漂亮。"),
    ("tea-009", 14.0, 5, "香气很清,回甘。"),
)
PILLING = (
    ("mei01", 0.1, 1, "才穿两次就起球了,质量问题,很失望。"),
    ("mei02", 0.3, 2, "洗了一次全是毛球,起球严重。"),
    ("mei03", 0.6, 1, "起球起得厉害,客服说正常,不能接受。"),
    ("mei04", 0.9, 2, "颜色还行,就是起球太快,差评。"),
    ("mei05", 1.2, 1, "第二天腋下就起球,不值这个价。"),
    ("mei06", 1.5, 2, "买来送妈妈,没几天就起球,很尴尬。"),
    ("mei07", 1.8, 1, "起球,掉毛,沾一身,后悔买了。"),
)


def buyer(text: str) -> Line:
    """A turn of the buyer's."""
    return {"from": "buyer", "text": text}


def shop(text: str) -> Line:
    """A turn of the shop's."""
    return {"from": "shop", "text": text}


def day() -> Iterator[Line]:
    """Every line, in order."""
    yield {
        "note": "reminders after seconds instead of minutes, put back at the end",
        "policy": {"reminders": REMINDERS, "chat": CHAT},
    }
    yield from past()
    yield {"barrier": True, "note": "the past is in; the day begins"}
    for story in STORIES:
        yield from story()


# -- the past -------------------------------------------------------------------------------


def past() -> Iterator[Line]:
    """Five weeks of orders and a few reviews: what is normal for these products."""
    for product, count in PAST_ORDERS.items():
        for n in range(count):
            name = f"past-{product}-{n:02d}"
            days_ago = PAST_DAYS[n * len(PAST_DAYS) // count] + n % 7 / 10
            yield {
                "buyer": name,
                "order": {
                    "id": name,
                    "items": [{"product": product}],
                    "days_ago": round(days_ago, 1),
                    "status": "finished",
                },
            }
    for n, (product, days_ago, rating, text) in enumerate(PAST_REVIEWS):
        yield {
            "buyer": f"past-{product}-{n:02d}",
            "review": {
                "id": f"past-{n}",
                "product": product,
                "rating": rating,
                "text": text,
                "days_ago": days_ago,
            },
        }


# -- before the sale ------------------------------------------------------------------------


def asks_and_buys() -> Iterator[Line]:
    """A good day for everyone: chat, order, payment, memo, parcel, review, rating."""
    who = {"buyer": "zhang"}
    yield who | {
        "at": 0,
        "note": "a pre-sale chat with a product card",
        "turns": [
            {"from": "buyer", "product": "coat-001"},
            buyer("这件羽绒外套 160 高 55 公斤穿什么码?"),
            shop("亲,建议拍 L,版型略宽松,里面能加一件毛衣。"),
            buyer("藏青和米白哪个耐脏"),
            shop("藏青耐脏,两个颜色都有现货,16 点前付款今天发。"),
            buyer("好的那拍藏青"),
            shop("好的亲,拍下后我给您备注礼盒包装。"),
        ],
    }
    yield who | {
        "at": 4,
        "order": {
            "id": "o-zhang",
            "items": [{"product": "coat-001", "sku": "coat-001-l-navy"}],
            "discount_fen": 2000,
            "postage_fen": 0,
            "region": "浙江省杭州市",
        },
    }
    yield who | {"at": 6, "pay": "o-zhang", "note": "paid before the first reminder was due"}
    yield who | {
        "at": 7,
        "memo": {"order": "o-zhang", "text": "送礼,请用礼盒,附贺卡", "flag": 1},
        "note": "memo and flag go to the platform and come back acknowledged",
    }
    yield who | {"at": 14, "ship": {"order": "o-zhang", "courier": "SF", "tracking_no": "SF1001"}}
    yield who | {"at": 20, "sign": "o-zhang"}
    yield who | {"at": 22, "rate": {"rating": 5, "reason": "回复快,说得清楚"}}
    yield who | {"at": 22, "tags": ["老客户", "喜欢藏青"]}
    yield who | {
        "at": 23,
        "review": {
            "id": "zhang",
            "product": "coat-001",
            "order": "o-zhang",
            "rating": 5,
            "text": "很轻很暖,包装也用心,送人很合适。",
        },
    }


def only_asks() -> Iterator[Line]:
    """Questions that end without an order."""
    yield {
        "at": 1,
        "buyer": "lin",
        "note": "a question about tea, over HTTP",
        "via": "http",
        "turns": [
            buyer("乌龙茶是浓香还是清香"),
            shop("亲,是清香型的,海拔 1200 米的高山茶。"),
            buyer("保质期多久"),
            shop("18 个月,开封后密封放阴凉处就好。"),
            buyer("我再看看"),
            shop("好的亲,满 300 减 20,需要随时找我。"),
        ],
    }
    yield {
        "at": 2,
        "buyer": "guo",
        "turns": [
            buyer("四件套会掉色吗"),
            shop("亲,深色第一次洗会有少量浮色,单独冷水洗就好。"),
            buyer("1.8 米床能用吗"),
            shop("可以的,拍 1.8 米床那一款。"),
        ],
    }


def transferred() -> Iterator[Line]:
    """A question that belongs to somebody else: handed on with a note."""
    yield {
        "at": 3,
        "buyer": "zhou",
        "keep_open": True,
        "turns": [
            buyer("在吗,上次买的水壶不加热了"),
            shop("亲,很抱歉,水壶保修一年,我帮您转给售后同事。"),
        ],
    }
    yield {
        "at": 5,
        "buyer": "zhou",
        "transfer": {"group": "aftersale", "note": "水壶不加热,在保修期内,买家要换新"},
    }
    yield {
        "at": 6,
        "buyer": "zhou",
        "turns": [
            buyer("你好,水壶的事"),
            shop("您好亲,我是售后,看到同事的备注了,麻烦拍一下底部标签。"),
            {"from": "buyer", "image": "https://img.example.com/kettle-label.jpg"},
            shop("收到,非人为损坏,给您换新,今天寄出。"),
        ],
    }
    yield {"at": 12, "buyer": "zhou", "rate": {"rating": 4, "reason": "转接了一次,但解决了"}}


def agent_drops_off() -> Iterator[Line]:
    """The agent's network fails in mid-chat; after the grace time somebody else goes on."""
    who = {"buyer": "qian"}
    yield who | {
        "at": 8,
        "keep_open": True,
        "turns": [
            buyer("想问下围巾有礼盒吗"),
            shop("有的亲,默认就带礼盒。"),
        ],
    }
    yield who | {"at": 10, "presence": "dropped", "note": "whoever serves this buyer is cut off"}
    yield who | {
        "at": 11,
        "keep_open": True,
        "note": "asked while nobody is there, answered by the next agent",
        "turns": [
            buyer("还在吗?能写贺卡吗"),
            shop("亲,刚才同事掉线了,我来接着为您服务,贺卡可以写的。"),
        ],
    }
    yield who | {"at": 13, "presence": "online"}
    yield who | {"at": 14, "turns": [buyer("那太好了"), shop("好的亲,拍下时备注贺卡内容就行。")]}


def suspended() -> Iterator[Line]:
    """An agent who takes a break keeps the buyers there are and gets no new ones."""
    yield {"at": 5, "agent": "ahua", "presence": "suspended"}
    yield {"at": 25, "agent": "ahua", "presence": "online"}


# -- unpaid orders --------------------------------------------------------------------------


def paid_after_a_reminder() -> Iterator[Line]:
    """The first reminder works: the second is stopped by the payment."""
    who = {"buyer": "li"}
    yield who | {
        "at": 2,
        "order": {"id": "o-li", "items": [{"product": "sheet-005", "sku": "sheet-005-180"}]},
    }
    yield who | {"at": 3, "wait": {"for": "reminder", "order": "o-li"}}
    yield who | {"at": 4, "pay": "o-li", "note": "the second reminder is stopped"}
    yield who | {"at": 20, "ship": {"order": "o-li", "tracking_no": "ZT2001"}}


def paid_at_once() -> Iterator[Line]:
    """Nobody is reminded who pays in time."""
    who = {"buyer": "chen"}
    yield who | {
        "at": 3,
        "order": {"id": "o-chen", "items": [{"product": "tea-009", "quantity": 2}]},
    }
    yield who | {"at": 5, "pay": "o-chen"}
    yield who | {"at": 18, "ship": {"order": "o-chen", "tracking_no": "ZT2002"}}


def never_pays() -> Iterator[Line]:
    """Both reminders go out; in the end the platform closes the order."""
    who = {"buyer": "wu"}
    yield who | {"at": 1, "order": {"id": "o-wu", "items": [{"product": "lamp-006"}]}}
    yield who | {
        "at": 30,
        "cancel": {"order": "o-wu", "reason": "超时未付款"},
        "note": "after two reminders",
    }


def in_a_live_chat() -> Iterator[Line]:
    """Who is being served is not written to by a machine: the agent gets a hint instead."""
    who = {"buyer": "zhao"}
    yield who | {
        "at": 2,
        "keep_open": True,
        "turns": [buyer("衬衫 40 码偏大吗"), shop("亲,正码的,按平时领围拍就好。")],
    }
    yield who | {
        "at": 4,
        "order": {"id": "o-zhao", "items": [{"product": "shirt-002", "sku": "shirt-002-40"}]},
    }
    yield who | {"at": 5, "wait": {"for": "hint", "order": "o-zhao"}}
    yield who | {
        "at": 6,
        "turns": [
            shop("亲,看到您拍了白色 40,还没付款,是对尺码有疑问吗?"),
            buyer("没有,马上付"),
            shop("好的亲,付款后今天就发。"),
        ],
    }
    yield who | {"at": 8, "pay": "o-zhao"}


def two_unpaid_orders() -> Iterator[Line]:
    """Two unpaid orders of one buyer: one reminder."""
    who = {"buyer": "sun"}
    yield who | {"at": 2, "order": {"id": "o-sun-1", "items": [{"product": "nuts-010"}]}}
    yield who | {"at": 3, "order": {"id": "o-sun-2", "items": [{"product": "cup-007"}]}}
    yield who | {"at": 12, "pay": "o-sun-1"}
    yield who | {"at": 13, "cancel": {"order": "o-sun-2", "reason": "买家不想要了"}}


# -- after the sale -------------------------------------------------------------------------


def refund_before_shipping() -> Iterator[Line]:
    """Refund only, nothing shipped: agreed, paid back, the platform closes the order."""
    who = {"buyer": "fang"}
    yield who | {"at": 1, "order": {"id": "o-fang", "items": [{"product": "kettle-008"}]}}
    yield who | {"at": 2, "pay": "o-fang"}
    yield who | {
        "at": 5,
        "refund": {"id": "fang", "order": "o-fang", "reason": "拍错了,不想要了"},
    }
    yield who | {"at": 8, "agent": "ahmei", "case": {"order": "o-fang", "do": "agree"}}
    yield who | {"at": 9, "wait": {"for": "case", "order": "o-fang", "state": "success"}}
    yield who | {"at": 10, "cancel": {"order": "o-fang", "reason": "退款成功"}}


def returned() -> Iterator[Line]:
    """Return and refund, asked for in the chat: agreed, sent back, received, paid back."""
    who = {"buyer": "he"}
    yield who | {
        "at": 1,
        "order": {
            "id": "o-he",
            "items": [
                {"product": "sweater-003", "sku": "sweater-003-m-grey"},
                {"product": "cup-007"},
            ],
            "discount_fen": 1000,
            "postage_fen": 800,
        },
    }
    yield who | {"at": 2, "pay": "o-he"}
    yield who | {"at": 4, "ship": {"order": "o-he", "tracking_no": "ZT2003"}}
    yield who | {"at": 7, "sign": "o-he"}
    yield who | {
        "at": 9,
        "keep_open": True,
        "turns": [
            buyer("毛衣第一天穿就起球了"),
            {"from": "buyer", "order": "o-he"},
            shop("亲,非常抱歉,麻烦拍张照片,我给您申请退货,运费我们出。"),
            {"from": "buyer", "image": "https://img.example.com/sweater-pilling.jpg"},
        ],
    }
    yield who | {
        "at": 11,
        "return": {
            "order": "o-he",
            "item": 1,
            "reason": "质量问题:起球",
            "description": "穿一天袖口和腋下起球",
        },
    }
    yield who | {"at": 13, "agent": "laozhou", "case": {"order": "o-he", "do": "agree"}}
    yield who | {
        "at": 14,
        "turns": [
            shop("亲,退货已同意,请把单号填上。"),
            buyer("好,已经寄了"),
            shop("收到后马上退款。"),
        ],
    }
    yield who | {
        "at": 16,
        "case": {"order": "o-he", "do": "ship_back", "courier": "SF", "tracking_no": "SF3001"},
    }
    yield who | {
        "at": 20,
        "agent": "laozhou",
        "case": {"order": "o-he", "do": "receive", "note": "吊牌完好,确有起球"},
    }
    yield who | {"at": 22, "wait": {"for": "case", "order": "o-he", "state": "success"}}
    yield who | {"at": 23, "rate": {"rating": 4}}


def nobody_answers() -> Iterator[Line]:
    """The platform's deadline runs out: the default outcome refunds by itself."""
    who = {"buyer": "lv"}
    yield who | {"at": 1, "order": {"id": "o-lv", "items": [{"product": "scarf-004"}]}}
    yield who | {"at": 2, "pay": "o-lv"}
    yield who | {
        "at": 4,
        "refund": {
            "id": "lv",
            "order": "o-lv",
            "reason": "不喜欢,不想要了",
            "deadline_in": 12,
        },
        "note": "twelve seconds to answer, and nobody does",
    }
    yield who | {
        "at": 14,
        "wait": {"for": "case", "order": "o-lv", "state": "success"},
    }


def refused_and_withdrawn() -> Iterator[Line]:
    """A request that is refused with a reason, and given up by the buyer."""
    who = {"buyer": "shi"}
    yield who | {"at": 1, "order": {"id": "o-shi", "items": [{"product": "tea-009"}]}}
    yield who | {"at": 2, "pay": "o-shi"}
    yield who | {"at": 3, "ship": {"order": "o-shi", "tracking_no": "ZT2004"}}
    yield who | {"at": 5, "sign": "o-shi"}
    yield who | {
        "at": 6,
        "return": {"order": "o-shi", "kind": "refund_only", "reason": "味道不喜欢,只退款不退货"},
    }
    yield who | {
        "at": 9,
        "agent": "ahmei",
        "case": {
            "order": "o-shi",
            "do": "refuse",
            "note": "茶叶已开封,不影响食用安全,不支持仅退款",
        },
    }
    yield who | {
        "at": 12,
        "turns": [
            buyer("为什么不给退"),
            shop("亲,食品开封后不支持仅退款,给您补一张 10 元券可以吗?"),
            buyer("行吧"),
            shop("谢谢亲理解,券已经发到您账户。"),
        ],
    }
    yield who | {"at": 15, "case": {"order": "o-shi", "do": "withdraw", "note": "协商一致"}}


# -- complaints -----------------------------------------------------------------------------


def complaints() -> Iterator[Line]:
    """Seven buyers of one sweater complain about the same thing within two days."""
    for n, (who, days_ago, rating, text) in enumerate(PILLING):
        yield {
            "at": 2,
            "buyer": who,
            "order": {
                "id": f"o-{who}",
                "items": [{"product": "sweater-003"}],
                "days_ago": round(days_ago + 4, 1),
                "status": "signed",
            },
        }
        yield {
            "at": 6 + n,
            "buyer": who,
            "review": {
                "id": who,
                "product": "sweater-003",
                "order": f"o-{who}",
                "rating": rating,
                "text": text,
                "days_ago": days_ago,
            },
        }
    yield {
        "at": 15,
        "buyer": "mei01",
        "note": "one of them complains in the chat, too",
        "turns": [
            buyer("你们毛衣起球这么严重,怎么处理"),
            shop("亲,实在抱歉,这批毛衣我们收到多位买家反馈,已经报给采购。"),
            buyer("要投诉你们"),
            shop("亲,给您办退货,运费我们承担,马上处理。"),
        ],
    }
    yield {"at": 20, "buyer": "mei01", "rate": {"rating": 2, "reason": "质量差"}}


STORIES = (
    asks_and_buys, only_asks, transferred, agent_drops_off, suspended,
    paid_after_a_reminder, paid_at_once, never_pays, in_a_live_chat, two_unpaid_orders,
    refund_before_shipping, returned, nobody_answers, refused_and_withdrawn, complaints,
)  # fmt: skip


def text() -> str:
    """The file."""
    return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in day())


if __name__ == "__main__":
    sys.stdout.write(text())
