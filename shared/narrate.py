"""One plain sentence per event, for `tm tap`, `tm why` and the page."""

from collections.abc import Iterable
from functools import singledispatch

from shared.events import (
    AgentAdmitted,
    AgentDisabled,
    AgentDrainRequested,
    AgentEnabled,
    AgentIntent,
    AgentInvited,
    AgentJoined,
    AgentLeaving,
    AgentLeft,
    AgentLost,
    AgentRefused,
    AuditSealed,
    CheckpointDeleted,
    CheckpointDeletionRequested,
    CheckpointRefused,
    CheckpointSaved,
    CheckpointShardUploaded,
    DefaultPolicySet,
    Event,
    ExperimentArchived,
    ExperimentCanceled,
    ExperimentCompleted,
    ExperimentDeleted,
    ExperimentDeletionRequested,
    ExperimentDescribed,
    ExperimentFailed,
    ExperimentMoved,
    ExperimentPaused,
    ExperimentResumed,
    ExperimentStopped,
    ExperimentSubmitted,
    ExperimentUnarchived,
    GangMember,
    GangMemberExited,
    GPUAllocated,
    GPUReleased,
    JobMaxSlotsSet,
    JobMoved,
    JobPoolSet,
    JobPrioritySet,
    JobWeightSet,
    LeaderElected,
    LimitCleared,
    LimitEvent,
    LimitSet,
    MetricReported,
    ModelChanged,
    ModelDeleted,
    ModelLogged,
    PasswordChanged,
    PoolConfigured,
    PoolPolicy,
    PreemptionRequested,
    ProjectArchived,
    ProjectCreated,
    ProjectUnarchived,
    RendezvousOpened,
    RoleGranted,
    RoleRevoked,
    RunAnnotated,
    RunChanged,
    RunCreated,
    RunDeleted,
    RunLinked,
    RunRestored,
    SearchLimitsSet,
    SlotRecovered,
    SlotUnhealthy,
    TokenIssued,
    TokenRevoked,
    TrackedExperimentChanged,
    TrackedExperimentCreated,
    TrackedExperimentDeleted,
    TrackedExperimentRestored,
    TrialCanceled,
    TrialClosed,
    TrialExited,
    TrialExtended,
    TrialPreempted,
    TrialRequested,
    TrialRetried,
    TrialStarted,
    TrialStopped,
    UserCreated,
    UserDisabled,
    UserEnabled,
    WebhookCreated,
    WebhookDeleted,
    WebhookDied,
    WebhookReplayed,
    WorkspaceArchived,
    WorkspaceCreated,
    WorkspaceUnarchived,
)


@singledispatch
def sentence(event: Event) -> str:
    """Return what an event says, in one sentence without its time and writer."""
    return f"{type(event).__name__} of {event.aggregate} {event.aggregate_id}"


@sentence.register
def _(event: ExperimentSubmitted) -> str:
    fork = f", a fork of {event.forked_from}" if event.forked_from else ""
    code = f"{event.code_bytes:,} bytes of code"
    return f"experiment {event.experiment_id} “{event.name}” was submitted with {code}{fork}"


@sentence.register
def _(event: ExperimentPaused) -> str:
    return f"experiment {event.experiment_id} was paused"


@sentence.register
def _(event: ExperimentResumed) -> str:
    return f"experiment {event.experiment_id} was resumed"


@sentence.register
def _(event: ExperimentCanceled) -> str:
    return f"experiment {event.experiment_id} was canceled"


@sentence.register
def _(event: SearchLimitsSet) -> str:
    limits = {"trials in all": event.max_trials, "trials at a time": event.max_concurrent_trials}
    said = " and ".join(f"{limit:,} {what}" for what, limit in limits.items() if limit is not None)
    return f"experiment {event.experiment_id} has at most {said or 'as many trials as before'} from here on"


@sentence.register
def _(event: ExperimentDescribed) -> str:
    changes = {"name": event.name, "description": event.description, "labels": event.labels, "notes": event.notes}
    changed = [name for name, value in changes.items() if value is not None]
    called = f": it is “{event.name}” now" if event.name is not None else ""
    return f"the {', '.join(changed) or 'nothing'} of experiment {event.experiment_id} changed{called}"


