"""HTTP as a patient client does it: the same request again, with the same key, until answered.

A connection that fails, a 429 or a 503 is waited out, at most `patience` seconds in a row; any
other refusal is final. A repeat is byte for byte the first request, so that the system can tell
it from a new one.
"""

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any

import httpx
import msgspec

WAIT_STATUSES = frozenset({408, 425, 429, 502, 503, 504})
FIRST_PAUSE = 0.1
LONGEST_PAUSE = 2.0
TIMEOUT_SECONDS = 30.0
JSON = {"content-type": "application/json"}


class GaveUp(Exception):
    """The system did not answer for as long as the replay was told to wait."""


class RefusedByApi(Exception):
    """A final refusal, with the status and code of its problem document."""

    def __init__(self, status: int, code: str, detail: str) -> None:
        super().__init__(f"{status} {code}: {detail}" if detail else f"{status} {code}")
        self.status = status
        self.code = code
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Urls:
    """Where each service is: under one address, or each at its own."""

    base: str
    own: dict[str, str] = field(default_factory=dict)

    def of(self, service: str) -> str:
        """The address of a service, without a slash at its end."""
        return self.own.get(service, f"{self.base.rstrip('/')}/{service}").rstrip("/")

    def socket_of(self, service: str, path: str) -> str:
        """The address of a WebSocket."""
        return "ws" + self.of(service).removeprefix("http") + path


@dataclass(slots=True)
class Answer:
    """What came back: the JSON body, and its ETag if it had one."""

    status: int
    body: Any
    etag: str | None = None


class Outage:
    """Whether the system answers; shared by all clients, shown in the progress."""

    def __init__(self) -> None:
        self.since: float | None = None
        self.count = 0

    def begins(self) -> None:
        """A connection failed."""
        if self.since is None:
            self.since = time.monotonic()
            self.count += 1

    def ends(self) -> None:
        """Somebody got through."""
        self.since = None

    @property
    def seconds(self) -> float:
        """For how long nobody has got through; 0 while all is well."""
        return 0.0 if self.since is None else time.monotonic() - self.since


class Http:
    """The one HTTP client of a replay, for all its people."""

    def __init__(
        self,
        urls: Urls,
        *,
        patience: float,
        connections: int = 50,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.urls = urls
        self.outage = Outage()
        self.patience = patience
        self._client = httpx.AsyncClient(
            timeout=TIMEOUT_SECONDS,
            limits=httpx.Limits(max_connections=connections),
            trust_env=False,
            transport=transport,
        )

    async def close(self) -> None:
        """Let go of connections."""
        await self._client.aclose()

    async def get(self, service: str, path: str, token: str, **query: Any) -> Answer:
        """A read. `RefusedByApi` or `GaveUp` when it cannot be had."""
        params = {name: value for name, value in query.items() if value is not None}
        url = httpx.URL(self.urls.of(service) + path, params=params)
        return await self._send(httpx.Request("GET", url, headers=_headers(token)))

    async def pages(self, service: str, path: str, token: str, **query: Any) -> list[Any]:
        """Every item of a list, page by page."""
        items: list[Any] = []
        cursor: str | None = None
        while True:
            answer = await self.get(service, path, token, cursor=cursor, **query)
            items.extend(answer.body["items"])
            cursor = answer.body.get("next_cursor")
            if cursor is None:
                return items

    async def post(
        self, service: str, path: str, token: str, key: str, body: Any, *, if_match: str = ""
    ) -> Answer:
        """A change under an Idempotency-Key, of the version `if_match` where one is named."""
        headers = _headers(token) | {"idempotency-key": key}
        if if_match:
            headers["if-match"] = if_match
        return await self._change("POST", service, path, headers, body)

    async def put(
        self, service: str, path: str, token: str, body: Any, *, if_match: str = "*"
    ) -> Answer:
        """A replacement of the version `if_match` names."""
        headers = _headers(token) | {"if-match": if_match}
        return await self._change("PUT", service, path, headers, body)

    async def _change(
        self, method: str, service: str, path: str, headers: dict[str, str], body: Any
    ) -> Answer:
        content = msgspec.json.encode(body)
        url = self.urls.of(service) + path
        return await self._send(httpx.Request(method, url, headers=headers | JSON, content=content))

    async def _send(self, request: httpx.Request) -> Answer:
        pause, waiting_since = FIRST_PAUSE, time.monotonic()
        while True:
            wait, problem = await self._once(request)
            if isinstance(wait, Answer):
                return wait
            if time.monotonic() - waiting_since > self.patience:
                raise GaveUp(f"{request.url.host}:{request.url.port}: {problem}")
            await asyncio.sleep(max(pause, min(wait, LONGEST_PAUSE)))
            pause = min(LONGEST_PAUSE, pause * 2)

    async def _once(self, request: httpx.Request) -> tuple[Answer | float, str]:
        """The answer, or seconds to wait and why; `RefusedByApi` when waiting does not help."""
        try:
            response = await self._client.send(request)
        except httpx.TransportError as error:
            self.outage.begins()
            return 0.0, str(error) or type(error).__name__
        if response.status_code in WAIT_STATUSES:
            return _retry_after(response), f"answered {response.status_code}"
        self.outage.ends()
        if response.is_success or response.status_code == 304:
            body = msgspec.json.decode(response.content) if response.content else None
            return Answer(response.status_code, body, response.headers.get("etag")), ""
        raise refusal_of(response)


def _headers(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}", "accept": "application/json"}


def _retry_after(response: httpx.Response) -> float:
    try:
        return float(response.headers.get("retry-after", "0"))
    except ValueError:
        return 0.0


def refusal_of(response: httpx.Response) -> RefusedByApi:
    """The refusal in a problem document, or in whatever else came."""
    try:
        problem = msgspec.json.decode(response.content)
    except msgspec.DecodeError:
        problem = None
    if not isinstance(problem, dict):
        return RefusedByApi(response.status_code, "not_a_problem_document", "")
    detail = str(problem.get("detail") or problem.get("title") or "")
    return RefusedByApi(response.status_code, str(problem.get("code", "unknown")), detail)
