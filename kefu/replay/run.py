"""A replay from beginning to end: journal, people, policies, lanes, settling, check, report."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from kefu.replay.actions import Actions
from kefu.replay.check import Books, Reached, Thread, deliveries_by_side, findings, read_books
from kefu.replay.desk import Desk
from kefu.replay.dialogue import Talk
from kefu.replay.http import Http, Urls
from kefu.replay.journal import Journal, JournalError
from kefu.replay.names import Names
from kefu.replay.outcome import Reader, Reading
from kefu.replay.people import People
from kefu.replay.plan import Plan, Step, make_plan
from kefu.replay.player import Player
from kefu.replay.policy import Policies
from kefu.replay.records import Finished, Run
from kefu.replay.report import (
    Report,
    assignments,
    count_messages,
    delivery_times,
    refusals,
)
from kefu.replay.script import Script
from kefu.replay.shop_system import Announce, ShopSystem
from kefu.replay.sight import Sight
from kefu.seed import catalogue
from kefu.tokens import Issuer

SETTLE_POLL = 1.0
QUIET_SECONDS = 3.0


@dataclass(frozen=True, kw_only=True)
class Options:
    """How to play. `settle` bounds the wait for what is still under way at the end; `announce`
    puts what the shop's system repeats on the bus, too."""

    file: Path
    urls: Urls
    shop_id: str
    speed: float = 1.0
    journal: Path | None = None
    concurrency: int = 16
    patience: float = 120.0
    settle: float = 60.0
    run: str | None = None
    announce: Announce | None = None


class Watcher(Protocol):
    """Whoever wants to see how a replay goes."""

    def watch(self, replay: "Replay") -> None:
        """Called a few times a second."""


@dataclass(slots=True)
class Replay:
    """A replay under way: what a watcher may look at."""

    options: Options
    plan: Plan
    run: Run
    journal: Journal
    http: Http
    actions: Actions
    sight: Sight
    stage: str = "starting"
    began: float = field(default_factory=time.monotonic)
    player: Player | None = None
    people: People | None = None

    @property
    def names(self) -> Names:
        """The names of this run."""
        return Names(self.run.run)

    @property
    def time_scale(self) -> float:
        """Real seconds per second of the file."""
        return 1.0 / self.run.speed if self.run.speed else 1.0


async def replay(
    script: Script, options: Options, issuer: Issuer, watcher: Watcher, new_run: str
) -> Report:
    """Plays a script and checks it. `GaveUp` when the system stays away for too long."""
    journal = Journal(options.journal)
    await journal.open()
    http = Http(options.urls, patience=options.patience)
    try:
        state = await _begin(script, options, journal, http, new_run)
        async with asyncio.TaskGroup() as group:
            watching = group.create_task(_watch(state, watcher))
            try:
                return await _play(state, issuer)
            finally:
                watching.cancel()
    finally:
        await http.close()
        await journal.close()


async def _begin(
    script: Script, options: Options, journal: Journal, http: Http, new_run: str
) -> Replay:
    run = next((record for record in journal.records if isinstance(record, Run)), None)
    if run is None:
        run = Run(
            at=time.time(), run=options.run or new_run, shop_id=options.shop_id,
            digest=script.digest, speed=options.speed,
        )  # fmt: skip
        await journal.keep(run)
    _require_same(run, script, options)
    actions, sight = Actions(journal), Sight()
    actions.recall(journal.records)
    return Replay(options, make_plan(script, Names(run.run)), run, journal, http, actions, sight)


def _require_same(run: Run, script: Script, options: Options) -> None:
    if run.digest != script.digest:
        raise JournalError(
            f"{options.journal} belongs to another file than {options.file}: "
            "name a new journal, or play the file that it was begun with"
        )
    if run.shop_id != options.shop_id:
        raise JournalError(f"{options.journal} was begun in shop {run.shop_id}")


async def _watch(state: Replay, watcher: Watcher) -> None:
    while True:
        watcher.watch(state)
        await asyncio.sleep(0.25)


