/** All series of one trial, kept current: read again when it validates, and as training metrics come while it runs. */
import { to, urlOf } from "./api.js";
import { CHANGING, readTrialSeries } from "./metric_names.js";
import { moment } from "./moment.js";
import { useResource } from "./resource.js";
import { keepOpen } from "./stream.js";
import { useEffect } from "./view.js";

const MOST_POINTS = 1000;
const PAUSE_MS = 500; // metrics come by the batch; so often is live enough to look at

/** Points up to a step, for a chart of the past; null (nothing reached yet) leaves none. */
export function cutAt(series, step) {
  return series.map((each) => ({ ...each, points: each.points.filter(([at]) => step !== null && at <= step) }));
}

/** Call `onNews` as metrics come, at most every PAUSE_MS; nothing is read from the stream but that there are some. */
function useMetricNews(trialId, isRunning, onNews) {
  useEffect(() => {
    if (!isRunning || moment !== null) return undefined;
    let timer = null;
    const tell = () => {
      timer ??= setTimeout(() => {
        timer = null;
        onNews();
      }, PAUSE_MS);
    };
    const close = keepOpen({ url: () => urlOf(to`/trials/${trialId}/metrics/stream`, { fresh: true }), onMessage: tell, onEnd: onNews });
    return () => {
      clearTimeout(timer);
      close();
    };
  }, [trialId, isRunning]);
}

/** `trial` is null until it is known. Returns the resource of its series, of all groups. */
export function useTrialMetrics(trial) {
  const id = trial?.id ?? null;
  const resource = useResource(
    id && `metrics of ${id}`,
    (options) => readTrialSeries(id, MOST_POINTS, () => true, options),
    (event) => CHANGING.has(event.name) && event.event.trial_id === id,
  );
  useMetricNews(id, trial?.state === "RUNNING", resource.refresh);
  return resource;
}
