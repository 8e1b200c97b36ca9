"""The router's loop: on the elected replica, woken by whatever may let a buyer be served.

Read a snapshot, decide (`routing.assign`), submit one command per shop. The command is fenced,
so that it does not matter whether another replica believes to be elected too.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import NamedTuple

from common.runtime import Service

from .assignments import Place, Routed, RouteShop
from .attendance import SweepAgent
from .conversations import Conversation
from .routing import Candidate, Tiers, assign, expected_wait
from .shop_settings import ShopSettings, is_open_at
from .store import lists, queues

HEAD = 200
"""How far into each group's queue one decision looks."""


class Snapshot(NamedTuple):
    """A shop at one moment."""

    settings: ShopSettings
    rounds: int
    heads: list[queues.Queue]
    agents: list[Candidate]
    served: dict[str, int]


async def route_waiting(service: Service) -> None:
    """Places everybody who can be placed, in every shop."""
    async with service.database.read() as conn:
        shops = await queues.waiting_shops(conn)
    for shop_id in shops:
        while await _route_shop(service, shop_id):
            pass


async def _route_shop(service: Service, shop_id: str) -> bool:
    """One round of routing; true if another one may find more to do."""
    now = service.clock()
    snapshot = await _snapshot(service, shop_id, now)
    command = decide(shop_id, snapshot, now)
    if command is None:
        return False
    routed: Routed = await service.submit(command)
    there_is_more = any(len(queue.head) == HEAD for queue in snapshot.heads)
    return routed.is_stale or (there_is_more and routed.assigned > 0)


async def _snapshot(service: Service, shop_id: str, now: datetime) -> Snapshot:
    async with service.database.read() as conn:
        # The fence first: whatever is routed after this read makes the command stale.
        rounds = await queues.rounds_of_routing(conn, shop_id)
        settings = await lists.settings(conn, shop_id)
        states = queues.waiting_states(is_open=is_open_at(settings, now))
        heads = await queues.queues(conn, shop_id, states, HEAD)
        present = await queues.present(conn, shop_id)
        agents = queues.candidates(present, await queues.loads(conn, shop_id))
        served = await queues.served_lately(conn, shop_id, now)
    return Snapshot(settings, rounds, heads, agents, served)


def decide(shop_id: str, snapshot: Snapshot, now: datetime) -> RouteShop | None:
    """The command that a snapshot calls for, None if there is nothing to do."""
    waiting = [one for queue in snapshot.heads for one in queue.head]
    decided = assign(
        [queues.waiting_of(one) for one in waiting],
        snapshot.agents,
        now,
        tiers_of(snapshot.settings),
    )
    assigned = {one.conversation_id for one in decided}
    places = [
        place
        for queue in snapshot.heads
        for place in _places(queue, assigned, snapshot.served.get(queue.group_id, 0))
    ]
    if not decided and not places:
        return None
    return RouteShop(
        shop_id=shop_id,
        decided_at_round=snapshot.rounds,
        assignments=tuple(decided),
        places=tuple(places),
    )


def tiers_of(settings: ShopSettings) -> Tiers:
    """The shop's tiers of affinity."""
    return Tiers(
        near=timedelta(hours=settings.near_hours),
        far=timedelta(hours=settings.far_hours),
        transfer_wait=timedelta(seconds=settings.transfer_wait_seconds),
    )


def _places(queue: queues.Queue, assigned: set[str], served: int) -> Iterable[Place]:
    """The places that are worth telling, of those who stay in the queue."""
    left = [one for one in queue.head if one.conversation_id not in assigned]
    for position, conversation in enumerate(left, start=1):
        if is_worth_telling(conversation, position):
            yield Place(
                conversation_id=conversation.conversation_id,
                position=position,
                expected_wait_seconds=expected_wait(position, served, queues.SPAN),
            )


def is_worth_telling(conversation: Conversation, position: int) -> bool:
    """The first place, every step near the front, and big steps further back.

    Telling everybody of every step would cost as many events as there are buyers, for each
    buyer who is served.
    """
    told = conversation.queue_position
    if told is None or position == told:
        return told is None
    return position <= 10 or abs(told - position) * 5 >= told


async def sweep_the_gone(service: Service) -> None:
    """Whoever is gone keeps nobody, whatever became of the timer that should see to it."""
    async with service.database.read() as conn:
        found = await queues.held_by_the_gone(conn, service.clock())
    for shop_id, agent_id in found:
        await service.submit(SweepAgent(shop_id=shop_id, agent_id=agent_id))
