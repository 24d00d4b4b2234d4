"""The JSON shapes of the API. /openapi.json of a running platform describes them in full."""

from typing import Any, NotRequired, TypedDict


class Searcher(TypedDict):
    """The search method and the metric it looks at."""

    name: str
    metric: str
    smaller_is_better: bool
    max_trials: int | None


class TrialCounts(TypedDict):
    """How many trials are in which state."""

    total: int
    waiting: int
    running: int
    completed: int
    failed: int
    canceled: int


class BestTrial(TypedDict):
    """The trial with the best validation so far."""

    trial_id: str
    metric: float
    step: int
    hyperparameters: dict[str, Any]
    checkpoint_id: str | None


class Experiment(TypedDict):
    """One search; `state` is ACTIVE, PAUSED, COMPLETED, FAILED or CANCELED. `notes` and `config` come with a single
    one. `deletion` is REQUESTED, DONE or (nobody asked for it) None."""

    id: str
    name: str
    description: str
    labels: list[str]
    state: str
    searcher: Searcher
    slots_per_trial: int
    workspace: str
    project: str
    owner: str
    archived: bool
    deletion: str | None
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
    notes: NotRequired[str]
    config: NotRequired[dict[str, Any]]


class Workspace(TypedDict):
    """Where a team keeps its experiments."""

    id: str
    name: str
    description: str
    archived: bool
    created_at: str
    created_by: str
    projects: int
    experiments: int
    seq: int


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


class Outcome(TypedDict):
    """What became of one of many; `status` as of a request about it alone."""

    id: str
    status: int
    detail: str


class AgentSlots(TypedDict):
    """Slots of one agent that a trial holds, in rank order."""

    agent_id: str
    slots: list[int]


class Trial(TypedDict):
    """One configuration trained; `state` is WAITING, RUNNING, STOPPING, PARKED, COMPLETED, FAILED or CANCELED."""

    id: str
    experiment_id: str
    index: int
    state: str
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


class CheckpointFile(TypedDict):
    """One file of a checkpoint."""

    path: str
    size_bytes: int
    sha256: str


class Checkpoint(TypedDict):
    """A saved state of a trial."""

    id: str
    trial_id: str
    experiment_id: str
    step: int
    saved_at: str
    world_size: int
    zero_stage: int | None
    size_bytes: int
    files: list[CheckpointFile]
    state: str
    reason: str | None


class Series(TypedDict):
    """One metric of one trial: [step, value] pairs by step."""

    trial_id: str
    name: str
    group: str
    points: list[tuple[int, float]]


class Slot(TypedDict):
    """One unit of scheduling, and the trial that holds it; `availability` is ENABLED, DRAINING or DISABLED.

    `unhealthy` says why its GPU is not fit for work."""

    number: int
    kind: str
    name: str
    memory_bytes: int | None
    trial_id: str | None
    availability: str
    ends_at: str | None
    unhealthy: str | None


class Agent(TypedDict):
    """A machine that offers slots; `state` is UP, LOST or LEFT, `availability` ENABLED, DRAINING or DISABLED."""

    id: str
    incarnation: str
    pool: str
    address: str
    state: str
    joined_at: str
    slots: list[Slot]
    availability: str
    ends_at: str | None
    labels: dict[str, str]
    zero_slot_limit: int


class Policy(TypedDict):
    """How a pool is scheduled; `type` is priority, fair_share or fifo, `fitting` best or worst."""

    type: str
    preemption: bool
    fitting: str
    heterogeneous_fits: bool
    reserve_after_s: float | None
    default_priority: int


class Pool(TypedDict):
    """A resource pool: its policy (its own if `is_configured`), its agents that are up, its trials."""

    id: str
    is_configured: bool
    policy: Policy
    agents: int
    slots: int
    held: int
    closed: int
    waiting: int
    running: int


class Limit(TypedDict):
    """What a workspace (None: each) may have: slots, of which it holds `held`, and the lowest priority number."""

    workspace: str | None
    max_slots: int | None
    best_priority: int | None
    held: int | None


class Ahead(TypedDict):
    """Who is served before a trial: how many, and the first of them."""

    num_trials: int
    num_experiments: int
    trials: list[str]


class Needs(TypedDict):
    """What would have to be free for a trial."""

    slots: int
    num_agents: int
    kinds: NotRequired[list[str]]
    whole_agents: NotRequired[bool]


class QueueItem(TypedDict):
    """A trial that waits for slots, and what for; `detail` is the reason as structure, None if nobody explains."""

    position: int
    trial_id: str
    experiment_id: str
    experiment_name: str
    slots: int
    pool: str
    priority: int | None
    waiting_since: str
    reason: str
    detail: dict[str, Any] | None
    ahead: Ahead | None
    needs: Needs | None
    victims: list[str]
    expected_start: str | None
    expected_why: str


