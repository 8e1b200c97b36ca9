"""`kefu demo`: the shipped day has everything in it that it says, and nothing is lost."""

import json
import subprocess
import sys
from typing import Any

import pytest

from tests.e2e.replays import verdict
from tests.support.cluster import clean_environment

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("demo")
    report = folder / "report.json"
    played = subprocess.run(
        [sys.executable, "-m", "kefu", "demo", "--report", str(report)],
        env=clean_environment(folder / "unused"), capture_output=True, text=True, timeout=170,
        check=False,
    )  # fmt: skip
    assert played.returncode == 0, played.stdout + played.stderr
    found: dict[str, Any] = json.loads(report.read_text("utf-8"))
    return found


def test_every_message_of_the_day_is_delivered_once_and_in_order(day: dict[str, Any]) -> None:
    counts = day["messages"]
    assert counts["sent"] == counts["acknowledged"] == counts["delivered"] > 40
    assert verdict(day) == (0, 0, 0)
    assert day["refusals"] == {}


def test_reminders_are_sent_hinted_and_stopped_by_payment(day: dict[str, Any]) -> None:
    reminders, stopped = day["outcome"]["reminders"], day["outcome"]["reminders_stopped"]
    assert reminders["sent (message)"] >= 3
    assert reminders["sent (hint)"] >= 1
    assert stopped["paid"] >= 5
    assert stopped["other_order"] >= 1
    assert set(reminders) == {"sent (message)", "sent (hint)", "stopped"}, "none is left open"


def test_cases_end_refunded_by_people_and_by_the_deadline_or_withdrawn(
    day: dict[str, Any],
) -> None:
    assert day["outcome"]["cases"] == {"refunded": 3, "withdrawn": 1}
    assert day["outcome"]["refunded_fen"] > 0


def test_seven_complaints_become_a_spike_and_a_task_for_the_product_people(
    day: dict[str, Any],
) -> None:
    [spike] = [s for s in day["outcome"]["spikes"] if s["tag"] == "quality.pilling"]
    assert (spike["product_id"], spike["level"]) == ("sweater-003", "page")
    [task] = [t for t in day["outcome"]["tasks"] if t["spike_id"] == spike["spike_id"]]
    assert (task["owner_role"], task["state"]) == ("product", "open")
    assert day["outcome"]["feedback_items"]["rating"] == 4


def test_the_dropped_agent_s_buyer_and_the_transferred_one_were_assigned_twice(
    day: dict[str, Any],
) -> None:
    # Nine chats; the transfer and the drop-off each add an assignment at the least.
    assert sum(day["assignments"].values()) >= 11
