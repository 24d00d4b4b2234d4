"""What an agent shows to Prometheus besides what every service does."""

from prometheus_client import Counter, Gauge

from shared.instruments import REGISTRY

SLOTS = Gauge("tm_agent_slots", "Slots that this agent offers.", registry=REGISTRY)
IN_USE = Gauge("tm_agent_slots_in_use", "Slots of this agent that trials hold.", registry=REGISTRY)
GANGS = Gauge("tm_agent_allocations", "Allocations that run here.", registry=REGISTRY)
IS_WARM = Gauge("tm_agent_warm", "Whether a trial can start from a warm process.", registry=REGISTRY)
OUTBOX = Gauge("tm_agent_outbox_events", "Events that wait to be appended.", registry=REGISTRY)
LOG_BYTES = Gauge("tm_agent_log_waiting_bytes", "Output of trials that waits to be stored.", registry=REGISTRY)
LOST_LINES = Counter(
    "tm_agent_log_lines_dropped", "Lines of output that could not be stored in time.", registry=REGISTRY
)
LOST_BATCHES = Counter(
    "tm_agent_metric_batches_dropped",
    "Batches of training metrics that could not be stored in time.",
    registry=REGISTRY,
)
UPLOADED = Counter("tm_agent_checkpoint_bytes", "Bytes of checkpoints stored by this agent.", registry=REGISTRY)