@sentence.register
def _(event: ExperimentMoved) -> str:
    where = f"project {event.project}" if event.project else "no project"
    return f"experiment {event.experiment_id} was moved to {where} of {_workspace(event.workspace)}"


@sentence.register
def _(event: ExperimentArchived) -> str:
    return f"experiment {event.experiment_id} was archived"


@sentence.register
def _(event: ExperimentUnarchived) -> str:
    return f"experiment {event.experiment_id} was taken out of the archive"


@sentence.register
def _(event: ExperimentDeletionRequested) -> str:
    return f"experiment {event.experiment_id} is to be deleted with its checkpoints"


@sentence.register
def _(event: ExperimentDeleted) -> str:
    return f"experiment {event.experiment_id} was deleted"


@sentence.register
def _(event: WorkspaceCreated) -> str:
    return f"workspace {event.name} was made"


@sentence.register
def _(event: WorkspaceArchived) -> str:
    return f"workspace {event.workspace_id} was archived"


@sentence.register
def _(event: WorkspaceUnarchived) -> str:
    return f"workspace {event.workspace_id} was taken out of the archive"


@sentence.register
def _(event: ProjectCreated) -> str:
    return f"project {event.name} was made in {_workspace(event.workspace)}"


@sentence.register
def _(event: ProjectArchived) -> str:
    return f"project {event.project_id} was archived"


@sentence.register
def _(event: ProjectUnarchived) -> str:
    return f"project {event.project_id} was taken out of the archive"


def _workspace(name: str) -> str:
    return f"workspace {name}" if name else "no workspace"


@sentence.register
def _(event: TrialCanceled) -> str:
    return f"trial {event.trial_id} was canceled"


@sentence.register
def _(event: JobPrioritySet) -> str:
    return f"experiment {event.experiment_id} has priority {event.priority} from here on"


@sentence.register
def _(event: JobWeightSet) -> str:
    return f"experiment {event.experiment_id} has weight {event.weight:g} from here on"


@sentence.register
def _(event: JobMaxSlotsSet) -> str:
    return f"experiment {event.experiment_id} holds at most {event.max_slots} slots from here on"


@sentence.register
def _(event: JobMoved) -> str:
    where = "ahead of" if event.ahead else "behind"
    return f"experiment {event.experiment_id} was moved {where} experiment {event.beside_id}"


@sentence.register
def _(event: JobPoolSet) -> str:
    return f"experiment {event.experiment_id} was moved to pool {event.pool_id}"


@sentence.register
def _(event: AgentDrainRequested) -> str:
    after = "" if event.grace_s is None else f"; what runs there has {event.grace_s:g} s"
    return f"{_whereon(event)} gets no new work from here on{after}"


@sentence.register
def _(event: AgentDisabled) -> str:
    return f"{_whereon(event)} was disabled"


@sentence.register
def _(event: AgentEnabled) -> str:
    return f"{_whereon(event)} takes work again"


@sentence.register
def _(event: AgentInvited) -> str:
    return f"a machine may join as agent {event.agent_id} until {event.expires_at:%Y-%m-%d %H:%M} UTC"


@sentence.register
def _(event: AgentAdmitted) -> str:
    return f"{event.machine} joined as agent {event.agent_id}"


@sentence.register
def _(event: PoolConfigured) -> str:
    return f"pool {event.pool_id} is scheduled by {_policy(event.policy)} from here on"


@sentence.register
def _(event: DefaultPolicySet) -> str:
    return f"pools that nobody configured are scheduled by {_policy(event.policy)} from here on"


@sentence.register
def _(event: LimitSet) -> str:
    limits = [f"at most {event.max_slots} slots"] if event.max_slots is not None else []
    limits += [f"priority {event.best_priority} at best"] if event.best_priority is not None else []
    return f"the limit of {_scope(event)} is {' and '.join(limits) or 'nothing'} from here on"


@sentence.register
def _(event: LimitCleared) -> str:
    return f"the limit of {_scope(event)} was lifted"


