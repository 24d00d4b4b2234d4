"""What the API answers with, as types: handlers return them, openapi.py describes them."""

from datetime import datetime
from enum import StrEnum

import msgspec

from shared.events import Fitting, PolicyType, PoolPolicy, Role
from shared.queue import Ahead, Needs, PoolQueue, Reason


class ExperimentState(StrEnum):
    """The life of an experiment; the last three are final."""

    ACTIVE = "ACTIVE"
    PAUSED = "PAUSED"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELED = "CANCELED"


class TrialState(StrEnum):
    """The life of a trial: RUNNING and STOPPING hold slots or have just given them back; PARKED has trained to its
    target and waits for what its rung decides, WAITING waits for slots; the last three are final."""

    WAITING = "WAITING"
    RUNNING = "RUNNING"
    STOPPING = "STOPPING"
    PARKED = "PARKED"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELED = "CANCELED"


class AgentState(StrEnum):
    """Whether an agent offers its slots."""

    UP = "UP"
    LOST = "LOST"
    LEFT = "LEFT"


class Availability(StrEnum):
    """Whether an agent or a slot takes new work, as an administrator wants it; what runs on a draining one goes on."""

    ENABLED = "ENABLED"
    DRAINING = "DRAINING"
    DISABLED = "DISABLED"


class View(msgspec.Struct, frozen=True, kw_only=True):
    """A JSON answer."""


class ErrorItem(View, frozen=True, kw_only=True):
    """One mistake: where it is, what is wrong, what to write instead."""

    path: str
    message: str
    suggestion: str | None = None


class Granted(View, frozen=True, kw_only=True):
    """A role, in a workspace or (null) everywhere."""

    role: Role
    workspace: str | None


class Session(View, frozen=True, kw_only=True):
    """Who is asking; `at_most` is what the token is limited to."""

    user_id: str
    full_name: str
    grants: list[Granted]
    at_most: Role
    expires_at: datetime | None


class LoginCode(View, frozen=True, kw_only=True):
    """A code that logs a browser in once."""

    code: str
    expires_at: datetime


class UserView(View, frozen=True, kw_only=True):
    """A user and what the user may do."""

    user_id: str
    full_name: str
    is_service: bool
    enabled: bool
    created_at: datetime
    grants: list[Granted]
    seq: int


class UserList(View, frozen=True, kw_only=True):
    """Users by name."""

    items: list[UserView]


class TokenView(View, frozen=True, kw_only=True):
    """A token without its secret."""

    token_id: str
    user_id: str
    label: str
    role: Role
    issued_at: datetime
    expires_at: datetime | None


class TokenList(View, frozen=True, kw_only=True):
    """Tokens, oldest first."""

    items: list[TokenView]


class NewToken(View, frozen=True, kw_only=True):
    """A token: shown this once."""

    token: str
    token_id: str
    user_id: str
    expires_at: datetime | None


class WebhookState(StrEnum):
    """A dead webhook was refused too often, and waits for a replay."""

    ALIVE = "ALIVE"
    DEAD = "DEAD"


class WebhookView(View, frozen=True, kw_only=True):
    """Where events are posted; without names, all of them. A dead one posts nothing until it is replayed."""

    id: str
    url: str
    events: list[str]
    created_at: datetime
    state: WebhookState
    failed_seq: int | None
    reason: str | None


class NewWebhook(View, frozen=True, kw_only=True):
    """A webhook, and what its messages are signed with: shown this once."""

    webhook: WebhookView
    secret: str


class WebhookList(View, frozen=True, kw_only=True):
    """All webhooks, oldest first."""

    items: list[WebhookView]


