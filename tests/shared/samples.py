"""One sample of every event type, with every field set: the golden bytes are made of these."""

from datetime import UTC, datetime

from shared.codec import Envelope
from shared.events import (
    AgentAdmitted,
    AgentDisabled,
    AgentDrainRequested,
    AgentEnabled,
    AgentInvited,
    AgentJoined,
    AgentLeaving,
    AgentLeft,
    AgentLost,
    AgentRefused,
    AuditSealed,
    CheckpointDeleted,
    CheckpointDeletionRequested,
    CheckpointFile,
    CheckpointRefused,
    CheckpointSaved,
    CheckpointShardUploaded,
    Claim,
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
    Failure,
    FinalMetricPredicted,
    Fit,
    Fitting,
    GangMember,
    GangMemberExited,
    GPUAllocated,
    GPUReleased,
    JobMaxSlotsSet,
    JobMoved,
    JobPoolSet,
    JobPrioritySet,
    JobWeightSet,
    Judgement,
    LeaderElected,
    LimitCleared,
    LimitSet,
    MetricReported,
    ModelChanged,
    ModelDeleted,
    ModelLogged,
    ModelStatus,
    Origin,
    OriginKind,
    Outcome,
    PasswordChanged,
    PolicyType,
    PoolConfigured,
    PoolPolicy,
    PreemptionReason,
    PreemptionRequested,
    ProjectArchived,
    ProjectCreated,
    ProjectDescribed,
    ProjectUnarchived,
    ReleaseReason,
    RendezvousOpened,
    Role,
    RoleGranted,
    RoleRevoked,
    RunAnnotated,
    RunChanged,
    RunCreated,
    RunDataset,
    RunDeleted,
    RunLinked,
    RunModel,
    RunRestored,
    RunStatus,
    SearchLimitsSet,
    Share,
    Slot,
    SlotFault,
    SlotKind,
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
    TrialEnd,
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
    WorkspaceDescribed,
    WorkspaceUnarchived,
)
from shared.ids import (
    AgentId,
    AllocationId,
    CheckpointId,
    ExperimentId,
    ModelId,
    PoolId,
    RunId,
    TokenId,
    TrialId,
    UserId,
    WebhookId,
    limit_id,
    project_id,
    workspace_id,
)

EXPERIMENT = ExperimentId("k3f9x2ab")
TRIAL = TrialId("k3f9x2ab-7")
ALLOCATION = AllocationId("k3f9x2ab-7-a2")
CHECKPOINT = CheckpointId("k3f9x2ab-7-a2-s120")
POOL = PoolId("default")
TRACKED = ExperimentId("w2m8d4ck")
RUN = RunId("0a1b2c3d4e5f60718293a4b5c6d7e8f9")
MODEL = ModelId("m-0a1b2c3d4e5f60718293a4b5c6d7e8f9")
AGENT = AgentId("gpu7")

_MEMBER = GangMember(agent_id=AGENT, incarnation="0a1b2c3d4e5f", slots=(0, 1))
_FILES = (CheckpointFile(path="state/model.pt", size_bytes=1234, sha256="ab" * 32),)
_JUDGEMENT = Judgement(
    bracket=1, rung=1, num_rungs=3, units=100, place=3, num_entered=4, num_kept=1, metric=0.5, threshold=0.25
)
_FAILURE = Failure(restarts_left=2, agent_id=AGENT, rank=3, exit_code=-9, line="ValueError: no")
_SHARE = Share(experiment_id=EXPERIMENT, weight=2.0, offered=4, held=8, demand=16)
_POLICY = PoolPolicy(
    type=PolicyType.FAIR_SHARE,
    preemption=True,
    fitting=Fitting.WORST,
    heterogeneous_fits=True,
    reserve_after_s=600.0,
    default_priority=50,
)
_OF_RUN = {"run_id": RUN, "experiment_id": TRACKED}
_SPEAKING = {
    "trial_id": TRIAL,
    "experiment_id": EXPERIMENT,
    "allocation_id": ALLOCATION,
    "epoch": 2,
    "agent_id": AGENT,
}