@sentence.register
def _(event: TrialRequested) -> str:
    hyperparameters = ", ".join(f"{name}={_short(value)}" for name, value in event.hyperparameters.items())
    return f"trial {event.trial_id} was requested ({event.origin}): {hyperparameters or 'no hyperparameters'}"


@sentence.register
def _(event: TrialExtended) -> str:
    return f"trial {event.trial_id} goes on to {event.target:,} units: {_first_line(event.reason)}"


@sentence.register
def _(event: TrialStopped) -> str:
    return f"trial {event.trial_id} is to stop: {_first_line(event.reason)}"


@sentence.register
def _(event: TrialRetried) -> str:
    return f"trial {event.trial_id} failed and tries again, restart {event.restarts}: {_first_line(event.reason)}"


@sentence.register
def _(event: TrialClosed) -> str:
    metric = "" if event.metric is None else f", best validation {event.metric:.6g} at step {event.step}"
    return f"trial {event.trial_id} is {event.end}: {_first_line(event.reason)}{metric}"


@sentence.register
def _(event: ExperimentCompleted) -> str:
    best = "" if event.best_metric is None else f"; best trial {event.best_trial_id} with {event.best_metric:.6g}"
    early = f" early: {_first_line(event.reason)}" if event.reason else ""
    return f"experiment {event.experiment_id} completed{early}{best}"


@sentence.register
def _(event: ExperimentFailed) -> str:
    return f"experiment {event.experiment_id} failed: {_first_line(event.reason)}"


@sentence.register
def _(event: ExperimentStopped) -> str:
    return f"canceled experiment {event.experiment_id} has no open trial left"


@sentence.register
def _(event: GPUAllocated) -> str:
    return f"trial {event.trial_id} was given {_members(event.members)} (allocation {event.epoch})"


@sentence.register
def _(event: PreemptionRequested) -> str:
    whom = f" (trial {event.for_trial_id})" if event.for_trial_id else ""
    return f"trial {event.trial_id} must stop within {event.timeout_s:g} s: {event.reason}{whom}"


@sentence.register
def _(event: GPUReleased) -> str:
    return f"the slots of trial {event.trial_id} (allocation {event.epoch}) are free again: {event.reason}"


@sentence.register
def _(event: AgentLost) -> str:
    return f"agent {event.agent_id} is lost after {event.silent_s:.1f} s of silence; what ran there is void"


@sentence.register
def _(event: AgentRefused) -> str:
    return f"agent {event.agent_id} may not join: {event.reason}"


@sentence.register
def _(event: AgentJoined) -> str:
    kinds = sorted({slot.kind for slot in event.slots})
    slots = _counted(len(event.slots), f"{'/'.join(kinds)} slot".strip())
    return f"agent {event.agent_id} joined pool {event.pool_id} with {slots}"


@sentence.register
def _(event: AgentLeaving) -> str:
    return f"agent {event.agent_id} was told to end and takes no new work"


@sentence.register
def _(event: SlotUnhealthy) -> str:
    return f"slot {event.slot} of agent {event.agent_id} gets no new work: {event.fault} ({event.detail})"


@sentence.register
def _(event: SlotRecovered) -> str:
    return f"slot {event.slot} of agent {event.agent_id} is healthy again"


@sentence.register
def _(event: AgentLeft) -> str:
    return f"agent {event.agent_id} left: {event.reason}"


@sentence.register
def _(event: LeaderElected) -> str:
    return f"instance {event.instance} of the {event.service} decides from here on (term {event.term})"


@sentence.register
def _(event: RendezvousOpened) -> str:
    return f"trial {event.trial_id}'s ranks meet at {event.address}:{event.port}"


@sentence.register
def _(event: TrialStarted) -> str:
    start = "warm" if event.warm else "cold"
    source = f" from checkpoint {event.resumed_from}" if event.resumed_from else ""
    ranks = _counted(event.world_size, "rank")
    return f"trial {event.trial_id} started {start} on agent {event.agent_id} with {ranks}{source}"


