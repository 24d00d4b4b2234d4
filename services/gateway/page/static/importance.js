/** How much each hyperparameter matters: permutation importance in a random forest (Breiman 2001, doi:10.1023/A:1010933404324).
 *
 * Trees predict the metric from the hyperparameters; each is grown on a bootstrap sample and judged on the trials it
 * has not seen. A hyperparameter's importance is by how much that error grows when its values are shuffled among those
 * trials, as a share of what all of them grow it by together. It tells what the forest goes by, not what causes what: it is worth as
 * much as the forest explains (R², out of bag), and hyperparameters that vary together share theirs.
 */

const NUM_TREES = 48;
const MOST_TRIALS = 500;
const MOST_DEPTH = 10;
const LEAF = 3; // no split of fewer
const CUTS = 12; // candidate thresholds at a split
export const FEWEST_TRIALS = 10;

/** A small seeded generator (mulberry32): the same trials give the same figures. */
function generator(seed) {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;

/** Say whether a value goes left: categories are split off one by one, a value that is missing goes right. */
function goesLeft({ isCategory, cut }, value) {
  if (value === null || value === undefined) return false;
  return isCategory ? value === cut : value <= cut;
}

/** The squared error that a split leaves, or null when it splits nothing. */
function errorOf(split, rows, column, target) {
  let [count, sum, squares, leftCount, leftSum, leftSquares] = [0, 0, 0, 0, 0, 0];
  for (const row of rows) {
    const y = target[row];
    count += 1;
    sum += y;
    squares += y * y;
    if (!goesLeft(split, column.values[row])) continue;
    leftCount += 1;
    leftSum += y;
    leftSquares += y * y;
  }
  if (leftCount === 0 || leftCount === count) return null;
  const [rightSum, rightCount] = [sum - leftSum, count - leftCount];
  return leftSquares - leftSum ** 2 / leftCount + (squares - leftSquares) - rightSum ** 2 / rightCount;
}

function bestSplit(rows, columns, target, random) {
  let best = null;
  const numTried = Math.max(1, Math.ceil(columns.length / 2));
  const offered = columns.map((_, number) => number).sort(() => random() - 0.5).slice(0, numTried);
  for (const feature of offered) {
    for (let number = 0; number < CUTS; number += 1) {
      const cut = columns[feature].values[rows[Math.floor(random() * rows.length)]];
      const split = { feature, cut, isCategory: columns[feature].isCategory };
      const error = errorOf(split, rows, columns[feature], target);
      if (error !== null && (best === null || error < best.error)) best = { ...split, error };
    }
  }
  return best;
}

function grow(rows, columns, target, random, depth = 0) {
  const value = mean(rows.map((row) => target[row]));
  if (rows.length < 2 * LEAF || depth === MOST_DEPTH) return { value };
  const split = bestSplit(rows, columns, target, random);
  if (split === null) return { value };
  const isLeft = (row) => goesLeft(split, columns[split.feature].values[row]);
  return {
    split,
    left: grow(rows.filter(isLeft), columns, target, random, depth + 1),
    right: grow(rows.filter((row) => !isLeft(row)), columns, target, random, depth + 1),
  };
}

function predict(tree, valueOf) {
  let node = tree;
  while (node.split) node = goesLeft(node.split, valueOf(node.split.feature)) ? node.left : node.right;
  return node.value;
}

function shuffled(values, random) {
  const copy = [...values];
  for (let last = copy.length - 1; last > 0; last -= 1) {
    const other = Math.floor(random() * (last + 1));
    [copy[last], copy[other]] = [copy[other], copy[last]];
  }
  return copy;
}

/** What a tree adds: predictions for the rows it has not seen, and the growth of its error for each column. */
function judge(tree, unseen, columns, target, random, predictions, growth) {
  if (unseen.length < 2) return;
  const errorWith = (swapped, order) =>
    mean(
      unseen.map((row, place) => {
        const found = predict(tree, (feature) => columns[feature].values[feature === swapped ? order[place] : row]);
        if (swapped === null) predictions[row].push(found);
        return (found - target[row]) ** 2;
      }),
    );
  const error = errorWith(null);
  columns.forEach((_, feature) => growth[feature].push(errorWith(feature, shuffled(unseen, random)) - error));
}

/** dimensions: [{name, kind, values}]; target: the metric by row; rows: which count.
 *
 * Returns {explained (R², out of bag), shares: [{name, share}] by share}, or null for fewer than FEWEST_TRIALS.
 */
export function importance(dimensions, target, rows) {
  if (rows.length < FEWEST_TRIALS || dimensions.length === 0) return null;
  const random = generator(rows.length);
  const kept = rows.length > MOST_TRIALS ? shuffled(rows, random).slice(0, MOST_TRIALS) : rows;
  const columns = dimensions.map(({ kind, values }) => ({ values, isCategory: kind === "category" }));
  const predictions = Object.fromEntries(kept.map((row) => [row, []]));
  const growth = columns.map(() => []);
  for (let number = 0; number < NUM_TREES; number += 1) {
    const sample = kept.map(() => kept[Math.floor(random() * kept.length)]);
    const seen = new Set(sample);
    const unseen = kept.filter((row) => !seen.has(row));
    judge(grow(sample, columns, target, random), unseen, columns, target, random, predictions, growth);
  }
  const middle = mean(kept.map((row) => target[row]));
  const variance = mean(kept.map((row) => (target[row] - middle) ** 2));
  const judged = kept.filter((row) => predictions[row].length > 0);
  const left = mean(judged.map((row) => (mean(predictions[row]) - target[row]) ** 2));
  const grown = growth.map((each) => Math.max(0, mean(each)));
  const whole = grown.reduce((sum, each) => sum + each, 0);
  const shares = dimensions.map(({ name }, feature) => ({ name, share: whole ? grown[feature] / whole : 0 }));
  return { explained: variance ? 1 - left / variance : 0, numTrials: kept.length, shares: shares.sort((a, b) => b.share - a.share) };
}
