"""`kefu dev`: one port, one document, a demo shop, lines that work when pasted."""

import asyncio
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from common.auth.principal import Role
from common.bus.embedded import EmbeddedBus
from common.contracts import Message
from kefu.dev.banner import lines_to_try
from tests.parts.daemon import wait_until
from tests.support.cluster import Cluster, Process, run_kefu

BASH = ["bash", "-c"]


def _printed(dev: Cluster) -> str:
    """What the system printed when it was up."""
    process = dev.processes[0]
    assert wait_until(lambda: "Ctrl-C stops" in process.log.read_text("utf-8"), 30)
    return process.log.read_text("utf-8")


def _tokens(printed: str) -> dict[str, tuple[str, str]]:
    """Role → (subject, token), as printed."""
    rows = (line.split() for line in printed.splitlines())
    roles = {role.value for role in Role}
    return {row[0]: (row[1], row[2]) for row in rows if len(row) == 3 and row[0] in roles}


def _get(dev: Cluster, path: str, token: str = "") -> httpx.Response:
    headers = {"authorization": f"Bearer {token}"} if token else {}
    return httpx.get(dev.processes[0].url + path, headers=headers, trust_env=False, timeout=30)


def _say(dev: Cluster, key: str, text: str) -> dict[str, Any]:
    """The demo buyer writes; what the system answered."""
    _, buyer = _tokens(_printed(dev))["buyer"]
    headers = {"authorization": f"Bearer {buyer}", "idempotency-key": key}
    url = f"{dev.processes[0].url}/chat_router/v1/messages"
    body = {"client_message_id": key, "text": text}
    answer = httpx.post(url, json=body, headers=headers, trust_env=False, timeout=30)
    wrote: dict[str, Any] = answer.raise_for_status().json()
    return wrote


def test_healthz_answers_once_everything_is_ready(dev: Cluster) -> None:
    answer = _get(dev, "/healthz")
    assert answer.status_code == 200
    assert answer.json() == {"status": "ok", "reasons": {}}


def test_one_document_describes_all_four_services_under_their_paths(dev: Cluster) -> None:
    document = _get(dev, "/openapi.json").json()
    services = {path.split("/")[1] for path in document["paths"]}
    assert services == {"chat_router", "order_ops", "aftersales", "feedback"}
    ids = [
        operation["operationId"]
        for item in document["paths"].values()
        for operation in item.values()
        if "operationId" in operation
    ]
    assert len(ids) == len(set(ids)) > 40
    names = {
        f"#/components/{kind}/{name}"
        for kind, named in document["components"].items()
        for name in named
    }
    assert _references(document) <= names


def _references(node: Any) -> set[str]:
    if isinstance(node, dict):
        own = {node["$ref"]} if isinstance(node.get("$ref"), str) else set()
        return own.union(*(_references(value) for value in node.values()))
    return set().union(*map(_references, node)) if isinstance(node, list) else set()


def test_the_docs_page_and_the_front_door_lead_to_the_document(dev: Cluster) -> None:
    assert "/openapi.json" in _get(dev, "/docs").text
    front = _get(dev, "/")
    assert front.headers["location"] == "/docs"


def test_a_token_of_every_role_is_printed_and_good(dev: Cluster) -> None:
    tokens = _tokens(_printed(dev))
    assert set(tokens) == {role.value for role in Role}
    for role, (_, token) in tokens.items():
        path = "/order_ops/v1/orders" if role != "system" else "/chat_router/v1/agents"
        assert _get(dev, path, token).status_code == 200, role


def test_the_demo_shop_is_there(dev: Cluster) -> None:
    _, supervisor = _tokens(_printed(dev))["supervisor"]
    agents = _get(dev, "/chat_router/v1/agents", supervisor).json()["items"]
    groups = _get(dev, "/chat_router/v1/groups", supervisor).json()["items"]
    policy = _get(dev, "/order_ops/v1/reminder_policies/current", supervisor).json()
    assert len(agents) >= 6
    assert {group["group_id"] for group in groups} == {"presale", "insale", "aftersale"}
    assert policy["edition"] == 1


def test_every_line_to_try_works_as_it_is_printed(dev: Cluster) -> None:
    printed = _printed(dev)
    for _, line in lines_to_try(dev.processes[0].url, _tokens(printed)):
        for pasted in line.splitlines():
            assert pasted.partition(" listen ")[2] in printed
    curls = [line for line in printed.splitlines() if line.startswith("curl ")]
    wrote, listed = (json.loads(_pasted(line)) for line in curls)
    assert wrote["client_message_id"] == "try-1"
    ids = [conversation["conversation_id"] for conversation in listed["items"]]
    assert wrote["conversation_id"] in ids
    again = json.loads(_pasted(curls[0]))
    assert again["message_id"] == wrote["message_id"], "pasted twice, written once"


