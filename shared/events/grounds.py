"""What a decision went by, as structure: its inputs, which `tm why` shows beside the sentence.

Each is a defaulted field of the event that tells the decision; an older event has none. What can be told from the
fields or the causes of the event itself is not repeated here.
"""

from enum import StrEnum

import msgspec

from shared.ids import AgentId, ExperimentId


class Grounds(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Common to all grounds."""


class OriginKind(StrEnum):
    """How a search came by a configuration."""

    ONLY = "only trial"  # of a search of one trial
    RANDOM = "random draw"
    GRID = "grid point"
    INITIAL_DESIGN = "initial design"  # chosen to cover the space, whatever came of the others
    GIVEN = "given"  # the experiment file or another experiment named it
    MODEL = "model"  # a model of what the trials so far have shown proposed it


class Origin(Grounds, frozen=True, kw_only=True):
    """Where a trial's hyperparameters came from.

    `number` (from 1) `of` how many: the draw, the point of the grid, of the design, or of those given. The rest is a
    model's: predictions are of the searcher's metric in its own sign and units; `value` is the acquisition function's
    at the point, in the sign in which more is better.
    """

    kind: OriginKind
    number: int | None = None
    of: int | None = None
    design: str | None = None  # Latin hypercube, Sobol …; or what gave the configuration, such as an experiment's id
    model: str | None = None  # Gaussian process …
    acquisition: str | None = None  # EI, LCB, PI …
    hedged: bool = False  # the acquisition function was itself drawn from several
    mean: float | None = None  # predicted at the point
    std: float | None = None  # predicted at the point
    value: float | None = None
    num_observed: int | None = None  # closed trials that the model knew
    num_pending: int | None = None  # open ones, which it took into account


class Judgement(Grounds, frozen=True, kw_only=True):
    """How a trial stood at a rung when it was judged. Metrics are in their own sign; where a model judges
    (FinalMetricPredicted), they are what it predicted, except at the last rung.

    It goes on where `place` (from 1, of the `num_entered` that had come so far) is at most `num_kept`; at the last rung
    there is nowhere to go on to. `threshold` is the metric of the last of those kept.
    """

    bracket: int  # from 0
    rung: int  # from 1
    num_rungs: int
    units: int  # how far trials train for this rung: the unit of max_length or of the time metric
    place: int
    num_entered: int
    num_kept: int
    metric: float | None = None  # None: it came without a validation, which counts as the worst
    threshold: float | None = None  # None: nobody is kept yet, or nobody of them has a validation


class Failure(Grounds, frozen=True, kw_only=True):
    """A trial's failure: what the root cause said, and what the limit left."""

    restarts_left: int
    agent_id: AgentId | None = None
    rank: int | None = None  # the one whose failure came first; None: no single rank's
    exit_code: int | None = None  # negative: the signal that killed it
    line: str | None = None  # the last of its error, which names the exception


class Fit(Grounds, frozen=True, kw_only=True):
    """Why a gang was placed where it was: the pool's policy, the fitting rule, and who else had room then."""

    policy: str
    fitting: str  # best: the fullest agent that has room; worst: the emptiest
    rule: str  # one agent, equal idle agents, unequal idle agents, no slots
    num_roomy: int  # agents that alone had room for it when it was placed, the taken one included
    others: dict[AgentId, int] = {}  # some of the others that had: their free slots


class Share(Grounds, frozen=True, kw_only=True):
    """What a job was offered of a pool that shares fairly, in slots."""

    experiment_id: ExperimentId
    weight: float
    offered: int
    held: int
    demand: int


class Claim(Grounds, frozen=True, kw_only=True):
    """Why just this trial must give its slots back to others.

    By priority: `for_experiment_id` needs `for_slots` with priority `for_priority` against this trial's `priority`; of
    equal ones the job ahead in the queue goes first. By fair share: `share` is this trial's job, `short` are some of
    those that have less than their own.
    """

    priority: int | None = None
    for_experiment_id: ExperimentId | None = None
    for_priority: int | None = None
    for_slots: int | None = None
    num_victims: int | None = None  # asked in the same decision for the same reason
    share: Share | None = None
    short: tuple[Share, ...] = ()
