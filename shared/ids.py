"""Identifiers: short, typed, safe as one token of a subject, a path segment and a URL segment.

Only an experiment id is drawn at random (the broker refuses a second one: its first append expects an empty
subject). All others follow from it, so that deciders need no randomness and a reader sees the family:
experiment `k3f9x2ab`, its trial `k3f9x2ab-7`, that trial's second allocation `k3f9x2ab-7-a2`, a checkpoint
saved by it at step 120 `k3f9x2ab-7-a2-s120`.
"""

import hashlib
import re
import secrets
import uuid
from typing import NewType

ExperimentId = NewType("ExperimentId", str)
TrialId = NewType("TrialId", str)
AllocationId = NewType("AllocationId", str)
CheckpointId = NewType("CheckpointId", str)
AgentId = NewType("AgentId", str)
PoolId = NewType("PoolId", str)
LimitId = NewType("LimitId", str)
UserId = NewType("UserId", str)
TokenId = NewType("TokenId", str)
WorkspaceId = NewType("WorkspaceId", str)
ProjectId = NewType("ProjectId", str)
WebhookId = NewType("WebhookId", str)
RunId = NewType("RunId", str)
ModelId = NewType("ModelId", str)

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford base 32: no i, l, o, u
_HASHED = "w-"  # no workspace that is called so itself has its name for its id
_TOKEN = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


def new_experiment_id() -> ExperimentId:
    """Return a random experiment id of 40 bits, its first character a letter."""
    first = secrets.choice(_ALPHABET[10:])
    return ExperimentId(first + "".join(secrets.choice(_ALPHABET) for _ in range(7)))


def new_incarnation() -> str:
    """Return the name of one life of an agent process; a restarted agent is a different one."""
    return secrets.token_hex(6)


def new_run_id() -> RunId:
    """Return a random run id, as MLflow forms them: 128 bits in hexadecimal."""
    return RunId(uuid.uuid4().hex)


def new_model_id() -> ModelId:
    """Return a random id of a logged model, as MLflow forms them."""
    return ModelId(f"m-{uuid.uuid4().hex}")


def new_token_id() -> TokenId:
    """Return the public part of a token."""
    return TokenId(secrets.token_hex(6))


def new_webhook_id() -> WebhookId:
    """Return a random id of a webhook."""
    return WebhookId(f"wh{secrets.token_hex(5)}")


def trial_id(experiment_id: ExperimentId, index: int) -> TrialId:
    """Return the id of the experiment's trial number `index`, counted from 1."""
    return TrialId(f"{experiment_id}-{index}")


def allocation_id(trial_id: TrialId, epoch: int) -> AllocationId:
    """Return the id of the trial's allocation number `epoch`, counted from 1."""
    return AllocationId(f"{trial_id}-a{epoch}")


def checkpoint_id(allocation_id: AllocationId, step: int) -> CheckpointId:
    """Return the id of the checkpoint that an allocation saved at `step`."""
    return CheckpointId(f"{allocation_id}-s{step}")


def limit_id(workspace: str | None) -> LimitId:
    """Return the id of a workspace's limit, or of the one for all: a workspace's name may be any text."""
    if workspace is None:
        return LimitId("all")
    return LimitId(f"workspace-{hashlib.sha256(workspace.encode()).hexdigest()[:20]}")


def workspace_id(name: str) -> WorkspaceId:
    """Return the id of a workspace, whose name may be any text: the name itself where that can stand in an address."""
    if is_token(name) and not name.startswith(_HASHED):
        return WorkspaceId(name)
    return WorkspaceId(_HASHED + hashlib.sha256(name.encode()).hexdigest()[:20])


def project_id(workspace: str, name: str) -> ProjectId:
    """Return the id of a workspace's project."""
    both = f"{workspace}\0{name}"
    return ProjectId(f"p-{hashlib.sha256(both.encode()).hexdigest()[:20]}")


def is_token(text: str) -> bool:
    """Say whether the text may stand in a subject as one token: lower case, digits, dashes, at most 63."""
    return _TOKEN.fullmatch(text) is not None