class Problem(View, frozen=True, kw_only=True):
    """Why a request failed (RFC 9457)."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    errors: tuple[ErrorItem, ...] = ()


class SearcherView(View, frozen=True, kw_only=True):
    """The search method and the metric it looks at."""

    name: str
    metric: str
    smaller_is_better: bool
    max_trials: int | None


class TrialCounts(View, frozen=True, kw_only=True):
    """How many trials are in which state; `running` includes those that stop, `waiting` those parked at a rung."""

    total: int
    waiting: int
    running: int
    completed: int
    failed: int
    canceled: int


class BestTrial(View, frozen=True, kw_only=True):
    """The trial that did not fail with the best validation so far."""

    trial_id: str
    metric: float
    step: int
    hyperparameters: msgspec.Raw
    checkpoint_id: str | None


class Deletion(StrEnum):
    """How far the deletion of an experiment is: asked for, or done."""

    REQUESTED = "REQUESTED"
    DONE = "DONE"


class Experiment(View, frozen=True, kw_only=True):
    """One search over a space. `owner` submitted it; `forked_from` is the experiment that it was made of."""

    id: str
    name: str
    description: str
    labels: list[str]
    state: ExperimentState
    searcher: SearcherView
    slots_per_trial: int
    workspace: str
    project: str
    owner: str
    archived: bool
    deletion: Deletion | None
    forked_from: str | None
    pool: str
    priority: int
    weight: float
    max_slots: int | None
    progress: float
    submitted_at: datetime
    ended_at: datetime | None
    reason: str | None
    trials: TrialCounts
    best: BestTrial | None
    seq: int


class ExperimentDetail(Experiment, frozen=True, kw_only=True):
    """An experiment with what people noted on it and its whole configuration, every default filled in."""

    notes: str
    config: msgspec.Raw


class Workspace(View, frozen=True, kw_only=True):
    """Where a team keeps its experiments; `id` stands in addresses, `name` in experiment files and roles."""

    id: str
    name: str
    description: str
    archived: bool
    created_at: datetime
    created_by: str
    projects: int
    experiments: int
    seq: int


class WorkspacePage(View, frozen=True, kw_only=True):
    """Workspaces by name."""

    items: list[Workspace]
    next_cursor: str | None


class Project(View, frozen=True, kw_only=True):
    """A part of a workspace."""

    id: str
    workspace: str
    name: str
    description: str
    archived: bool
    created_at: datetime
    created_by: str
    experiments: int
    seq: int


class ProjectPage(View, frozen=True, kw_only=True):
    """Projects by name."""

    items: list[Project]
    next_cursor: str | None


class Outcome(View, frozen=True, kw_only=True):
    """What became of one of many: `status` is what a request about it alone would have answered."""

    id: str
    status: int
    detail: str = ""


class OutcomeList(View, frozen=True, kw_only=True):
    """What became of each, in the order they were named."""

    items: list[Outcome]
    num_failed: int


class ExperimentPage(View, frozen=True, kw_only=True):
    """Experiments, newest first."""

    items: list[Experiment]
    next_cursor: str | None


class AgentSlots(View, frozen=True, kw_only=True):
    """Slots of one agent that a trial holds, or held last, in rank order."""

    agent_id: str
    slots: list[int]


class Trial(View, frozen=True, kw_only=True):
    """One configuration trained. `best_checkpoint_id` is the newest checkpoint at or before the best step, else the
    first one after it, else (without a validation) the newest."""

    id: str
    experiment_id: str
    index: int
    state: TrialState
    hyperparameters: msgspec.Raw
    seed: int
    slots: int
    origin: str
    restarts: int
    requested_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    step: int | None
    metric: float | None
    best_step: int | None
    latest_checkpoint_id: str | None
    best_checkpoint_id: str | None
    agents: list[AgentSlots]
    reason: str | None
    error: str | None


class TrialPage(View, frozen=True, kw_only=True):
    """Trials by index."""

    items: list[Trial]
    next_cursor: str | None


class TrialColumns(View, frozen=True, kw_only=True):
    """Trials by index, a list for each property; `hyperparameters` by dotted name, null where a trial has none."""

    index: list[int]
    state: list[TrialState]
    metric: list[float | None]
    best_step: list[int | None]
    step: list[int | None]
    slots: list[int]
    restarts: list[int]
    started_at: list[datetime | None]
    ended_at: list[datetime | None]
    hyperparameters: dict[str, list[msgspec.Raw]]
    next_cursor: str | None


class CodeFile(View, frozen=True, kw_only=True):
    """One file of an experiment's code directory."""

    path: str
    size_bytes: int


