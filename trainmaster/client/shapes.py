# Made by trainmaster/client/generate.py of docs/reference/openapi.json: change the gateway's views.
"""The JSON shapes of the API."""

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypeAlias, TypedDict


class AgentSlots(TypedDict):
    """Slots of one agent that a trial holds, or held last, in rank order."""

    agent_id: str
    slots: list[int]


AgentState: TypeAlias = Literal["LEFT", "LOST", "UP"]


class Ahead(TypedDict):
    """Who is served before a trial: how many, and the first of them."""

    num_trials: int
    num_experiments: int
    trials: list[str]


class AuditFinding(TypedDict):
    """Something that is not as it was sealed."""

    kind: str
    text: str


class AuditReport(TypedDict):
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


Availability: TypeAlias = Literal["DISABLED", "DRAINING", "ENABLED"]


class BestTrial(TypedDict):
    """The trial that did not fail with the best validation so far."""

    trial_id: str
    metric: float
    step: int
    hyperparameters: dict[str, Any]
    checkpoint_id: str | None


CheckpointState: TypeAlias = Literal["ACTIVE", "DAMAGED", "DELETED", "DELETING"]


class CodeFile(TypedDict):
    """One file of an experiment's code directory."""

    path: str
    size_bytes: int


class CodeFiles(TypedDict):
    """The files of an experiment's code directory by path; `sha256` is the archive's."""

    sha256: str
    items: list[CodeFile]


Deletion: TypeAlias = Literal["DONE", "REQUESTED"]


Label: TypeAlias = str


class Description(TypedDict):
    """What is said of an experiment; what is left out stays as it is."""

    name: NotRequired[str | None]
    description: NotRequired[str | None]
    labels: NotRequired[list[Label] | None]
    notes: NotRequired[str | None]


class Destination(TypedDict):
    """Where an experiment goes; without a workspace it stays in its own."""

    workspace: NotRequired[str | None]
    project: NotRequired[str]


class ErrorItem(TypedDict):
    """One mistake: where it is, what is wrong, what to write instead."""

    path: str
    message: str
    suggestion: NotRequired[str | None]


class EventItem(TypedDict):
    """An event as the log holds it."""

    seq: int
    time: str
    name: str
    version: int
    writer: str
    actor: str
    correlation: str
    causes: list[int]
    position: int | None
    id: str
    aggregate: str
    aggregate_id: str
    text: str
    event: dict[str, Any]


class EventPage(TypedDict):
    """Events, oldest first; `at_head` says that there are no more in the asked range now."""

    items: list[EventItem]
    next_after: int
    at_head: bool


ExperimentState: TypeAlias = Literal["ACTIVE", "CANCELED", "COMPLETED", "FAILED", "PAUSED"]


class Explanation(TypedDict):
    """Why one thing is so: a question, its answer in a sentence, and what was gone by as structure. `seq` is the event
    that tells the decision; without it the answer is about now.
    """

    topic: str
    question: str
    text: str
    seq: NotRequired[int | None]
    time: NotRequired[str | None]
    detail: NotRequired[dict[str, Any] | None]


class FieldChange(TypedDict):
    """A field that differs, long text cut."""

    name: str
    before: Any
    after: Any


class File(TypedDict):
    """One file of a checkpoint."""

    path: str
    size_bytes: int
    sha256: str


Fitting: TypeAlias = Literal["best", "worst"]


class Health(TypedDict):
    """The process is up."""

    status: str


class Invitation(TypedDict):
    """Lets one machine join as an agent; the token is shown this once."""

    agent_id: str
    token: str
    expires_at: str


class Joined(TypedDict):
    """Where an agent's machine connects, and as whom; certificate_authority (PEM) is whom it believes."""

    agent_id: str
    nats_url: str
    s3_endpoint: str
    s3_bucket: str
    s3_access_key: str
    s3_secret_key: str
    certificate_authority: str


class Joining(TypedDict):
    """A token, and what the machine calls itself."""

    token: str
    machine: str


class Limit(TypedDict):
    """What a workspace's experiments may have together: slots, of which they hold `held`, and the lowest priority
    number. `workspace` null: each workspace.
    """

    workspace: str | None
    max_slots: int | None
    best_priority: int | None
    held: int | None


