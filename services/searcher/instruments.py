"""What the searcher shows to Prometheus besides what every service does."""

from prometheus_client import Counter, Gauge, Histogram

from shared.instruments import FAST_S, REGISTRY

SEARCHES = Gauge("tm_searches", "Experiments that are not over.", registry=REGISTRY)
OPEN_TRIALS = Gauge("tm_open_trials", "Trials that were requested and are not closed.", registry=REGISTRY)
QUESTIONS = Gauge("tm_questions_waiting", "Suggestions that are asked for and not computed.", registry=REGISTRY)
TROUBLED_QUESTIONS = Gauge(
    "tm_questions_troubled", "Of these, those whose computation died or could not be started, and is tried again.",
    registry=REGISTRY,
)  # fmt: skip
ANSWER_SECONDS = Histogram(
    "tm_suggestion_seconds", "From a question to the computed suggestion.", registry=REGISTRY,
    buckets=(*FAST_S, 30.0, 120.0),
)  # fmt: skip
FAILED_ANSWERS = Counter("tm_suggestions_failed", "Computations that gave no suggestion.", registry=REGISTRY)
