"""How a trial ends when its agent could not go on with it. One trial's trouble never ends the agent, or another trial.

What the machine lacks (OSError: file descriptors, space on the disk, a port) or has lost is no fault of the trial: it
is interrupted. What is refused for good fails it. So does anything unforeseen, a mistake of ours: again and again it
would end in the same way.
"""

import logging

from services.worker.endings import Ending
from services.worker.parent import CannotSpawn, ParentDied
from shared.errors import Refused, Rejected
from shared.events import Outcome
from shared.ids import AllocationId

_log = logging.getLogger(__name__)


def ending_after(error: Exception, allocation_id: AllocationId) -> Ending:
    """Return how an allocation ends that an error has ended; of a task group's errors the first counts."""
    cause = error
    while isinstance(cause, ExceptionGroup):
        cause = cause.exceptions[0]
    match cause:
        case ParentDied() | OSError():
            _log.warning("allocation interrupted", extra={"allocation_id": allocation_id, "error": repr(cause)})
            return Ending(outcome=Outcome.INTERRUPTED, error=str(cause) or repr(cause))
        case Rejected() | Refused() | CannotSpawn():
            return Ending(outcome=Outcome.FAILED, error=str(cause))
        case _:
            _log.error("allocation failed", extra={"allocation_id": allocation_id}, exc_info=error)
            return Ending(
                outcome=Outcome.FAILED,
                error=f"the agent could not go on with this trial: {type(cause).__name__}: {cause}",
            )