class CodeFiles(View, frozen=True, kw_only=True):
    """The files of an experiment's code directory by path; `sha256` is the archive's."""

    sha256: str
    items: list[CodeFile]


class Series(View, frozen=True, kw_only=True):
    """One metric of one trial: [step, value] pairs by step."""

    trial_id: str
    name: str
    group: str
    points: list[tuple[int, float]]


class SeriesList(View, frozen=True, kw_only=True):
    """Metrics for a chart."""

    series: list[Series]


class MetricName(View, frozen=True, kw_only=True):
    """A metric that there is."""

    group: str
    name: str


class MetricNames(View, frozen=True, kw_only=True):
    """The metrics that there are, by group and name."""

    items: list[MetricName]


class StepTimes(View, frozen=True, kw_only=True):
    """When a trial validated: [step, seconds since its first start] pairs by step."""

    trial_id: str
    points: list[tuple[int, float]]


class StepTimesList(View, frozen=True, kw_only=True):
    """Trials with their times."""

    items: list[StepTimes]


class File(View, frozen=True, kw_only=True):
    """One file of a checkpoint."""

    path: str
    size_bytes: int
    sha256: str


class CheckpointState(StrEnum):
    """Whether trials can resume from a checkpoint."""

    ACTIVE = "ACTIVE"
    DAMAGED = "DAMAGED"  # files are missing, or not those that were saved
    DELETING = "DELETING"
    DELETED = "DELETED"


class Checkpoint(View, frozen=True, kw_only=True):
    """A saved state of a trial, whole in the object store."""

    id: str
    trial_id: str
    experiment_id: str
    step: int
    saved_at: datetime
    world_size: int
    zero_stage: int | None
    size_bytes: int
    files: list[File]
    state: CheckpointState
    reason: str | None  # of its state


class CheckpointPage(View, frozen=True, kw_only=True):
    """Checkpoints in the order they were saved."""

    items: list[Checkpoint]
    next_cursor: str | None


class SlotView(View, frozen=True, kw_only=True):
    """One unit of scheduling, and the trial that holds it. It takes work when its agent does, too, and unless
    `unhealthy` says why its GPU is not fit for any."""

    number: int
    kind: str
    name: str
    memory_bytes: int | None
    trial_id: str | None
    availability: Availability = Availability.ENABLED
    ends_at: datetime | None = None
    unhealthy: str | None = None


class Agent(View, frozen=True, kw_only=True):
    """A machine that offers slots. What runs on a draining one must stop from `ends_at` on, if that is set."""

    id: str
    incarnation: str
    pool: str
    address: str
    state: AgentState
    joined_at: datetime
    slots: list[SlotView]
    availability: Availability
    ends_at: datetime | None
    labels: dict[str, str]
    zero_slot_limit: int


class AgentList(View, frozen=True, kw_only=True):
    """All agents ever seen, by name."""

    items: list[Agent]


class Usage(View, frozen=True, kw_only=True):
    """What an experiment has had up to `at`: slots times seconds, in so many allocations; what it holds then."""

    slot_seconds: float
    allocations: int
    slots_held: int
    at: datetime


class AuditFinding(View, frozen=True, kw_only=True):
    """Something that is not as it was sealed."""

    kind: str
    text: str


class AuditReport(View, frozen=True, kw_only=True):
    """The log compared with its seals: `sealed` is the last event that one covers, `unsealed` how many came since."""

    ok: bool
    events: int
    seals: int
    sealed: int
    unsealed: int
    root: str
    public_keys: list[str]
    findings: list[AuditFinding]
    num_findings: int


class Policy(View, frozen=True, kw_only=True):
    """How a pool is scheduled (see PoolConfigured); `default_priority` is for experiments that name none."""

    type: PolicyType
    preemption: bool
    fitting: Fitting
    heterogeneous_fits: bool
    reserve_after_s: float | None
    default_priority: int