class LimitList(TypedDict):
    """All limits by workspace, the one for all first."""

    items: list[Limit]
    next_cursor: str | None


class LogLine(TypedDict):
    """One line, and the sequence of the message that brought it."""

    time: str
    rank: int
    epoch: int
    stream: str
    text: str
    seq: int


class LogPage(TypedDict):
    """Lines, oldest first. `before` is what to ask for to read further back (null: this is the beginning), `after` to
    read on.
    """

    items: list[LogLine]
    before: int | None
    after: int


class LogStatus(TypedDict):
    """The log as a whole."""

    last_seq: int
    events: int
    bytes: int


class Login(TypedDict):
    """A user and a password, or a code of `tm open`; a program says for how many days, and is given a token."""

    user: NotRequired[str | None]
    password: NotRequired[str | None]
    code: NotRequired[str | None]
    days: NotRequired[int | None]
    label: NotRequired[str | None]


class LoginCode(TypedDict):
    """A code that logs a browser in once."""

    code: str
    expires_at: str


Id: TypeAlias = str


AddItem: TypeAlias = str


RemoveItem: TypeAlias = str


class Many(TypedDict):
    """What is asked of many experiments: archive, unarchive, delete, pause, resume, cancel, move (to `workspace`,
    `project`) or label (with `add`, without `remove`).
    """

    action: str
    ids: list[Id]
    workspace: NotRequired[str | None]
    project: NotRequired[str]
    add: NotRequired[list[AddItem]]
    remove: NotRequired[list[RemoveItem]]


class MetricName(TypedDict):
    """A metric that there is."""

    group: str
    name: str


class MetricNames(TypedDict):
    """The metrics that there are, by group and name."""

    items: list[MetricName]


class Moment(TypedDict):
    """A place on the log: right after the event `seq`, stored at `time`; null before the first one."""

    seq: int
    time: str | None


class Needs(TypedDict):
    """What would have to be free for a trial: slots of these kinds, on this many agents."""

    slots: int
    num_agents: int
    kinds: NotRequired[list[str]]
    whole_agents: NotRequired[bool]


class NewToken(TypedDict):
    """A token: shown this once."""

    token: str
    token_id: str
    user_id: str
    expires_at: str | None


class Outcome(TypedDict):
    """What became of one of many: `status` is what a request about it alone would have answered."""

    id: str
    status: int
    detail: NotRequired[str]


class OutcomeList(TypedDict):
    """What became of each, in the order they were named."""

    items: list[Outcome]
    num_failed: int


class OwnPassword(TypedDict):
    """The present password, and the one to come."""

    old: str
    new: str


class PlaceDescription(TypedDict):
    """For what a workspace or a project is."""

    description: str


PolicyType: TypeAlias = Literal["fair_share", "fifo", "priority"]


class PoolHistory(TypedDict):
    """How many slots of a pool were held, and how many there were, on average in each stretch."""

    pool: str
    held: list[float]
    slots: list[float]


class Problem(TypedDict):
    """Why a request failed (RFC 9457)."""

    type: NotRequired[str]
    title: str
    status: int
    detail: str
    errors: NotRequired[list[ErrorItem]]


class Project(TypedDict):
    """A part of a workspace."""

    id: str
    workspace: str
    name: str
    description: str
    archived: bool
    created_at: str
    created_by: str
    experiments: int
    seq: int


class ProjectPage(TypedDict):
    """Projects by name."""

    items: list[Project]
    next_cursor: str | None


class Readiness(TypedDict):
    """Whether everything answers; if not, what does not."""

    ready: bool
    reasons: list[str]


ReasonKind: TypeAlias = Literal[
    "agents_closed",
    "awaiting",
    "behind",
    "limit",
    "making_room",
    "never_fits",
    "no_agents",
    "no_backfill",
    "no_room",
    "over_share",
    "paused",
    "quota",
    "reserved",
    "starting",
]


Role: TypeAlias = Literal["admin", "editor", "operator", "viewer"]


class Room(TypedDict):
    """The open slots of a pool when the trial was looked at, after those before it were served."""

    num_slots: int
    num_free: int
    most_free: int


class SearcherView(TypedDict):
    """The search method, the metric it looks at, and its limits as they are now."""

    name: str
    metric: str
    smaller_is_better: bool
    max_trials: int | None
    max_concurrent_trials: int | None


