"""The one list of metrics: name, type, unit, labels and meaning of each.

In Prometheus a name is written with `kefu_` before it, underscores for dots, `_seconds` for the
unit `s`, and `_total` for counters. Labels come from closed sets (services, topics, outcomes),
never from shops, people or orders, so that the number of series stays small.
"""

from common.telemetry.instruments import (
    LONG_SECONDS,
    SECONDS,
    SIZES,
    Counter,
    Gauge,
    Histogram,
    declare,
    declared_metrics,
)

# ---------------------------------------------------------------- HTTP and sockets

HTTP_REQUEST_SECONDS = declare(
    Histogram(
        name="http.request.duration",
        unit="s",
        labels=("service", "method", "route", "status"),
        meaning="Time from the first byte of a request to the last of its answer; `route` is the "
        "template of the path, `none` where no route matched.",
    )
)
RATE_LIMITED = declare(
    Counter(
        name="http.rate_limited",
        unit="{request}",
        labels=("service", "by"),
        meaning="Requests and frames refused by a rate limit, by `subject`, `address` or `socket`.",
    )
)
SOCKETS_OPEN = declare(
    Gauge(
        name="sockets.open",
        unit="{socket}",
        labels=("service", "kind"),
        meaning="WebSockets open in this process, by kind of caller (buyer, staff, system).",
    )
)
SOCKETS_CLOSED = declare(
    Counter(
        name="sockets.closed",
        unit="{socket}",
        labels=("service", "code"),
        meaning="WebSockets closed, by close code (docs/api.md lists them).",
    )
)
SOCKET_RESYNCS = declare(
    Counter(
        name="sockets.resyncs",
        unit="{resync}",
        labels=("service", "reason"),
        meaning="Sockets told to reload over HTTP because their cursor could not be resumed.",
    )
)
DELIVERIES = declare(
    Counter(
        name="sockets.deliveries",
        unit="{frame}",
        labels=("service", "kind"),
        meaning="Event frames handed to a socket, by kind of receiver (buyer, staff, system).",
    )
)
DELIVERY_SECONDS = declare(
    Histogram(
        name="sockets.delivery.latency",
        unit="s",
        labels=("service",),
        meaning="Time from the moment an event happened to its frame being handed to a socket.",
    )
)

# ---------------------------------------------------------------- the event backbone

EVENTS_CONSUMED = declare(
    Counter(
        name="events.consumed",
        unit="{event}",
        labels=("service", "topic"),
        meaning="Events whose effects were committed.",
    )
)
EVENTS_FAILED = declare(
    Counter(
        name="events.failed",
        unit="{event}",
        labels=("service", "topic", "reason"),
        meaning="Attempts at an event that failed, by reason (an error's code or class).",
    )
)
EVENTS_DUPLICATE = declare(
    Counter(
        name="events.duplicate",
        unit="{event}",
        labels=("service", "topic"),
        meaning="Events that the inbox had seen before and that had no effect again.",
    )
)
EVENT_LAG_SECONDS = declare(
    Histogram(
        name="events.latency",
        unit="s",
        labels=("service", "topic"),
        meaning="Time from the moment an event happened to the commit of its effects.",
    )
)
CONSUMER_LAG = declare(
    Gauge(
        name="events.lag",
        unit="{event}",
        labels=("service", "topic"),
        meaning="Events that this process has been assigned and has not finished.",
    )
)
KEYS_PARKED = declare(
    Gauge(
        name="events.parked_keys",
        unit="{key}",
        labels=("service", "topic"),
        meaning="Partition keys set aside because an event of theirs keeps failing.",
    )
)
REBALANCES = declare(
    Counter(
        name="events.rebalances",
        unit="{rebalance}",
        labels=("service",),
        meaning="Times that the group's partitions were dealt out anew.",
    )
)
DEAD_LETTERS = declare(
    Counter(
        name="dead_letters",
        unit="{event}",
        labels=("service", "topic", "reason"),
        meaning="Events put aside for a person, by reason.",
    )
)
BATCH_SIZE = declare(
    Histogram(
        name="batch.size",
        unit="{message}",
        labels=("service", "source"),
        buckets=SIZES,
        meaning="Messages in one transaction, by source (events, commands, timers).",
    )
)
BATCH_SECONDS = declare(
    Histogram(
        name="batch.duration",
        unit="s",
        labels=("service", "source"),
        meaning="Time for one batch, from the first read to the commit.",
    )
)
COMMANDS_REPLAYED = declare(
    Counter(
        name="commands.replayed",
        unit="{command}",
        labels=("service",),
        meaning="Commands answered from the record because their Idempotency-Key was known.",
    )
)
OUTBOX_PENDING = declare(
    Gauge(
        name="outbox.pending",
        unit="{event}",
        labels=("service",),
        meaning="Events committed and not yet on the bus.",
    )
)
OUTBOX_RELAYED = declare(
    Counter(
        name="outbox.relayed",
        unit="{event}",
        labels=("service", "topic"),
        meaning="Events put on the bus.",
    )
)
OUTBOX_LAG_SECONDS = declare(
    Gauge(
        name="outbox.lag",
        unit="s",
        labels=("service",),
        meaning="Age of the oldest event not yet on the bus; 0 when there is none.",
    )
)
OUTBOX_FAILURES = declare(
    Counter(
        name="outbox.failures",
        unit="{attempt}",
        labels=("service", "reason"),
        meaning="Attempts to put events on the bus that failed and are repeated.",
    )
)
TIMERS_PENDING = declare(
    Gauge(
        name="timers.pending",
        unit="{timer}",
        labels=("service",),
        meaning="Timers armed and not fired.",
    )
)
TIMERS_FIRED = declare(
    Counter(
        name="timers.fired",
        unit="{timer}",
        labels=("service", "timer", "outcome"),
        meaning="Timers fired, by kind and outcome: done, stale (no longer wanted), failed.",
    )
)
TIMER_LATENESS_SECONDS = declare(
    Histogram(
        name="timers.lateness",
        unit="s",
        labels=("service",),
        buckets=(*SECONDS, 60.0, 300.0),
        meaning="Time from the moment a timer was due to the commit of its effects.",
    )
)
LOOP_AGE_SECONDS = declare(
    Gauge(
        name="loop.age",
        unit="s",
        labels=("service", "loop"),
        meaning="Time since a background loop last went round; liveness fails when it grows.",
    )
)
DB_CONNECTIONS = declare(
    Gauge(
        name="db.connections",
        unit="{connection}",
        labels=("service", "state"),
        meaning="Database connections, by state (used, idle).",
    )
)

