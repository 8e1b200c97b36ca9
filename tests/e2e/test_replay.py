"""`kefu replay` against a real system: clean runs, kills of either side, and findings."""

import json
import time
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from kefu.replay.records import Acknowledged, Delivered, decoder
from tests.e2e.replays import dialogues, finished, play, start_replay, verdict, write_lines
from tests.parts.daemon import wait_until
from tests.support.cluster import Cluster, run_kefu

pytestmark = pytest.mark.timeout(240)

STAGE = {
    "stage": 1,
    "anchor": "after_creation",
    "earliest_seconds": 1,
    "latest_seconds": 1,
    "text": "亲,还没有付款哦",
}
REMINDERS = {
    "stages": [STAGE],
    "quiet_from": "00:00",
    "quiet_until": "00:00",
    "holdout_basis_points": 0,
    "minimum_gap_seconds": 1,
}
ASKED = {"order": "o1", "kind": "refund_only", "reason": "不想要了", "received": False}
CHAT = [{"from": "buyer", "text": "付好了"}, {"from": "shop", "text": "今天发"}]
RICH = [
    {"policy": {"reminders": REMINDERS}},
    {"buyer": "li", "order": {"id": "o1", "items": [{"product": "coat-001"}]}},
    {"buyer": "li", "wait": {"for": "reminder", "order": "o1"}},
    {"buyer": "li", "pay": "o1"},
    {"buyer": "li", "turns": CHAT},
    {"buyer": "li", "return": ASKED},
    {"buyer": "li", "agent": "ahmei", "case": {"order": "o1", "do": "agree"}},
    {"buyer": "li", "wait": {"for": "case", "order": "o1", "state": "success"}},
    {"buyer": "li", "rate": {"rating": 5}},
    {"buyer": "wu", "review": {"id": "r1", "product": "coat-001", "rating": 2, "text": "起球"}},
]


def test_bare_dialogues_are_delivered_once_and_in_order(dev: Cluster, tmp_path: Path) -> None:
    played = play(dev, write_lines(tmp_path / "bare.jsonl", dialogues(6)))
    assert played.status == 0, played.output
    counts = played.report["messages"]
    assert counts["sent"] == counts["acknowledged"] == counts["delivered"] == 36
    assert verdict(played.report) == (0, 0, 0)
    assert sum(played.report["assignments"].values()) == 6
    assert played.report["delivery_seconds"]["all"]["count"] > 0
    for row in ("messages sent", "acknowledged", "lost", "doubled", "out of order", "passed"):
        assert row in played.output


def test_one_buyer_is_reminded_pays_returns_and_is_heard(dev: Cluster, tmp_path: Path) -> None:
    played = play(dev, write_lines(tmp_path / "rich.jsonl", RICH))
    assert played.status == 0, played.output
    outcome = played.report["outcome"]
    assert outcome["orders"] == {"paid": 1}
    assert outcome["reminders"] == {"sent (message)": 1}
    assert outcome["cases"] == {"refunded": 1}
    assert outcome["refunded_fen"] == 39900
    assert outcome["feedback_items"]["review"] == 1
    assert outcome["tags"]["quality.pilling"] >= 1


def test_a_server_killed_in_the_middle_loses_and_doubles_nothing(
    own_dev: Cluster, tmp_path: Path
) -> None:
    server = own_dev.processes[0]
    file = write_lines(tmp_path / "bare.jsonl", dialogues(30, rounds=4))
    journal, report = tmp_path / "journal", tmp_path / "report.json"
    replay = start_replay(own_dev, file, "--journal", str(journal), report=report)
    for share in (0.2, 0.5):
        assert wait_until(partial(_has_acknowledged, journal, 240 * share), 60)
        server.kill()
        server.start()
    played = finished(replay, report)
    assert played.status == 0, played.output
    assert played.report["messages"]["delivered"] == 240
    assert verdict(played.report) == (0, 0, 0)