@sentence.register
def _(event: MetricReported) -> str:
    metrics = ", ".join(f"{name} {value:.6g}" for name, value in event.metrics.items())
    return f"trial {event.trial_id} validated at step {event.step}: {metrics}"


@sentence.register
def _(event: CheckpointShardUploaded) -> str:
    return f"agent {event.agent_id} stored its part of checkpoint {event.checkpoint_id}"


@sentence.register
def _(event: CheckpointSaved) -> str:
    size_bytes = sum(file.size_bytes for file in event.files)
    return f"trial {event.trial_id} saved checkpoint {event.checkpoint_id} at step {event.step}, {size_bytes:,} bytes"


@sentence.register
def _(event: CheckpointRefused) -> str:
    return f"trial {event.trial_id} cannot resume from checkpoint {event.checkpoint_id}: {event.reason}"


@sentence.register
def _(event: CheckpointDeletionRequested) -> str:
    return f"checkpoint {event.checkpoint_id} is to be deleted: {event.reason}"


@sentence.register
def _(event: CheckpointDeleted) -> str:
    return f"checkpoint {event.checkpoint_id} was deleted, {event.size_bytes:,} bytes"


@sentence.register
def _(event: GangMemberExited) -> str:
    return f"trial {event.trial_id}'s ranks on agent {event.agent_id} ended: {event.outcome}{_detail(event.error)}"


@sentence.register
def _(event: TrialPreempted) -> str:
    if event.step is None:
        return f"trial {event.trial_id} was ended without having stopped by itself"
    return f"trial {event.trial_id} stopped as asked after step {event.step}"


@sentence.register
def _(event: TrialExited) -> str:
    code = "" if event.exit_code is None else f" with exit code {event.exit_code}"
    cause = f" ({event.cause})" if event.cause else ""
    return f"trial {event.trial_id} exited{code}: {event.outcome}{cause}{_detail(event.error)}"


@sentence.register
def _(event: AuditSealed) -> str:
    return f"the log up to event {event.last} was sealed with root {event.root.hex()[:16]}"


def _whereon(event: AgentIntent) -> str:
    slots = f"slot {', '.join(f'#{slot}' for slot in event.slots)} of " if event.slots else ""
    return f"{slots}agent {event.agent_id}"


def _policy(policy: PoolPolicy) -> str:
    words = [policy.type.value, *(["preemption"] if policy.preemption else []), f"{policy.fitting} fit"]
    words += ["unequal agents"] if policy.heterogeneous_fits else []
    words += [] if policy.reserve_after_s is None else [f"agents kept after {policy.reserve_after_s:g} s"]
    return ", ".join([*words, f"default priority {policy.default_priority}"])


def _scope(event: LimitEvent) -> str:
    if event.workspace is None:
        return "every workspace"
    return f"workspace “{event.workspace}”" if event.workspace else "experiments without a workspace"


@sentence.register
def _(event: UserCreated) -> str:
    return f"{'service account' if event.is_service else 'user'} {event.user_id} was made known"


@sentence.register
def _(event: UserDisabled) -> str:
    return f"user {event.user_id} was disabled"


@sentence.register
def _(event: UserEnabled) -> str:
    return f"user {event.user_id} was enabled again"


@sentence.register
def _(event: PasswordChanged) -> str:
    return f"user {event.user_id} has a new password"


@sentence.register
def _(event: RoleGranted) -> str:
    return f"user {event.user_id} became {event.role} {_where(event.workspace)}"


@sentence.register
def _(event: RoleRevoked) -> str:
    return f"user {event.user_id} lost the role {_where(event.workspace)}"


@sentence.register
def _(event: TokenIssued) -> str:
    until = f" until {event.expires_at:%Y-%m-%d %H:%M} UTC" if event.expires_at else ""
    return f"token {event.token_id} “{event.label}” speaks for user {event.user_id} as {event.role}{until}"


@sentence.register
def _(event: TokenRevoked) -> str:
    return f"token {event.token_id} of user {event.user_id} was revoked"


