/** What is done to curves before they are drawn: smoothing, and steps turned into times. */

/** An exponential moving average that begins at the first value (bias-corrected, as in Adam); `weight` from 0 to 1. */
export function smooth(points, weight) {
  if (!weight) return points;
  let average = 0;
  let share = 0;
  return points.map(([x, value]) => {
    average = weight * average + (1 - weight) * value;
    share = weight * share + (1 - weight);
    return [x, average / share];
  });
}

/** The seconds at a step, between the validations whose times are known; beyond the last at the last one's pace. */
function secondsAt(step, knots) {
  let number = knots.findIndex(([known]) => known >= step);
  if (number === -1) number = knots.length - 1;
  const [toStep, toSeconds] = knots[number];
  const [fromStep, fromSeconds] = number > 0 ? knots[number - 1] : [0, 0];
  return toStep === fromStep ? toSeconds : fromSeconds + ((step - fromStep) * (toSeconds - fromSeconds)) / (toStep - fromStep);
}

/** Points against the seconds since a trial's first start; none when it has not validated. */
export function againstTime(points, knots) {
  if (!knots?.length) return [];
  return points.map(([step, value]) => [secondsAt(step, knots), value]);
}