class Series(TypedDict):
    """One metric of one trial: [step, value] pairs by step."""

    trial_id: str
    name: str
    group: str
    points: list[tuple[int, float]]


class SeriesList(TypedDict):
    """Metrics for a chart."""

    series: list[Series]


class ServiceStatus(TypedDict):
    """What a process last said of itself. `lag` counts events that it has not folded."""

    name: str
    instance: str
    alive: bool
    last_heard: str | None
    position: int | None
    lag: int | None
    facts: dict[str, Any]


class SetAsideItem(TypedDict):
    """A message of a stream that the read model could not use, and why."""

    stream: str
    seq: int
    subject: str
    stored_at: str
    size_bytes: int
    reason: str


class SetAsideList(TypedDict):
    """The messages that were set aside last, newest first; `total` counts all."""

    items: list[SetAsideItem]
    total: int


class Share(TypedDict):
    """What a job was offered of a pool that shares fairly, in slots."""

    experiment_id: str
    weight: float
    offered: int
    held: int
    demand: int


class SlotHistory(TypedDict):
    """How full the pools were, in stretches of `stretch_s` seconds from `since` on."""

    since: str
    until: str
    stretch_s: float
    pools: list[PoolHistory]


class SlotUsageItem(TypedDict):
    """What one of those that use is summed by has used; a workspace, and an experiment's id, where that is told."""

    name: str
    workspace: str
    experiment_id: str
    num_trials: int
    num_allocations: int
    slot_s: float


class SlotView(TypedDict):
    """One unit of scheduling, and the trial that holds it. It takes work when its agent does, too, and unless
    `unhealthy` says why its GPU is not fit for any.
    """

    number: int
    kind: str
    name: str
    memory_bytes: int | None
    trial_id: str | None
    availability: NotRequired[Availability]
    ends_at: NotRequired[str | None]
    unhealthy: NotRequired[str | None]


class Status(TypedDict):
    """How the platform is. `set_aside` counts the messages that nobody could use; /set-aside lists them."""

    services: list[ServiceStatus]
    log: LogStatus
    set_aside: int


class StepTimes(TypedDict):
    """When a trial validated: [step, seconds since its first start] pairs by step."""

    trial_id: str
    points: list[tuple[int, float]]


class StepTimesList(TypedDict):
    """Trials with their times."""

    items: list[StepTimes]


class TokenView(TypedDict):
    """A token without its secret."""

    token_id: str
    user_id: str
    label: str
    role: Role
    issued_at: str
    expires_at: str | None


class TrialCounts(TypedDict):
    """How many trials are in which state; `running` includes those that stop, `waiting` those parked at a rung."""

    total: int
    waiting: int
    running: int
    completed: int
    failed: int
    canceled: int


TrialState: TypeAlias = Literal["CANCELED", "COMPLETED", "FAILED", "PARKED", "RUNNING", "STOPPING", "WAITING"]


class Usage(TypedDict):
    """What an experiment has had up to `at`: slots times seconds, in so many allocations; what it holds then."""

    slot_seconds: float
    allocations: int
    slots_held: int
    at: str


class WantedAgent(TypedDict):
    """Which agent a machine is to join as; none: the first that is free. One that has joined can be invited again."""

    agent: NotRequired[str | None]


class WantedFork(TypedDict):
    """What is different: `set` maps paths of the experiment file to values; all trials start from `checkpoint`.
    `trial` makes it that trial alone, trained on from its newest checkpoint unless another is given.
    """

    name: NotRequired[str | None]
    checkpoint: NotRequired[str | None]
    trial: NotRequired[str | None]
    set: NotRequired[dict[str, Any]]


class WantedPassword(TypedDict):
    """A user's new password."""

    password: str


class WantedPlace(TypedDict):
    """What a workspace or a project is called, and for what it is."""

    name: str
    description: NotRequired[str]


class WantedReplay(TypedDict):
    """From which event on to post again."""

    from_seq: int


class WantedRole(TypedDict):
    """A role in a workspace, or without one everywhere."""

    role: Role
    workspace: NotRequired[str | None]


class WantedToken(TypedDict):
    """What the token is for, what it may do at most, and for how many days (none: until it is revoked)."""

    label: str
    role: NotRequired[Role]
    days: NotRequired[int | None]
    user: NotRequired[str | None]