def policy(value: PoolPolicy) -> Policy:
    """Return a policy with all its values."""
    return Policy(**{name: getattr(value, name) for name in value.__struct_fields__})


class Pool(View, frozen=True, kw_only=True):
    """A resource pool: how it is scheduled (by a policy of its own if `is_configured`), its agents that are up with
    their slots (`closed`: take no new work), its trials."""

    id: str
    is_configured: bool
    policy: Policy
    agents: int
    slots: int
    held: int
    closed: int
    waiting: int
    running: int


class PoolList(View, frozen=True, kw_only=True):
    """All pools by name."""

    items: list[Pool]


class Limit(View, frozen=True, kw_only=True):
    """What a workspace's experiments may have together: slots, of which they hold `held`, and the lowest priority
    number. `workspace` null: each workspace."""

    workspace: str | None
    max_slots: int | None
    best_priority: int | None
    held: int | None


class LimitList(View, frozen=True, kw_only=True):
    """All limits by workspace, the one for all first."""

    items: list[Limit]


class QueueItem(View, frozen=True, kw_only=True):
    """A trial that waits for slots, and what for. `position` (from 1) is its place in its pool's order of service;
    `detail` and what follows is the scheduler's explanation, absent when it does not answer."""

    position: int
    trial_id: str
    experiment_id: str
    experiment_name: str
    slots: int
    pool: str
    priority: int | None = None
    waiting_since: datetime
    reason: str
    detail: Reason | None = None
    ahead: Ahead | None = None
    needs: Needs | None = None
    victims: list[str] = []
    expected_start: datetime | None = None
    expected_why: str = ""


class QueueView(View, frozen=True, kw_only=True):
    """Waiting trials in the order they will be served, pool by pool. `position` is that of the log up to which the
    scheduler had folded; without it the scheduler did not answer, and the order is that of the requests."""

    items: list[QueueItem]
    next_cursor: str | None = None
    num_waiting: int | None = None
    position: int | None = None
    pools: list[PoolQueue] = []


class EventItem(View, frozen=True, kw_only=True):
    """An event as the log holds it."""

    seq: int
    time: datetime
    name: str
    version: int
    writer: str
    actor: str
    correlation: str
    causes: list[int]
    position: int | None  # of a decision: up to which event its writer had folded
    id: str
    aggregate: str
    aggregate_id: str
    text: str
    event: msgspec.Raw


class EventPage(View, frozen=True, kw_only=True):
    """Events, oldest first; `at_head` says that there are no more in the asked range now."""

    items: list[EventItem]
    next_after: int
    at_head: bool


class Explanation(View, frozen=True, kw_only=True):
    """Why one thing is so: a question, its answer in a sentence, and what was gone by as structure. `seq` is the event
    that tells the decision; without it the answer is about now."""

    topic: str
    question: str
    text: str
    seq: int | None = None
    time: datetime | None = None
    detail: msgspec.Raw | None = None


class Why(View, frozen=True, kw_only=True):
    """Why a trial, an experiment or an agent is as it is now (`head`), the decisions that led there with what each
    went by, and the events, by sequence."""

    kind: str
    id: str
    state: str
    head: str
    explanations: list[Explanation]
    chain: list[EventItem]
    trial_id: str | None = None  # of a trial's


class ReasonGroup(View, frozen=True, kw_only=True):
    """Trials of one state with the same reason."""

    state: str
    reason: str
    num_trials: int
    trials: list[str]


class LogItem(View, frozen=True, kw_only=True):
    """One line of a trial's output."""

    time: datetime
    rank: int
    epoch: int
    stream: str
    text: str


class MetricItem(View, frozen=True, kw_only=True):
    """Training metrics of one step of a trial, as an attempt (`epoch`) reported them."""

    group: str
    epoch: int
    step: int
    time: datetime
    values: dict[str, float]