# ---------------------------------------------------------------- chat_router

MESSAGES = declare(
    Counter(
        name="messages",
        unit="{message}",
        labels=("direction", "kind"),
        meaning="Messages stored, by direction (buyer, agent, bot, system) and kind of content.",
    )
)
CONVERSATIONS_OPENED = declare(
    Counter(
        name="conversations.opened",
        unit="{conversation}",
        meaning="Conversations opened.",
    )
)
CONVERSATIONS_CLOSED = declare(
    Counter(
        name="conversations.closed",
        unit="{conversation}",
        labels=("reason",),
        meaning="Conversations closed, by reason.",
    )
)
ASSIGNMENTS = declare(
    Counter(
        name="assignments",
        unit="{assignment}",
        labels=("reason",),
        meaning="Conversations given to an agent, by the rule that chose.",
    )
)
ASSIGNMENT_WAIT_SECONDS = declare(
    Histogram(
        name="assignments.wait",
        unit="s",
        buckets=(*SECONDS[-5:], 60.0, 180.0, 600.0, 1800.0),
        meaning="Time a buyer waited in the queue before an agent was assigned.",
    )
)
FIRST_RESPONSE_SECONDS = declare(
    Histogram(
        name="rounds.first_response",
        unit="s",
        buckets=LONG_SECONDS,
        meaning="Time from the buyer's first unanswered message to the reply, first round only.",
    )
)
RESPONSE_SECONDS = declare(
    Histogram(
        name="rounds.response",
        unit="s",
        buckets=LONG_SECONDS,
        meaning="The same for every round; le=180 is the 3-minute response rate.",
    )
)

# ---------------------------------------------------------------- order_ops

ORDERS = declare(
    Counter(
        name="orders",
        unit="{change}",
        labels=("status",),
        meaning="Orders that reached a status.",
    )
)
REMINDERS = declare(
    Counter(
        name="reminders",
        unit="{reminder}",
        labels=("outcome",),
        meaning="Payment reminders by how they ended: sent, or why not (paid, holdout, cap …).",
    )
)

# ---------------------------------------------------------------- aftersales

CASES = declare(
    Counter(
        name="cases",
        unit="{change}",
        labels=("kind", "status"),
        meaning="After-sale cases that reached a status, by kind.",
    )
)
CASE_DEADLINES = declare(
    Counter(
        name="cases.deadlines",
        unit="{deadline}",
        labels=("outcome",),
        meaning="Deadlines of cases: warned of (near), or the default outcome that came of them.",
    )
)

# ---------------------------------------------------------------- feedback

TAGS = declare(
    Counter(
        name="tags",
        unit="{tag}",
        labels=("source", "tag"),
        meaning="Tags given, by source (conversation, review, return, case) and taxonomy entry.",
    )
)
SPIKES = declare(
    Counter(
        name="spikes",
        unit="{spike}",
        labels=("severity",),
        meaning="Complaint spikes raised.",
    )
)
TASKS = declare(
    Counter(
        name="tasks",
        unit="{change}",
        labels=("status",),
        meaning="Feedback tasks that reached a status.",
    )
)


def metrics_table() -> str:
    """The list as a Markdown table, for the documentation."""
    rows = ["| metric | type | unit | labels | meaning |", "|---|---|---|---|---|"]
    for metric in declared_metrics():
        labels = ", ".join(f"`{label}`" for label in metric.labels) or "–"
        rows.append(
            f"| `{metric.exposed_name}` | {metric.type} | {metric.unit.strip('{}')} | {labels} "
            f"| {metric.meaning} |"
        )
    return "\n".join(rows) + "\n"