class WantedUser(TypedDict):
    """Who is to be made known. A service account has no password."""

    name: str
    full_name: NotRequired[str]
    is_service: NotRequired[bool]


Event: TypeAlias = str


class WantedWebhook(TypedDict):
    """Where to post, and events of which names; without any, all of them."""

    url: str
    events: NotRequired[list[Event]]


WebhookState: TypeAlias = Literal["ALIVE", "DEAD"]


class WebhookView(TypedDict):
    """Where events are posted; without names, all of them. A dead one posts nothing until it is replayed."""

    id: str
    url: str
    events: list[str]
    created_at: str
    state: WebhookState
    failed_seq: int | None
    reason: str | None


class Why(TypedDict):
    """Why a trial, an experiment or an agent is as it is now (`head`), the decisions that led there with what each
    went by, and the events, by sequence.
    """

    kind: str
    id: str
    state: str
    head: str
    explanations: list[Explanation]
    chain: list[EventItem]
    trial_id: NotRequired[str | None]


class Workspace(TypedDict):
    """Where a team keeps its experiments; `id` stands in addresses, `name` in experiment files and roles."""

    id: str
    name: str
    description: str
    archived: bool
    created_at: str
    created_by: str
    projects: int
    experiments: int
    seq: int


class WorkspacePage(TypedDict):
    """Workspaces by name."""

    items: list[Workspace]
    next_cursor: str | None


class Agent(TypedDict):
    """A machine that offers slots. What runs on a draining one must stop from `ends_at` on, if that is set."""

    id: str
    incarnation: str
    pool: str
    address: str
    state: AgentState
    joined_at: str
    slots: list[SlotView]
    availability: Availability
    ends_at: str | None
    labels: dict[str, str]
    zero_slot_limit: int


class AgentList(TypedDict):
    """All agents ever seen, by name."""

    items: list[Agent]
    next_cursor: str | None


class Checkpoint(TypedDict):
    """A saved state of a trial, whole in the object store."""

    id: str
    trial_id: str
    experiment_id: str
    step: int
    saved_at: str
    world_size: int
    zero_stage: int | None
    size_bytes: int
    files: list[File]
    state: CheckpointState
    reason: str | None


class CheckpointPage(TypedDict):
    """Checkpoints in the order they were saved."""

    items: list[Checkpoint]
    next_cursor: str | None


class Difference(TypedDict):
    """A row that came, went or changed; `seq` is the event that did it last."""

    id: str
    label: str | None
    seq: int
    fields: list[FieldChange]


class Experiment(TypedDict):
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
    submitted_at: str
    ended_at: str | None
    reason: str | None
    trials: TrialCounts
    best: BestTrial | None
    seq: int


class ExperimentDetail(TypedDict):
    """An experiment with what people noted on it and its whole configuration, every default filled in."""

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
    submitted_at: str
    ended_at: str | None
    reason: str | None
    trials: TrialCounts
    best: BestTrial | None
    seq: int
    notes: str
    config: dict[str, Any]


class ExperimentPage(TypedDict):
    """Experiments, newest first."""

    items: list[Experiment]
    next_cursor: str | None


class Granted(TypedDict):
    """A role, in a workspace or (null) everywhere."""

    role: Role
    workspace: str | None


class NewWebhook(TypedDict):
    """A webhook, and what its messages are signed with: shown this once."""

    webhook: WebhookView
    secret: str


class Policy(TypedDict):
    """How a pool is scheduled (see PoolConfigured); `default_priority` is for experiments that name none."""

    type: PolicyType
    preemption: bool
    fitting: Fitting
    heterogeneous_fits: bool
    reserve_after_s: float | None
    default_priority: int


class Pool(TypedDict):
    """A resource pool: how it is scheduled (by a policy of its own if `is_configured`), its agents that are up with
    their slots (`closed`: take no new work), its trials.
    """

    id: str
    is_configured: bool
    policy: Policy
    agents: int
    slots: int
    held: int
    closed: int
    waiting: int
    running: int


class PoolList(TypedDict):
    """All pools by name."""

    items: list[Pool]


class PoolQueue(TypedDict):
    """A pool as a whole."""

    pool_id: str
    policy: str
    num_waiting: int
    num_slots: int
    num_free: int
    num_agents: int
    shares: NotRequired[list[Share]]