async def _play(state: Replay, issuer: Issuer) -> Report:
    people = People(state.http, state.journal, state.actions, state.sight, issuer)
    people.recall(state.journal.records)
    state.people = people
    policies = Policies(state.http, state.journal, people.supervisor, time_scale=state.time_scale)
    finished = any(isinstance(record, Finished) for record in state.journal.records)
    try:
        if not finished:
            await policies.apply(state.plan.policy)
        agents = await people.call_in_agents()
        state.player = _player(state, people, agents)
        if not finished:
            await _phases(state)
        state.stage = "settling"
        reading = await _settle(state, people)
        await policies.restore()
        state.journal.note(Finished(at=time.time()))
    finally:
        await people.leave()
    state.stage = "checking"
    return _report(state, reading)


def _player(state: Replay, people: People, agents: list[str]) -> Player:
    names = state.names
    talk = Talk(people, names, state.options.patience)
    shop = ShopSystem(
        state.http, state.actions, names, state.run.shop_id, people.system,
        time_scale=state.time_scale, prices=catalogue(), announce=state.options.announce,
    )  # fmt: skip
    shop.recall()
    return Player(
        people, talk, Desk(people, names, agents), shop, state.journal,
        speed=state.run.speed, concurrency=state.options.concurrency, via=_way_in,
    )  # fmt: skip


def _way_in(step: Step) -> str:
    """Most buyers write over their socket; every fifth line over HTTP, as a plugin would."""
    return step.line.via or ("http" if int(step.id[1:]) % 5 == 0 else "socket")


async def _phases(state: Replay) -> None:
    assert state.player is not None
    for number, phase in enumerate(state.plan.phases, start=1):
        state.stage = f"phase {number} of {len(state.plan.phases)}"
        await state.player.play(phase)


# -- settling and the check -----------------------------------------------------------------


async def _settle(state: Replay, people: People) -> Reading:
    """Looks again until nothing is under way and two looks agree, at most `settle` seconds."""
    began = datetime.fromtimestamp(state.run.at, UTC)
    chatted = _buyers_who_chat(state.plan)
    reader = Reader(state.http, people.supervisor, state.plan.buyers, began)
    until, quiet_since, last = time.monotonic() + state.options.settle, time.monotonic(), None
    while True:
        books = read_books(state.journal.records)
        reading = await reader.read(books, buyers=chatted)
        for buyer in _left_behind(books, reading.threads):
            people.buyer(buyer)
        settled = not reading.unsettled and not _problems(books, reading)
        if reading.outcome != last or not settled:
            last, quiet_since = reading.outcome, time.monotonic()
        now = time.monotonic()
        if now > until or (settled and now - quiet_since >= QUIET_SECONDS):
            return reading
        await asyncio.sleep(SETTLE_POLL)


def _left_behind(books: Books, threads: Sequence[Thread]) -> set[str]:
    """Buyers who have not been shown all that is in their threads: they look again."""
    reached = deliveries_by_side(books)
    return {
        thread.buyer_id
        for thread in threads
        for message in thread.messages
        if thread.buyer_id not in reached.get(message.message_id, Reached()).buyers
    }


def _buyers_who_chat(plan: Plan) -> list[str]:
    """Buyers of today: those of the past only ever bought something."""
    silent = {"order", "review", "pay", "sign", "finish", "ship"}
    past = {
        step.buyer
        for step in plan.steps
        if step.line.order is not None and step.line.order.days_ago
    }
    chat = {
        step.buyer
        for step in plan.steps
        if step.action not in silent or (step.line.order is not None and step.buyer not in past)
    }
    return [buyer for buyer in plan.buyers if buyer in chat]


def _problems(books: Books, reading: Reading) -> bool:
    return bool(reading.findings) or bool(findings(books, reading.threads))


def _report(state: Replay, reading: Reading) -> Report:
    books = read_books(state.journal.records)
    found = sorted({*findings(books, reading.threads), *reading.findings})
    by_agent, waited = assignments(books)
    counts = count_messages(books, found, reading.threads)
    refused = refusals(books)
    return Report(
        run=state.run.run,
        shop_id=state.run.shop_id,
        file=state.options.file.name,
        speed=state.run.speed,
        seconds=round(time.monotonic() - state.began, 3),
        passed=not found and not refused and not counts.unplayed,
        messages=counts,
        delivery_seconds=delivery_times(books),
        assignments=by_agent,
        waited_seconds=waited,
        outcome=reading.outcome,
        refusals=refused,
        findings=found,
    )
