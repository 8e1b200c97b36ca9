"""A socket's view of its feeds: in order, without gaps, each item once, whatever comes when."""

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.runtime.feed import MAX_QUEUED, FeedItem, Follower, Listener, Overrun

RECEIVERS = ("agent:a1", "shop")


class FakeFeed:
    """The database's side of a feed; `commit` gives the next number."""

    def __init__(self) -> None:
        self.kept: dict[str, list[FeedItem]] = {name: [] for name in RECEIVERS}

    def commit(self, receiver: str) -> FeedItem:
        seq = len(self.kept[receiver]) + 1
        item = FeedItem(receiver, seq, "kefu.x.v1", f"{receiver} {seq}".encode())
        self.kept[receiver].append(item)
        return item

    async def since(self, _shop: str, receiver: str, seq: int, limit: int) -> list[FeedItem]:
        return self.kept[receiver][seq : seq + limit]


def follower(feed: FakeFeed, listener: Listener, seen: dict[str, int] | None = None) -> Follower:
    return Follower(feed, listener, seen or {})  # type: ignore[arg-type]


async def drained(view: Follower, listener: Listener, feed: FakeFeed) -> list[FeedItem]:
    """Everything the follower hands on until it has seen all that was committed."""
    found: list[FeedItem] = []
    async with asyncio.timeout(5):
        while any(view.seen.get(name, 0) < len(kept) for name, kept in feed.kept.items()):
            found += await view.next()
    return found


steps = st.lists(
    st.one_of(
        st.tuples(st.just("commit"), st.sampled_from(RECEIVERS)),
        st.tuples(st.just("deliver"), st.integers(0, 5)),
        st.tuples(st.just("deliver twice"), st.integers(0, 5)),
        st.tuples(st.just("read"), st.just(0)),
    ),
    max_size=40,
)


@settings(deadline=None)
@given(before=st.lists(st.sampled_from(RECEIVERS), max_size=6), script=steps)
def test_each_item_comes_once_and_in_order_however_the_bus_delivers(
    before: Sequence[str], script: Sequence[tuple[str, object]]
) -> None:
    """Live items overtake each other between partitions, come twice, and late or early."""

    async def play() -> None:
        feed, listener = FakeFeed(), Listener("s1", RECEIVERS)
        view = follower(feed, listener)
        on_its_way: list[FeedItem] = [feed.commit(receiver) for receiver in before]
        found = [item async for item in view.catch_up(page=2)]
        for name, argument in script:
            if name == "commit":
                on_its_way.append(feed.commit(str(argument)))
            elif name == "read" and not listener._queue.empty():
                pending = asyncio.ensure_future(view.next())
                await asyncio.sleep(0)
                if pending.done():
                    found += pending.result()
                else:
                    pending.cancel()
            elif on_its_way and isinstance(argument, int):
                place = argument % len(on_its_way)
                listener.push(on_its_way[place])
                if name == "deliver":
                    on_its_way.pop(place)
        for item in on_its_way:
            listener.push(item)
        found += await drained(view, listener, feed)
        for receiver, kept in feed.kept.items():
            assert [item for item in found if item.receiver == receiver] == kept

    asyncio.run(play())


async def test_what_arrives_live_while_catching_up_is_handed_on_once() -> None:
    feed, listener = FakeFeed(), Listener("s1", RECEIVERS)
    items = [feed.commit("shop") for _ in range(5)]
    view = follower(feed, listener, {"shop": 1})
    found: list[int] = []
    async for item in view.catch_up(page=2):
        found.append(item.seq)
        if item.seq == 3:
            for live in (*items, feed.commit("shop")):
                listener.push(live)
    listener.push(feed.commit("shop"))
    found += [item.seq for item in await drained(view, listener, feed)]
    assert found == [2, 3, 4, 5, 6, 7]


async def test_what_is_not_kept_is_handed_on_as_it_comes() -> None:
    feed, listener = FakeFeed(), Listener("s1", RECEIVERS)
    typing = FeedItem("shop", 0, "kefu.typing.v1", b"{}")
    listener.push(typing)
    assert await follower(feed, listener).next() == [typing]


async def test_a_listener_that_falls_too_far_behind_is_told_for_good() -> None:
    feed, listener = FakeFeed(), Listener("s1", RECEIVERS)
    view = follower(feed, listener)
    for _ in range(MAX_QUEUED + 5):
        listener.push(feed.commit("shop"))
    for _ in range(MAX_QUEUED):
        await view.next()
    for _ in range(2):
        with pytest.raises(Overrun):
            await asyncio.wait_for(view.next(), 5)
    again = follower(feed, Listener("s1", RECEIVERS), view.seen)
    assert [item.seq async for item in again.catch_up()] == list(
        range(MAX_QUEUED + 1, MAX_QUEUED + 6)
    )


async def test_behind_counts_what_the_receivers_have_not_seen() -> None:
    view = follower(FakeFeed(), Listener("s1", RECEIVERS), {"shop": 4})
    assert await view.behind({"shop": 6, "agent:a1": 3}) == 5