class Reason(TypedDict):
    """Why a trial waits, as the policy found it. What does not apply is left out."""

    kind: ReasonKind
    slots: int
    room: NotRequired[Room | None]
    first: NotRequired[str | None]
    first_priority: NotRequired[int | None]
    kept: NotRequired[list[str]]
    victims: NotRequired[list[str]]
    job_id: NotRequired[str | None]
    held: NotRequired[int | None]
    limit: NotRequired[int | None]
    whose: NotRequired[str | None]


class Session(TypedDict):
    """Who is asking; `at_most` is what the token is limited to. `token` is a program's new login, shown once."""

    user_id: str
    full_name: str
    grants: list[Granted]
    at_most: Role
    expires_at: str | None
    token: NotRequired[str | None]


class SlotUsage(TypedDict):
    """Slots times seconds held, most first; of what is still held, up to the end of the time."""

    since: str
    until: str
    by: str
    slot_s: float
    items: list[SlotUsageItem]


class TokenList(TypedDict):
    """Tokens, oldest first."""

    items: list[TokenView]
    next_cursor: str | None


class Trial(TypedDict):
    """One configuration trained. `best_checkpoint_id` is the newest checkpoint at or before the best step, else the
    first one after it, else (without a validation) the newest.
    """

    id: str
    experiment_id: str
    index: int
    state: TrialState
    hyperparameters: dict[str, Any]
    seed: int
    slots: int
    origin: str
    restarts: int
    requested_at: str
    started_at: str | None
    ended_at: str | None
    step: int | None
    metric: float | None
    best_step: int | None
    latest_checkpoint_id: str | None
    best_checkpoint_id: str | None
    agents: list[AgentSlots]
    reason: str | None
    error: str | None


class TrialColumns(TypedDict):
    """Trials by index, a list for each property; `hyperparameters` by dotted name, null where a trial has none."""

    index: list[int]
    state: list[TrialState]
    metric: list[float | None]
    best_step: list[int | None]
    step: list[int | None]
    slots: list[int]
    restarts: list[int]
    started_at: list[str | None]
    ended_at: list[str | None]
    hyperparameters: dict[str, list[Any]]
    next_cursor: str | None


class TrialPage(TypedDict):
    """Trials by index."""

    items: list[Trial]
    next_cursor: str | None


class UserView(TypedDict):
    """A user and what the user may do."""

    user_id: str
    full_name: str
    is_service: bool
    enabled: bool
    created_at: str
    grants: list[Granted]
    seq: int


class WebhookList(TypedDict):
    """All webhooks, oldest first."""

    items: list[WebhookView]


class DiffPart(TypedDict):
    """What happened to one kind of thing; the lists are bounded, the counts are not."""

    kind: str
    num_came: int
    num_changed: int
    num_went: int
    came: list[Difference]
    changed: list[Difference]
    went: list[Difference]


class QueueItem(TypedDict):
    """A trial that waits for slots, and what for. `position` (from 1) is its place in its pool's order of service;
    `detail` and what follows is the scheduler's explanation, absent when it does not answer.
    """

    position: int
    trial_id: str
    experiment_id: str
    experiment_name: str
    slots: int
    pool: str
    priority: NotRequired[int | None]
    waiting_since: str
    reason: str
    detail: NotRequired[Reason | None]
    ahead: NotRequired[Ahead | None]
    needs: NotRequired[Needs | None]
    victims: NotRequired[list[str]]
    expected_start: NotRequired[str | None]
    expected_why: NotRequired[str]


class QueueView(TypedDict):
    """Waiting trials in the order they will be served, pool by pool. `position` is that of the log up to which the
    scheduler had folded; without it the scheduler did not answer, and the order is that of the requests.
    """

    items: list[QueueItem]
    next_cursor: NotRequired[str | None]
    num_waiting: NotRequired[int | None]
    position: NotRequired[int | None]
    pools: NotRequired[list[PoolQueue]]


class UserList(TypedDict):
    """Users by name."""

    items: list[UserView]
    next_cursor: str | None


Diff = TypedDict(
    "Diff",
    {
        "from": Moment,
        "to": Moment,
        "parts": list[DiffPart],
    },
)
