"""Agents: who is there, and how they are set up."""

from fastapi import APIRouter, Response

from common.contracts import Presence
from common.errors import Forbidden, NotFound
from common.web.etags import IfMatch, etag
from common.web.pages import Page, PageQuery, page_of
from common.web.serving import RunningService
from common.web.types import View

from ..attendance import SetPresence
from ..staffing import EditAgent, Edited
from ..store import lists, queues
from .bodies import AgentSetup, NewPresence
from .callers import Agent, AgentId, StaffOrSystem, Supervisor, acting_as
from .views import AgentView, agent_view

router = APIRouter(prefix="/v1/agents", tags=["agents"])


class PresenceView(View):
    """The presence that now holds."""

    agent_id: str
    presence: Presence


class EditedView(View):
    """The edition after the change; also the ETag."""

    edition: int


@router.get("")
async def list_agents(
    caller: StaffOrSystem, service: RunningService, page: PageQuery
) -> Page[AgentView]:
    """The agents of the shop with presence and load."""
    after = page.after(tuple[str])
    async with service.database.read() as conn:
        found = await lists.agents(conn, caller.shop_id, after[0] if after else "", page.limit + 1)
        held = await queues.loads(conn, caller.shop_id)
    views = [agent_view(one, *held.get(one.agent_id, (0, 0))) for one in found]
    return page_of(views, page.limit, lambda one: (one.agent_id,))


@router.get("/{agent_id}")
async def get_agent(
    caller: StaffOrSystem, service: RunningService, agent_id: AgentId, response: Response
) -> AgentView:
    """One agent; the ETag is that of the setup."""
    async with service.database.read() as conn:
        found = await lists.agent(conn, caller.shop_id, agent_id)
        held = await queues.loads(conn, caller.shop_id)
    if found is None:
        raise NotFound("no such agent")
    response.headers["ETag"] = etag(found.edition)
    return agent_view(found, *held.get(agent_id, (0, 0)))


@router.put("/{agent_id}")
async def put_agent(
    caller: Supervisor,
    service: RunningService,
    agent_id: AgentId,
    expected: IfMatch,
    body: AgentSetup,
    response: Response,
) -> EditedView:
    """Set an agent's groups, capacity and weight. `If-Match: "0"` or `*` for a new one."""
    command = EditAgent(
        shop_id=caller.shop_id,
        agent_id=agent_id,
        name=body.name,
        groups=tuple(dict.fromkeys(body.groups)),
        capacity=body.capacity,
        weight=body.weight,
        expected=expected,
    )
    edited: Edited = await service.submit(command)
    response.headers["ETag"] = etag(edited.edition)
    return EditedView(edition=edited.edition)


@router.put("/{agent_id}/presence")
async def put_presence(
    caller: Agent, service: RunningService, agent_id: AgentId, body: NewPresence
) -> PresenceView:
    """Come, go, be suspended (挂起) or away: agents for themselves, supervisors for anybody.

    It counts as a sign of life. Without a socket or another such call within the shop's
    heartbeat time the agent counts as gone.
    """
    own = agent_id == caller.subject
    if not own and acting_as(caller) not in ("supervisor", "admin"):
        raise Forbidden("Agents set their own presence.")
    command = SetPresence(
        shop_id=caller.shop_id,
        agent_id=agent_id,
        presence=body.presence,
        reason="self" if own else "supervisor",
    )
    return PresenceView.model_validate(await service.submit(command))
