"""The policies of a replay: set by a supervisor before the first line, put back after the last.

A `policy` line names settings to change, by area; what it does not name stays as the shop has it.
The reminders' seconds are of the file's time, so a day played at ten times the speed has its
delays divided by ten, too. What stood before is in the journal, so that it is put back even after
a kill.
"""

import time
from collections.abc import Mapping
from typing import Any

from kefu.replay.http import Answer, Http
from kefu.replay.journal import Journal
from kefu.replay.records import PolicyBefore
from kefu.replay.script import ScriptError

AREAS = {
    "chat": ("chat_router", "/v1/shop_settings"),
    "reminders": ("order_ops", "/v1/reminder_policies/current"),
    "feedback": ("feedback", "/v1/policies/current"),
}
TIMED = frozenset({"reminders"})
_STAMPS = frozenset({"edition", "version", "changed_by", "changed_at"})


class Policies:
    """The shop's policies, changed for the time of a replay."""

    def __init__(self, http: Http, journal: Journal, token: str, *, time_scale: float) -> None:
        self._http = http
        self._journal = journal
        self._token = token
        self._time_scale = time_scale
        self._before: dict[str, dict[str, Any]] = {
            record.area: record.body
            for record in journal.records
            if isinstance(record, PolicyBefore)
        }

    async def apply(self, wanted: Mapping[str, Any]) -> None:
        """Changes what the script names."""
        for area, changes in wanted.items():
            if area not in AREAS or not isinstance(changes, dict):
                raise ScriptError(f"policy: no area {area!r}; there are {', '.join(AREAS)}")
            before = await self._remember(area)
            scale = self._time_scale if area in TIMED else 1.0
            await self._put(area, before | scaled(changes, scale))

    async def _remember(self, area: str) -> dict[str, Any]:
        if area not in self._before:
            service, path = AREAS[area]
            answer: Answer = await self._http.get(service, path, self._token)
            body = {name: value for name, value in answer.body.items() if name not in _STAMPS}
            self._before[area] = body
            await self._journal.keep(PolicyBefore(at=time.time(), area=area, body=body))
        return self._before[area]

    async def restore(self) -> None:
        """Puts everything back."""
        for area, body in self._before.items():
            await self._put(area, body)

    async def _put(self, area: str, body: Mapping[str, Any]) -> None:
        service, path = AREAS[area]
        await self._http.put(service, path, self._token, body)


def scaled(value: Any, time_scale: float, name: str = "") -> Any:
    """The same with every `…_seconds` times `time_scale`, at least one second."""
    if isinstance(value, dict):
        return {key: scaled(inner, time_scale, key) for key, inner in value.items()}
    if isinstance(value, list):
        return [scaled(inner, time_scale) for inner in value]
    if name.endswith("_seconds") and isinstance(value, int) and value > 0:
        return max(1, round(value * time_scale))
    return value