class EventItem(TypedDict):
    """An event as the log holds it; `text` says it in a sentence."""

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


class Explanation(TypedDict):
    """Why one thing is so; without `seq` it is about now. `detail` is what was gone by, as structure."""

    topic: str
    question: str
    text: str
    seq: int | None
    time: str | None
    detail: dict[str, Any] | None


class Why(TypedDict):
    """Why a trial, an experiment or an agent (`kind`) is as it is; `head` answers in a sentence."""

    kind: str
    id: str
    state: str
    head: str
    explanations: list[Explanation]
    chain: list[EventItem]
    trial_id: str | None


class EventPage(TypedDict):
    """Events, oldest first."""

    items: list[EventItem]
    next_after: int
    at_head: bool


class LogItem(TypedDict):
    """One line of a trial's output."""

    time: str
    rank: int
    epoch: int
    stream: str
    text: str


class Webhook(TypedDict):
    """Where events are posted; `state` is ALIVE or DEAD, with the event that could not be posted and the reason."""

    id: str
    url: str
    events: list[str]
    created_at: str
    state: str
    failed_seq: int | None
    reason: str | None


class NewWebhook(TypedDict):
    """A webhook, and what its messages are signed with."""

    webhook: Webhook
    secret: str


class ServiceStatus(TypedDict):
    """What a process last said of itself."""

    name: str
    instance: str
    alive: bool
    last_heard: str | None
    position: int | None
    lag: int | None
    facts: dict[str, Any]


class LogStatus(TypedDict):
    """The log as a whole."""

    last_seq: int
    events: int
    bytes: int


class Status(TypedDict):
    """How the platform is."""

    services: list[ServiceStatus]
    log: LogStatus
    set_aside: int


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


class Moment(TypedDict):
    """A place on the log: right after the event `seq`, stored at `time`; null before the first one."""

    seq: int
    time: str | None


class FieldChange(TypedDict):
    """A field that differs, long text cut."""

    name: str
    before: Any
    after: Any


class Difference(TypedDict):
    """A row that came, went or changed; `seq` is the event that did it last."""

    id: str
    label: str | None
    seq: int
    fields: list[FieldChange]


class DiffPart(TypedDict):
    """What happened to one kind of thing; the lists are bounded, the counts are not."""

    kind: str
    num_came: int
    num_changed: int
    num_went: int
    came: list[Difference]
    changed: list[Difference]
    went: list[Difference]


#: What changed between two moments.
Diff = TypedDict("Diff", {"from": Moment, "to": Moment, "parts": list[DiffPart]})


class Granted(TypedDict):
    """A role, in a workspace or (None) everywhere."""

    role: str
    workspace: str | None


class Session(TypedDict):
    """Who is asking; `at_most` is what the token is limited to."""

    user_id: str
    full_name: str
    grants: list[Granted]
    at_most: str
    expires_at: str | None


class LoginCode(TypedDict):
    """A code that logs a browser in once."""

    code: str
    expires_at: str


class User(TypedDict):
    """A user and what the user may do."""

    user_id: str
    full_name: str
    is_service: bool
    enabled: bool
    created_at: str
    grants: list[Granted]
    seq: int


class Token(TypedDict):
    """A token without its secret."""

    token_id: str
    user_id: str
    label: str
    role: str
    issued_at: str
    expires_at: str | None


class NewToken(TypedDict):
    """A token: shown this once."""

    token: str
    token_id: str
    user_id: str
    expires_at: str | None


class Invitation(TypedDict):
    """Lets one machine join as an agent: the token is shown this once."""

    agent_id: str
    token: str
    expires_at: str


class Joined(TypedDict):
    """Where an agent's machine connects, and as whom."""

    agent_id: str
    nats_url: str
    s3_endpoint: str
    s3_bucket: str
    s3_access_key: str
    s3_secret_key: str
    certificate_authority: str


class SlotUsageItem(TypedDict):
    """What one of those that use is summed by has used."""

    name: str
    workspace: str
    experiment_id: str
    num_trials: int
    num_allocations: int
    slot_s: float


class SlotUsage(TypedDict):
    """Slots times seconds held, most first."""

    since: str
    until: str
    by: str
    slot_s: float
    items: list[SlotUsageItem]


class PoolHistory(TypedDict):
    """How many slots of a pool were held, and how many there were, on average in each stretch."""

    pool: str
    held: list[float]
    slots: list[float]


class SlotHistory(TypedDict):
    """How full the pools were, in stretches of `stretch_s` seconds."""

    since: str
    until: str
    stretch_s: float
    pools: list[PoolHistory]