SAMPLES: tuple[Event, ...] = (
    ExperimentSubmitted(
        experiment_id=EXPERIMENT,
        name="digits",
        config={"searcher": {"name": "random", "max_trials": 3}, "labels": ["a"], "preemption_timeout": 60},
        code_sha256="cd" * 32,
        code_bytes=2048,
    ),
    ExperimentPaused(experiment_id=EXPERIMENT),
    ExperimentResumed(experiment_id=EXPERIMENT),
    ExperimentCanceled(experiment_id=EXPERIMENT),
    SearchLimitsSet(experiment_id=EXPERIMENT, max_trials=200, max_concurrent_trials=8),
    TrialCanceled(trial_id=TRIAL, experiment_id=EXPERIMENT),
    JobPrioritySet(experiment_id=EXPERIMENT, priority=10),
    JobWeightSet(experiment_id=EXPERIMENT, weight=2.5),
    JobMaxSlotsSet(experiment_id=EXPERIMENT, max_slots=8),
    JobMoved(experiment_id=EXPERIMENT, beside_id=ExperimentId("m4p8q1cd"), ahead=True),
    JobPoolSet(experiment_id=EXPERIMENT, pool_id=PoolId("h200")),
    AgentDrainRequested(agent_id=AGENT, slots=(0, 3), grace_s=600.0),
    AgentDisabled(agent_id=AGENT, slots=(1,)),
    AgentEnabled(agent_id=AGENT, slots=(1,)),
    PoolConfigured(pool_id=POOL, policy=_POLICY),
    LimitSet(limit_id=limit_id("vision"), workspace="vision", max_slots=16, best_priority=30),
    LimitCleared(limit_id=limit_id("vision"), workspace="vision"),
    TrialRequested(
        experiment_id=EXPERIMENT,
        trial_id=TRIAL,
        index=7,
        hyperparameters={"lr": 0.001, "layers": 2, "activation": "relu", "nested": {"dropout": 0.5}},
        seed=1234567,
        slots=2,
        pool_id=POOL,
        origin="random",
    ),
    FinalMetricPredicted(
        experiment_id=EXPERIMENT, trial_id=TRIAL, rung=1, units=100, num_observed=9, mean=0.97, std=0.01
    ),
    TrialExtended(experiment_id=EXPERIMENT, trial_id=TRIAL, rung=2, target=300, reason="place 1 of 4 so far at rung 1"),
    TrialStopped(
        experiment_id=EXPERIMENT, trial_id=TRIAL, rung=1, reason="stopped at rung 1 of 3: place 3 of 4, 1 went on"
    ),
    TrialRetried(experiment_id=EXPERIMENT, trial_id=TRIAL, restarts=1, reason="exit code 1"),
    TrialClosed(
        experiment_id=EXPERIMENT, trial_id=TRIAL, end=TrialEnd.COMPLETED, reason="trained", metric=0.97, step=120
    ),
    ExperimentCompleted(experiment_id=EXPERIMENT, best_trial_id=TRIAL, best_metric=0.97),
    ExperimentFailed(experiment_id=EXPERIMENT, reason="every trial failed"),
    ExperimentStopped(experiment_id=EXPERIMENT),
    GPUAllocated(
        pool_id=POOL, allocation_id=ALLOCATION, trial_id=TRIAL, experiment_id=EXPERIMENT, epoch=2, members=(_MEMBER,)
    ),
    PreemptionRequested(
        pool_id=POOL, allocation_id=ALLOCATION, trial_id=TRIAL, reason=PreemptionReason.PAUSED, timeout_s=60.0
    ),
    GPUReleased(pool_id=POOL, allocation_id=ALLOCATION, trial_id=TRIAL, epoch=2, reason=ReleaseReason.EXITED),
    AgentLost(pool_id=POOL, agent_id=AGENT, incarnation="0a1b2c3d4e5f", silent_s=10.5),
    AgentRefused(pool_id=POOL, agent_id=AGENT, incarnation="5e4d3c2b1a00", reason="it is there already"),
    DefaultPolicySet(scope="default", policy=_POLICY),
    AgentJoined(
        agent_id=AGENT,
        incarnation="0a1b2c3d4e5f",
        pool_id=POOL,
        address="10.0.0.7",
        slots=(
            Slot(number=0, kind=SlotKind.CUDA, name="NVIDIA H200", device_uuid="GPU-1", memory_bytes=150_000_000_000),
            Slot(number=1, kind=SlotKind.CPU, name="cpu"),
        ),
    ),
    AgentLeaving(agent_id=AGENT, incarnation="0a1b2c3d4e5f"),
    AgentLeft(agent_id=AGENT, incarnation="0a1b2c3d4e5f", reason="stopped"),
    SlotUnhealthy(agent_id=AGENT, incarnation="0a1b2c3d4e5f", slot=3, fault=SlotFault.XID, detail="XID 79"),
    SlotRecovered(agent_id=AGENT, incarnation="0a1b2c3d4e5f", slot=3),
    LeaderElected(service="scheduler", instance="main", incarnation="0a1b2c3d4e5f", term=3),
    RendezvousOpened(**_SPEAKING, address="10.0.0.7", port=40001),  # type: ignore[arg-type]
    TrialStarted(**_SPEAKING, world_size=2, warm=True, resumed_from=CHECKPOINT),  # type: ignore[arg-type]
    MetricReported(**_SPEAKING, step=120, metrics={"accuracy": 0.97, "loss": 0.1}),  # type: ignore[arg-type]
    CheckpointShardUploaded(**_SPEAKING, checkpoint_id=CHECKPOINT, step=120, files=_FILES),  # type: ignore[arg-type]
    CheckpointRefused(**_SPEAKING, checkpoint_id=CHECKPOINT, step=120, reason="a is damaged"),  # type: ignore[arg-type]
    CheckpointDeletionRequested(
        checkpoint_id=CHECKPOINT, trial_id=TRIAL, experiment_id=EXPERIMENT, reason="a user asked for it"
    ),
    CheckpointDeleted(checkpoint_id=CHECKPOINT, trial_id=TRIAL, experiment_id=EXPERIMENT, size_bytes=1234),
    CheckpointSaved(
        **_SPEAKING,  # type: ignore[arg-type]
        checkpoint_id=CHECKPOINT,
        step=120,
        world_size=2,
        zero_stage=1,
        files=_FILES,
    ),
    GangMemberExited(**_SPEAKING, outcome=Outcome.COMPLETED, exit_code=0, error=None),  # type: ignore[arg-type]
    TrialPreempted(**_SPEAKING, step=120),  # type: ignore[arg-type]
    TrialExited(**_SPEAKING, outcome=Outcome.FAILED, exit_code=1, error="ValueError: no"),  # type: ignore[arg-type]
    AuditSealed(
        log="events",
        first=3,
        last=4,
        frontier_before=b"\x01" * 32,
        chain_before=b"\x02" * 32,
        root=b"\x03" * 32,
        chain=b"\x04" * 32,
        leaf_prefixes=b"\x05" * 16,
        public_key=b"\x06" * 32,
        signature=b"\x07" * 64,
    ),
    UserCreated(user_id=UserId("ada"), full_name="Ada Lovelace", is_service=True),
    UserDisabled(user_id=UserId("ada")),
    UserEnabled(user_id=UserId("ada")),
    PasswordChanged(user_id=UserId("ada")),
    RoleGranted(user_id=UserId("ada"), role=Role.EDITOR, workspace="vision"),
    RoleRevoked(user_id=UserId("ada"), workspace="vision"),
    TokenIssued(
        user_id=UserId("ada"),
        token_id=TokenId("0123456789ab"),
        label="nightly",
        role=Role.VIEWER,
        expires_at=datetime(2030, 2, 3, tzinfo=UTC),
    ),
    TokenRevoked(user_id=UserId("ada"), token_id=TokenId("0123456789ab")),
    WebhookCreated(webhook_id=WebhookId("wh01"), url="https://example.org/hook", events=("TrialClosed",)),
    WebhookDeleted(webhook_id=WebhookId("wh01")),
    WebhookDied(webhook_id=WebhookId("wh01"), seq=12, attempts=10, reason="the answer was 500"),
    WebhookReplayed(webhook_id=WebhookId("wh01"), from_seq=12),
    AgentInvited(agent_id=AgentId("host-1"), expires_at=datetime(2026, 3, 2, tzinfo=UTC)),
    AgentAdmitted(agent_id=AgentId("host-1"), machine="gpu7.example.org"),
    ExperimentDescribed(
        experiment_id=EXPERIMENT, name="digits", description="a search", labels=("mnist", "cpu"), notes="good so far"
    ),
    ExperimentMoved(experiment_id=EXPERIMENT, workspace="vision", project="digits"),
    ExperimentArchived(experiment_id=EXPERIMENT),
    ExperimentUnarchived(experiment_id=EXPERIMENT),
    ExperimentDeletionRequested(experiment_id=EXPERIMENT),
    ExperimentDeleted(experiment_id=EXPERIMENT),
    WorkspaceCreated(workspace_id=workspace_id("vision"), name="vision", description="what sees"),
    WorkspaceDescribed(workspace_id=workspace_id("vision"), description="what looks"),
    WorkspaceArchived(workspace_id=workspace_id("vision")),
    WorkspaceUnarchived(workspace_id=workspace_id("vision")),
    ProjectCreated(project_id=project_id("vision", "digits"), workspace="vision", name="digits", description="MNIST"),
    ProjectDescribed(project_id=project_id("vision", "digits"), description="MNIST and others"),
    ProjectArchived(project_id=project_id("vision", "digits")),
    ProjectUnarchived(project_id=project_id("vision", "digits")),
    TrackedExperimentCreated(experiment_id=TRACKED, name="digits", workspace="vision", tags={"owner": "ada"}),
    TrackedExperimentChanged(experiment_id=TRACKED, name="letters", tags={"k": "v"}, removed_tags=("owner",)),
    TrackedExperimentDeleted(experiment_id=TRACKED),
    TrackedExperimentRestored(experiment_id=TRACKED),
    RunCreated(**_OF_RUN, name="first", started_at=datetime(2030, 2, 3, tzinfo=UTC), tags={"k": "v"}),  # type: ignore[arg-type]
    RunChanged(**_OF_RUN, name="second", status=RunStatus.FINISHED, ended_at=datetime(2030, 2, 4, tzinfo=UTC)),  # type: ignore[arg-type]
    RunAnnotated(**_OF_RUN, params={"lr": "0.1"}, tags={"k": "w"}, removed_tags=("old",)),  # type: ignore[arg-type]
    RunLinked(
        **_OF_RUN,  # type: ignore[arg-type]
        datasets=(
            RunDataset(
                name="mnist", digest="d1", source_type="http", source="{}", schema="{}", profile="{}", tags={"k": "v"}
            ),
        ),
        used=(RunModel(model_id=MODEL),),
        made=(RunModel(model_id=MODEL, step=7),),
    ),
    RunDeleted(**_OF_RUN),  # type: ignore[arg-type]
    RunRestored(**_OF_RUN),  # type: ignore[arg-type]
    ModelLogged(
        model_id=MODEL,
        experiment_id=TRACKED,
        name="model",
        model_type="sklearn",
        run_id=RUN,
        params={"C": "1"},
        tags={"k": "v"},
    ),
    ModelChanged(
        model_id=MODEL,
        experiment_id=TRACKED,
        status=ModelStatus.READY,
        params={"D": "2"},
        tags={"k": "w"},
        removed_tags=("old",),
    ),
    ModelDeleted(model_id=MODEL, experiment_id=TRACKED),
)


