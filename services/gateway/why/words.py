"""The grounds of decisions in words: pure, one sentence each. Times are left to the reader's clock."""

import signal

from shared.events import Claim, Failure, Fit, Judgement, Origin, OriginKind, PreemptionRequested, Share
from shared.queue import Needs, WaitingTrial


def origin(chosen: Origin) -> str:
    """Say where hyperparameters came from."""
    place = f" {chosen.number} of {chosen.of}" if chosen.number and chosen.of else ""
    match chosen.kind:
        case OriginKind.ONLY:
            return "the search has one trial; what has a range was drawn at random"
        case OriginKind.RANDOM:
            no_result = ", as no trial had a result yet" if chosen.num_observed == 0 else ""
            return f"drawn at random{', draw' + place if place else ''}{no_result}"
        case OriginKind.GRID:
            return f"point{place} of the grid"
        case OriginKind.INITIAL_DESIGN:
            design = f" ({chosen.design})" if chosen.design else ""
            return f"point{place} of the initial design{design}, which covers the space before anything is known"
        case OriginKind.GIVEN:
            return f"given by {chosen.design or 'the experiment file'}{',' + place if place else ''}"
        case OriginKind.MODEL:
            return _model(chosen)


def _model(chosen: Origin) -> str:
    parts = [f"proposed by the {chosen.model or 'model'}"]
    if chosen.acquisition:
        drawn = ", drawn from several," if chosen.hedged else ""
        value = "" if chosen.value is None else f" ({chosen.value:.4g})"
        parts.append(f"the acquisition function {chosen.acquisition}{drawn} is best there{value}")
    if chosen.mean is not None:
        spread = "" if chosen.std is None else f" ± {chosen.std:.4g}"
        parts.append(f"it predicts {chosen.mean:.6g}{spread}")
    if chosen.num_observed is not None:
        parts.append(f"it knew {counted(chosen.num_observed, 'result')} and {chosen.num_pending or 0} pending trials")
    return "; ".join(parts)


def judgement(judged: Judgement, metric: str) -> str:
    """Say how a trial stood at its rung."""
    own = f"no {metric}" if judged.metric is None else f"{metric} {judged.metric:.6g}"
    where = f"rung {judged.rung} of {judged.num_rungs} ({judged.units:,} units)"
    stood = f"place {judged.place} of {judged.num_entered} that had come to {where}, with {own}"
    if judged.rung == judged.num_rungs:
        return f"{stood}; it is the last rung"
    threshold = "" if judged.threshold is None else f", down to {judged.threshold:.6g}"
    return f"{stood}; the best {judged.num_kept} {'goes' if judged.num_kept == 1 else 'go'} on{threshold}"


def failure(failed: Failure) -> str:
    """Say what ended a trial's processes."""
    who = "its processes" if failed.rank is None else f"rank {failed.rank}"
    where = f" on agent {failed.agent_id}" if failed.agent_id else ""
    code = "" if failed.exit_code is None else f" with {_exit(failed.exit_code)}"
    line = f": {failed.line}" if failed.line else ""
    return f"{who}{where} failed first{code}{line}; {counted(failed.restarts_left, 'restart')} left"


def fit(fitted: Fit, agents: list[str]) -> str:
    """Say why a gang is on just these agents."""
    if fitted.rule == "no slots":
        return f"it needs no slot; agent {agents[0]} had room for one more such task"
    if len(agents) > 1:
        kind = "of equal size" if fitted.rule == "equal idle agents" else "of one kind"
        return f"no single agent had room; {', '.join(agents)} were idle and are {kind} ({fitted.policy} policy)"
    chosen = "the fullest" if fitted.fitting == "best" else "the emptiest"
    others = ", ".join(f"{agent_id} with {free} free" for agent_id, free in fitted.others.items())
    if fitted.num_roomy <= 1:
        return f"agent {agents[0]} was the only one with room ({fitted.policy} policy)"
    return (
        f"agent {agents[0]} was {chosen} of {fitted.num_roomy} agents with room "
        f"({fitted.policy} policy, {fitted.fitting} fit; also {others})"
    )


def claim(asked: PreemptionRequested, claimed: Claim) -> str:
    """Say by whom and by which rule a trial was made to stop."""
    if claimed.share is not None or claimed.short:
        return _by_share(claimed)
    whom = (
        f"trial {asked.for_trial_id} (priority {claimed.for_priority}) needs {counted(claimed.for_slots or 0, 'slot')}"
    )
    rule = (
        f"this one has priority {claimed.priority}: the least important stop first, then the newest, as few as it takes"
        if claimed.priority != claimed.for_priority
        else "its job is ahead of this one's in the same lane of the queue"
    )
    number = "" if claimed.num_victims in (None, 1) else f"; {claimed.num_victims} trials were asked to stop for it"
    return f"{whom}; {rule}{number}"


def _by_share(claimed: Claim) -> str:
    own = f"its experiment was beyond its fair share: {_share(claimed.share)}" if claimed.share else "fair share"
    short = "; ".join(f"experiment {share.experiment_id} was short: {_share(share)}" for share in claimed.short)
    return f"{own}; {short}" if short else own


def _share(share: Share) -> str:
    return f"held {share.held} of {share.offered} slots (weight {share.weight:g}, asked for {share.demand})"


def waiting(item: WaitingTrial) -> str:
    """Say what a trial waits for, where it stands and what would have to be free; all but when it is expected."""
    parts = [item.text, f"place {item.position} in the queue of pool {item.pool_id}{_ahead(item)}"]
    if item.needs is not None and item.slots:
        parts.append(f"would need {needs(item.needs)}")
    return "; ".join(parts)


def needs(needed: Needs) -> str:
    """Say what would have to be free."""
    kinds = f"{'/'.join(needed.kinds)} " if needed.kinds else ""
    where = f"{needed.num_agents} idle agents" if needed.whole_agents else "one agent"
    return f"{counted(needed.slots, f'{kinds}slot')} free on {where}"


def _ahead(item: WaitingTrial) -> str:
    if not item.ahead.num_trials:
        return ", nobody ahead"
    named = ", ".join(item.ahead.trials)
    rest = item.ahead.num_trials - len(item.ahead.trials)
    more = f" and {rest} more" if rest else ""
    experiments = counted(item.ahead.num_experiments, "experiment")
    return f", behind {named}{more} ({experiments})"


def _exit(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"signal {-code} ({signal.Signals(-code).name})"
    except ValueError:
        return f"signal {-code}"


def counted(number: int, noun: str) -> str:
    """Return a number of things."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def waited(num_ahead: int) -> str:
    """Say what is known of a wait that is over."""
    before = (
        f"{counted(num_ahead, 'trial')} requested before it waited in its pool too"
        if num_ahead
        else ("no trial requested before it waited in its pool")
    )
    return f"for slots; {before}; the scheduler explains only the present, what it decided since is told below"