def test_a_replay_killed_in_the_middle_goes_on_where_it_was(dev: Cluster, tmp_path: Path) -> None:
    file = write_lines(tmp_path / "bare.jsonl", dialogues(20, rounds=4))
    journal, report = tmp_path / "journal", tmp_path / "report.json"
    first = start_replay(dev, file, "--journal", str(journal), report=report)
    assert wait_until(lambda: _acknowledged(journal) > 60, 60)
    first.kill()
    first.communicate()
    assert _acknowledged(journal) < 160
    played = play(dev, file, "--journal", str(journal))
    assert played.status == 0, played.output
    assert played.report["messages"]["delivered"] == 160
    assert verdict(played.report) == (0, 0, 0)
    answered = _answered(journal)
    assert len(answered) == len(set(answered)), "nothing acknowledged was sent again"


def _has_acknowledged(journal: Path, more_than: float) -> bool:
    return _acknowledged(journal) > more_than


def _acknowledged(journal: Path) -> int:
    if not journal.exists():
        return 0
    return journal.read_bytes().count(b'{"is":"acknowledged"')


def _answered(journal: Path) -> list[str]:
    records = map(decoder.decode, journal.read_bytes().splitlines())
    return [record.action for record in records if isinstance(record, Acknowledged)]


def test_a_finished_journal_is_only_checked_again_and_a_missing_delivery_is_found(
    dev: Cluster, tmp_path: Path
) -> None:
    file, journal = write_lines(tmp_path / "bare.jsonl", dialogues(2)), tmp_path / "journal"
    assert play(dev, file, "--journal", str(journal)).status == 0
    size = _acknowledged(journal)
    again = play(dev, file, "--journal", str(journal))
    assert again.status == 0
    assert _acknowledged(journal) == size

    # What the agents' sockets showed of one message is taken out: the check must miss it.
    kept = [line for line in journal.read_bytes().splitlines(keepends=True) if not _hidden(line)]
    journal.write_bytes(b"".join(kept))
    spoilt = play(dev, file, "--journal", str(journal), "--settle", "1")
    assert spoilt.status == 1
    assert spoilt.report["messages"]["lost"] >= 1
    assert "FAILED" in spoilt.output


def _hidden(line: bytes) -> bool:
    record = decoder.decode(line)
    return (
        isinstance(record, Delivered)
        and record.receiver.startswith("agent:")
        and str(record.client_message_id).endswith(".L2.2")
    )


def test_a_journal_of_another_file_is_refused_as_wrong_use(dev: Cluster, tmp_path: Path) -> None:
    one = write_lines(tmp_path / "one.jsonl", dialogues(1, rounds=1))
    other = write_lines(tmp_path / "other.jsonl", dialogues(1, rounds=2))
    assert play(dev, one, "--journal", str(tmp_path / "journal")).status == 0
    played = play(dev, other, "--journal", str(tmp_path / "journal"))
    assert played.status == 2
    assert "belongs to another file" in played.output
    assert "Traceback" not in played.output


def test_a_file_that_cannot_be_played_is_refused_with_its_line(
    dev: Cluster, tmp_path: Path
) -> None:
    file = write_lines(tmp_path / "wrong.jsonl", [*dialogues(1), {"buyer": "b"}])
    played = play(dev, file)
    assert played.status == 2
    assert "line 2: exactly one thing per line" in played.output


def test_a_system_that_is_not_there_is_told_after_the_given_patience(
    dev: Cluster, tmp_path: Path
) -> None:
    file = write_lines(tmp_path / "bare.jsonl", dialogues(1))
    began = time.monotonic()
    played = play(dev, file, "--base-url", "http://127.0.0.1:9", "--patience", "1")
    assert played.status == 3
    assert "does not answer" in played.output
    assert "Traceback" not in played.output
    assert time.monotonic() - began < 60


def test_policies_are_put_back_as_they_were(dev: Cluster, tmp_path: Path) -> None:
    before = _policy(dev)
    assert play(dev, write_lines(tmp_path / "rich.jsonl", RICH)).status == 0
    after = _policy(dev)
    assert after.pop("edition") > before.pop("edition")
    for stamp in ("changed_at", "changed_by"):
        del before[stamp], after[stamp]
    assert after == before


def _policy(dev: Cluster) -> dict[str, Any]:
    token = run_kefu(dev.env, "token", "--role", "supervisor", "--subject", "linjie").strip()
    answer = httpx.get(
        f"{dev.processes[0].url}/order_ops/v1/reminder_policies/current",
        headers={"authorization": f"Bearer {token}"}, trust_env=False, timeout=30,
    )  # fmt: skip
    found: dict[str, Any] = json.loads(answer.content)
    return found