#: The same facts with their grounds, which events of older programs lack: their bytes are kept beside the others'.
GROUNDED: tuple[Event, ...] = (
    PasswordChanged(user_id=UserId("ada"), kept_token_id=TokenId("0123456789ab")),
    TokenIssued(
        user_id=UserId("ada"), token_id=TokenId("0123456789ab"), label="tm on ws7", role=Role.ADMIN, is_login=True
    ),
    ExperimentSubmitted(
        experiment_id=EXPERIMENT,
        name="digits",
        config={"searcher": {"name": "single"}},
        code_sha256="cd" * 32,
        code_bytes=2048,
        forked_from=ExperimentId("m4p8q1cd"),
    ),
    TrialRequested(
        experiment_id=EXPERIMENT,
        trial_id=TRIAL,
        index=7,
        hyperparameters={"lr": 0.001},
        seed=1234567,
        slots=2,
        pool_id=POOL,
        origin="Gaussian process, gp_hedge chose EI, 6 observed, 2 pending",
        bracket=1,
        target=100,
        chosen=Origin(
            kind=OriginKind.MODEL,
            number=7,
            of=20,
            design="Sobol",
            model="Gaussian process",
            acquisition="EI",
            hedged=True,
            mean=0.25,
            std=0.05,
            value=0.01,
            num_observed=6,
            num_pending=2,
        ),
    ),
    TrialExtended(
        experiment_id=EXPERIMENT, trial_id=TRIAL, rung=2, target=300, reason="place 1 of 4", judgement=_JUDGEMENT
    ),
    TrialStopped(experiment_id=EXPERIMENT, trial_id=TRIAL, rung=1, reason="place 3 of 4", judgement=_JUDGEMENT),
    TrialRetried(experiment_id=EXPERIMENT, trial_id=TRIAL, restarts=1, reason="exit code 1", failure=_FAILURE),
    TrialClosed(
        experiment_id=EXPERIMENT,
        trial_id=TRIAL,
        end=TrialEnd.FAILED,
        reason="exit code 1",
        metric=None,
        step=None,
        judgement=_JUDGEMENT,
        failure=_FAILURE,
    ),
    GPUAllocated(
        pool_id=POOL,
        allocation_id=ALLOCATION,
        trial_id=TRIAL,
        experiment_id=EXPERIMENT,
        epoch=2,
        members=(_MEMBER,),
        fit=Fit(policy="priority", fitting="best", rule="one agent", num_roomy=2, others={AgentId("gpu8"): 4}),
    ),
    PreemptionRequested(
        pool_id=POOL,
        allocation_id=ALLOCATION,
        trial_id=TRIAL,
        reason=PreemptionReason.PRIORITY,
        timeout_s=60.0,
        for_trial_id=TrialId("m4p8q1cd-1"),
        claim=Claim(
            priority=50,
            for_experiment_id=ExperimentId("m4p8q1cd"),
            for_priority=10,
            for_slots=2,
            num_victims=1,
            share=_SHARE,
            short=(_SHARE,),
        ),
    ),
    GangMemberExited(**_SPEAKING, outcome=Outcome.FAILED, exit_code=1, error="no", rank=3),  # type: ignore[arg-type]
    TrialExited(
        **_SPEAKING,  # type: ignore[arg-type]
        outcome=Outcome.FAILED,
        exit_code=1,
        error="no",
        rank=3,
        failed_agent_id=AgentId("gpu8"),
    ),
)


def envelope(event: Event) -> Envelope:
    """The event as its rightful writer would say it, at a fixed time."""
    return Envelope(
        id="0123456789abcdef0123456789abcdef",
        writer=event.rightful_writer,
        time=datetime(2030, 1, 2, 3, 4, 5, 678000, tzinfo=UTC),
        actor="local",
        correlation=EXPERIMENT,
        causes=(3, 5),
        position=None,
        name=type(event).__name__,
        version=event.version,
        traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        event=event,
    )