class LogLine(LogItem, frozen=True, kw_only=True):
    """One line, and the sequence of the message that brought it."""

    seq: int


class LogPage(View, frozen=True, kw_only=True):
    """Lines, oldest first. `before` is what to ask for to read further back (null: this is the beginning), `after` to
    read on."""

    items: list[LogLine]
    before: int | None
    after: int


class ServiceStatus(View, frozen=True, kw_only=True):
    """What a process last said of itself. `lag` counts events that it has not folded."""

    name: str
    instance: str
    alive: bool
    last_heard: datetime | None
    position: int | None
    lag: int | None
    facts: dict[str, msgspec.Raw]


class LogStatus(View, frozen=True, kw_only=True):
    """The log as a whole."""

    last_seq: int
    events: int
    bytes: int


class Status(View, frozen=True, kw_only=True):
    """How the platform is. `set_aside` counts the messages that nobody could use; /set-aside lists them."""

    services: list[ServiceStatus]
    log: LogStatus
    set_aside: int


class SetAsideItem(View, frozen=True, kw_only=True):
    """A message of a stream that the read model could not use, and why."""

    stream: str
    seq: int
    subject: str
    stored_at: datetime
    size_bytes: int
    reason: str


class SetAsideList(View, frozen=True, kw_only=True):
    """The messages that were set aside last, newest first; `total` counts all."""

    items: list[SetAsideItem]
    total: int


class Moment(View, frozen=True, kw_only=True):
    """A place on the log: right after the event `seq`, stored at `time`; null before the first one."""

    seq: int
    time: datetime | None


class FieldChange(View, frozen=True, kw_only=True):
    """A field that differs, long text cut."""

    name: str
    before: msgspec.Raw
    after: msgspec.Raw


class Difference(View, frozen=True, kw_only=True):
    """A row that came, went or changed; `seq` is the event that did it last."""

    id: str
    label: str | None
    seq: int
    fields: list[FieldChange]


class DiffPart(View, frozen=True, kw_only=True):
    """What happened to one kind of thing; the lists are bounded, the counts are not."""

    kind: str
    num_came: int
    num_changed: int
    num_went: int
    came: list[Difference]
    changed: list[Difference]
    went: list[Difference]


class Diff(View, frozen=True, kw_only=True, rename={"from_": "from"}):
    """What changed between two moments."""

    from_: Moment
    to: Moment
    parts: list[DiffPart]


class Readiness(View, frozen=True, kw_only=True):
    """Whether everything answers; if not, what does not."""

    ready: bool
    reasons: list[str]


class Health(View, frozen=True, kw_only=True):
    """The process is up."""

    status: str


class Invitation(View, frozen=True, kw_only=True):
    """Lets one machine join as an agent; the token is shown this once."""

    agent_id: str
    token: str
    expires_at: datetime


class Joined(View, frozen=True, kw_only=True):
    """Where an agent's machine connects, and as whom; certificate_authority (PEM) is whom it believes."""

    agent_id: str
    nats_url: str
    s3_endpoint: str
    s3_bucket: str
    s3_access_key: str
    s3_secret_key: str
    certificate_authority: str


class SlotUsageItem(View, frozen=True, kw_only=True):
    """What one of those that use is summed by has used; a workspace, and an experiment's id, where that is told."""

    name: str
    workspace: str
    experiment_id: str
    num_trials: int
    num_allocations: int
    slot_s: float


class SlotUsage(View, frozen=True, kw_only=True):
    """Slots times seconds held, most first; of what is still held, up to the end of the time."""

    since: datetime
    until: datetime
    by: str
    slot_s: float
    items: list[SlotUsageItem]


class PoolHistory(View, frozen=True, kw_only=True):
    """How many slots of a pool were held, and how many there were, on average in each stretch."""

    pool: str
    held: list[float]
    slots: list[float]


class SlotHistory(View, frozen=True, kw_only=True):
    """How full the pools were, in stretches of `stretch_s` seconds from `since` on."""

    since: datetime
    until: datetime
    stretch_s: float
    pools: list[PoolHistory]
