"""Every subject is built and parsed here.

tm.<writer>.<aggregate>.<id>.<EventName>   EVENTS    facts; the writer first, so that the broker enforces who
                                                     may say what
metrics.<agent>.<trial>                    METRICS   training metrics; volume no decision depends on
logs.<agent>.<trial>.<rank>                LOGS      output of a rank
health.<kind>.<name>                       (core)    heartbeats, not kept
ask.<service>.<what>                       (core)    questions, answered by request and reply
"""

from typing import NamedTuple

EVENTS, METRICS, LOGS = "EVENTS", "METRICS", "LOGS"
SECRETS = "SECRETS"  # a key-value bucket: the gateway's, and nobody else's
ALL_EVENTS, ALL_METRICS, ALL_LOGS = "tm.>", "metrics.>", "logs.>"
ALL_HEALTH = "health.>"

QUEUE_QUESTION = "ask.scheduler.queue"  # shared.queue

GATEWAY, SEARCHER, SCHEDULER, TRACKER = "gateway", "searcher", "scheduler", "tracker"


class EventSubject(NamedTuple):
    """The five tokens of an event's subject, without the leading `tm`."""

    writer: str
    aggregate: str
    aggregate_id: str
    name: str

    def __str__(self) -> str:
        return f"tm.{self.writer}.{self.aggregate}.{self.aggregate_id}.{self.name}"


def parse_event_subject(subject: str) -> EventSubject:
    """Return the tokens of an event's subject. Raises ValueError on any other subject."""
    prefix, *tokens = subject.split(".")
    if prefix != "tm" or len(tokens) != 4:
        raise ValueError(f"not an event subject: {subject}")
    return EventSubject(*tokens)


def aggregate_subject(writer: str, aggregate: str, aggregate_id: str) -> str:
    """Return the wildcard that covers all events of one writer about one aggregate: what an append expects on."""
    return f"tm.{writer}.{aggregate}.{aggregate_id}.>"


def writer_subject(writer: str) -> str:
    """Return the wildcard that covers all events of one writer: what a leader's append expects on."""
    return f"tm.{writer}.>"


def event_filter(
    writer: str | None = None, aggregate: str | None = None, aggregate_id: str | None = None, name: str | None = None
) -> str:
    """Return the subject filter for the given tokens; None matches any."""
    return ".".join(["tm", writer or "*", aggregate or "*", aggregate_id or "*", name or "*"])


def agent_writer(agent_id: str) -> str:
    """Return the writer token of an agent."""
    return f"worker-{agent_id}"


def metrics_subject(agent_id: str, trial_id: str) -> str:
    """Return where an agent publishes a trial's training metrics."""
    return f"metrics.{agent_id}.{trial_id}"


def logs_subject(agent_id: str, trial_id: str, rank: int) -> str:
    """Return where an agent publishes the output of one rank."""
    return f"logs.{agent_id}.{trial_id}.{rank}"


def trial_logs_filter(trial_id: str) -> str:
    """Return the filter for the output of all ranks of a trial."""
    return f"logs.*.{trial_id}.*"


def trial_metrics_filter(trial_id: str) -> str:
    """Return the filter for the training metrics of a trial."""
    return f"metrics.*.{trial_id}"


def health_subject(kind: str, name: str) -> str:
    """Return where a process says that it is alive; `kind` is the service, `name` the instance."""
    return f"health.{kind}.{name}"


def agents_health_filter() -> str:
    """Return the filter for the heartbeats of all agents."""
    return "health.worker.*"