@sentence.register
def _(event: WebhookCreated) -> str:
    what = ", ".join(event.events) or "every event"
    return f"webhook {event.webhook_id} posts {what} to {event.url}"


@sentence.register
def _(event: WebhookDeleted) -> str:
    return f"webhook {event.webhook_id} was deleted"


@sentence.register
def _(event: WebhookDied) -> str:
    return f"webhook {event.webhook_id} died at event {event.seq} after {event.attempts} attempts: {event.reason}"


@sentence.register
def _(event: WebhookReplayed) -> str:
    return f"webhook {event.webhook_id} posts again from event {event.from_seq} on"


@sentence.register
def _(event: TrackedExperimentCreated) -> str:
    return f"experiment {event.experiment_id} “{event.name}” was made for runs {_where(event.workspace)}"


@sentence.register
def _(event: TrackedExperimentChanged) -> str:
    name = f"its name is “{event.name}”" if event.name is not None else ""
    return f"experiment {event.experiment_id} of runs: {'; '.join(filter(None, (name, _tags(event))))}"


@sentence.register
def _(event: TrackedExperimentDeleted) -> str:
    return f"experiment {event.experiment_id} was put aside with its runs"


@sentence.register
def _(event: TrackedExperimentRestored) -> str:
    return f"experiment {event.experiment_id} was taken back with its runs"


@sentence.register
def _(event: RunCreated) -> str:
    return f"run {event.run_id} “{event.name}” began in experiment {event.experiment_id}"


@sentence.register
def _(event: RunChanged) -> str:
    name = f"its name is “{event.name}”" if event.name is not None else ""
    status = f"it is {event.status}" if event.status is not None else ""
    ended = f"it ended at {event.ended_at:%Y-%m-%d %H:%M:%S} UTC" if event.ended_at else ""
    return f"run {event.run_id}: {'; '.join(filter(None, (name, status, ended)))}"


@sentence.register
def _(event: RunAnnotated) -> str:
    params = f"parameters {', '.join(event.params)}" if event.params else ""
    return f"run {event.run_id}: {'; '.join(filter(None, (params, _tags(event))))}"


@sentence.register
def _(event: RunLinked) -> str:
    told = (
        ("read data set", [dataset.name for dataset in event.datasets]),
        ("used model", [model.model_id for model in event.used]),
        ("made model", [model.model_id for model in event.made]),
    )
    return f"run {event.run_id} " + "; ".join(f"{what} {', '.join(names)}" for what, names in told if names)


@sentence.register
def _(event: RunDeleted) -> str:
    return f"run {event.run_id} was put aside"


@sentence.register
def _(event: RunRestored) -> str:
    return f"run {event.run_id} was taken back"


@sentence.register
def _(event: ModelLogged) -> str:
    source = f" by run {event.run_id}" if event.run_id else ""
    return f"model {event.model_id} “{event.name}” is being logged{source}"


@sentence.register
def _(event: ModelChanged) -> str:
    status = f"it is {event.status.removeprefix('LOGGED_MODEL_')}" if event.status is not None else ""
    params = f"parameters {', '.join(event.params)}" if event.params else ""
    return f"model {event.model_id}: {'; '.join(filter(None, (status, params, _tags(event))))}"


@sentence.register
def _(event: ModelDeleted) -> str:
    return f"model {event.model_id} was deleted"


def _tags(event: TrackedExperimentChanged | RunAnnotated | ModelChanged) -> str:
    changed = (("tags", [*event.tags]), ("without tags", [*event.removed_tags]))
    return "; ".join(f"{what} {', '.join(names)}" for what, names in changed if names)


def _where(workspace: str | None) -> str:
    return "everywhere" if workspace is None else f"in workspace {workspace or 'default'}"


def _members(members: Iterable[GangMember]) -> str:
    return " and ".join(f"slot {', '.join(f'#{slot}' for slot in m.slots)} of agent {m.agent_id}" for m in members)


def _detail(error: str | None) -> str:
    return f": {error.strip().splitlines()[-1]}" if error and error.strip() else ""


def _first_line(text: str) -> str:
    return text.strip().splitlines()[0] if text.strip() else "no reason given"


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