def _pasted(line: str) -> str:
    return subprocess.run(
        [*BASH, line], capture_output=True, text=True, check=True, timeout=60
    ).stdout


def test_the_socket_line_without_websocat_shows_the_agent_s_events(dev: Cluster) -> None:
    printed = _printed(dev)
    [line] = [line for line in printed.splitlines() if " listen --base-url " in line]
    # The command's own name depends on how the system was started; what follows does not.
    arguments = line.partition(" listen ")[2]
    listening = subprocess.Popen(
        [sys.executable, "-m", "kefu", "listen", *arguments.split(), "--count", "1"],
        env=dev.env, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert listening.stdout is not None
        welcome = json.loads(listening.stdout.readline())
        assert welcome["frame"] == "welcome"
        assert welcome["receivers"] == ["agent:xiaomei"]
    finally:
        listening.terminate()
        listening.wait(30)


def test_a_second_system_on_the_same_home_is_refused_in_a_sentence(dev: Cluster) -> None:
    second = subprocess.run(
        [sys.executable, "-m", "kefu", "dev", "--port", "0"],
        env=dev.env, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert second.returncode == 3
    assert "is in use by process" in second.stderr
    assert "Traceback" not in second.stderr
    assert _get(dev, "/healthz").status_code == 200


def test_a_taken_port_is_refused_in_a_sentence(dev: Cluster, tmp_path: Path) -> None:
    port = dev.processes[0].port
    second = subprocess.run(
        [sys.executable, "-m", "kefu", "dev", "--port", str(port), "--home", str(tmp_path)],
        env=dev.env, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert second.returncode == 3
    assert second.stderr.startswith(f"kefu: port {port} is in use")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_system_ends_cleanly_and_started_again_has_all_its_data(
    own_dev: Cluster, number: signal.Signals
) -> None:
    process = own_dev.processes[0]
    _, buyer = _tokens(_printed(own_dev))["buyer"]
    wrote = _say(own_dev, "kept-1", "记得我吗")

    assert _ended(process, number) == 0
    assert "Traceback" not in process.log.read_text("utf-8")
    process.start()
    process.wait_ready()
    path = f"/chat_router/v1/conversations/{wrote['conversation_id']}/messages"
    found = _get(own_dev, path, buyer).json()["items"]
    assert found[0]["message_id"] == wrote["message_id"]


def _ended(process: Process, number: signal.Signals) -> int | None:
    import os

    os.kill(process.pid, number)
    assert wait_until(lambda: not process.running, 40)
    return process.status


def test_the_small_commands_answer_about_a_running_system(dev: Cluster) -> None:
    assert "KEFU_PORT=" in run_kefu(dev.env, "config")
    assert run_kefu(dev.env, "dead-letters", "list").strip() == "no dead letters"
    _say(dev, "small-1", "在吗")
    assert wait_until(lambda: "kefu.order_ops" in run_kefu(dev.env, "lag"), 30)
    assert run_kefu(dev.env, "timers", "list", "--limit", "5")
    assert run_kefu(dev.env, "seed", *dev.url_options()).strip() == "everything is there already"
    token = run_kefu(dev.env, "token", "--role", "operations", "--subject", "wangfang").strip()
    assert _get(dev, "/feedback/v1/spikes", token).status_code == 200


def test_a_poison_record_is_listed_shown_with_its_bytes_and_dropped(dev: Cluster) -> None:
    asyncio.run(_publish_garbage(dev.home))

    def listed() -> str:
        return run_kefu(dev.env, "dead-letters", "list", "--service", "order_ops")

    assert wait_until(lambda: "malformed_json" in listed(), 30)
    [letter] = [line.split()[1] for line in listed().splitlines() if "malformed_json" in line]
    shown = run_kefu(dev.env, "dead-letters", "show", "order_ops", letter)
    assert "code     malformed_json" in shown
    assert "{not json" in shown
    assert run_kefu(dev.env, "dead-letters", "drop", "order_ops", letter).strip() == "dropped"
    assert "malformed_json" not in listed()


async def _publish_garbage(home: Path) -> None:
    """As another program on the same bus would."""
    bus = EmbeddedBus(home / "bus.db")
    await bus.start()
    headers = [
        ("ce_specversion", b"1.0"),
        ("ce_id", b"garbage-1"),
        ("ce_source", b"elsewhere"),
        ("ce_type", b"kefu.shop.order.v1"),
        ("ce_time", b"2026-03-01T02:00:00Z"),
    ]
    await bus.publish([Message("shop.orders", b"demo:nobody", b"{not json", headers)])
    await bus.close()
