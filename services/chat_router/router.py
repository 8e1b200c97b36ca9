"""The router's loop: on the elected replica, woken by whatever may let a buyer be served.

Read who is there and who waits, decide (`routing.assign`), submit one command per shop. The command
is fenced, so that it does not matter whether another replica believes to be elected too.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import NamedTuple

from common.runtime import Service

from .assignments import Place, Routed, RouteShop
from .attendance import SweepAgent
from .routing import Assignment, Candidate, Tiers, Waiting, assign, expected_wait
from .shop_settings import ShopSettings, is_open_at
from .store import queues, routing_reads
from .store.routing_reads import Queue

HEAD = 200
"""How far into each group's queue one decision looks."""


class Snapshot(NamedTuple):
    """What is known of a shop, read in this order.

    The fence first: whatever is routed after it makes the command stale. Agents before buyers: who
    is freed by a transfer is not seen without the buyer it sends on, who has the older claim.
    """

    rounds: int
    settings: ShopSettings
    agents: list[Candidate]
    heads: list[Queue]


async def route_waiting(service: Service) -> None:
    """Places everybody who can be placed, in every shop."""
    async with service.database.quick_read() as tx:
        shops = await routing_reads.waiting_shops(tx)
    for shop_id in shops:
        while await _route_shop(service, shop_id):
            pass


async def _route_shop(service: Service, shop_id: str) -> bool:
    """One round of routing; true if another one may find more to do."""
    now = service.clock()
    snapshot = await _snapshot(service, shop_id, now)
    decided = decide(snapshot, now)
    left = still_waiting(snapshot, decided)
    served = await _served_lately(service, shop_id, left, now) if left else {}
    places = [place for queue in left for place in _places(queue, served.get(queue.group_id, 0))]
    if not decided and not places:
        return False
    routed: Routed = await service.submit(
        RouteShop(
            shop_id=shop_id,
            decided_at_round=snapshot.rounds,
            assignments=tuple(decided),
            places=tuple(places),
        )
    )
    there_is_more = any(len(queue.head) == HEAD for queue in snapshot.heads)
    return routed.is_stale or (there_is_more and routed.assigned > 0)


async def _snapshot(service: Service, shop_id: str, now: datetime) -> Snapshot:
    async with service.database.quick_read() as tx:
        rounds, settings = await routing_reads.fence_and_settings(tx, shop_id)
        agents = await routing_reads.candidates(tx, shop_id)
        heads = await routing_reads.queues(tx, shop_id, HEAD, is_open=is_open_at(settings, now))
    return Snapshot(rounds, settings, agents, heads)


async def _served_lately(
    service: Service, shop_id: str, left: Iterable[Queue], now: datetime
) -> dict[str, int]:
    groups = [queue.group_id for queue in left]
    async with service.database.read() as conn:
        return await queues.served_lately(conn, shop_id, groups, now)


def decide(snapshot: Snapshot, now: datetime) -> list[Assignment]:
    """Who gets whom."""
    waiting = [one for queue in snapshot.heads for one in queue.head]
    return assign(waiting, snapshot.agents, now, tiers_of(snapshot.settings))


def still_waiting(snapshot: Snapshot, decided: Iterable[Assignment]) -> list[Queue]:
    """The queues without those who are assigned now, empty ones left out."""
    assigned = {one.conversation_id for one in decided}
    left = [
        Queue(queue.group_id, [one for one in queue.head if one.conversation_id not in assigned])
        for queue in snapshot.heads
    ]
    return [queue for queue in left if queue.head]


def tiers_of(settings: ShopSettings) -> Tiers:
    """The shop's tiers of affinity."""
    return Tiers(
        near=timedelta(hours=settings.near_hours),
        far=timedelta(hours=settings.far_hours),
        transfer_wait=timedelta(seconds=settings.transfer_wait_seconds),
    )


def _places(queue: Queue, served: int) -> Iterable[Place]:
    """The places that are worth telling, of those who stay in the queue."""
    for position, waiting in enumerate(queue.head, start=1):
        if is_worth_telling(waiting, position):
            yield Place(
                conversation_id=waiting.conversation_id,
                position=position,
                expected_wait_seconds=expected_wait(position, served, queues.SPAN),
            )


def is_worth_telling(waiting: Waiting, position: int) -> bool:
    """The first place, every step near the front, and big steps further back.

    Telling everybody of every step would cost as many events as there are buyers, for each
    buyer who is served.
    """
    told = waiting.queue_position
    if told is None or position == told:
        return told is None
    return position <= 10 or abs(told - position) * 5 >= told


async def sweep_the_gone(service: Service) -> None:
    """Whoever is gone keeps nobody, whatever became of the timer that should see to it."""
    async with service.database.read() as conn:
        found = await queues.held_by_the_gone(conn, service.clock())
    for shop_id, agent_id in found:
        await service.submit(SweepAgent(shop_id=shop_id, agent_id=agent_id))
