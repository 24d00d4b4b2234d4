/** Which hyperparameters matter, as bars, with how far that is to be believed. */
import { FEWEST_TRIALS } from "../importance.js";
import { html } from "../view.js";

const WORTH = 0.3; // a forest that explains less is not worth listening to

const percent = (share) => `${Math.round(share * 100)} %`;

function Bars({ found }) {
  const most = Math.max(...found.shares.map(({ share }) => share), 1e-9);
  return html`<dl class="bars">${found.shares.map(
    ({ name, share }) => html`<div key=${name}><dt>${name}</dt><dd><meter min="0" max=${most} value=${share} aria-label=${`Importance of ${name}`}></meter><span class="number">${percent(share)}</span></dd></div>`,
  )}</dl>`;
}

export function Importance({ found, metric, isLadder }) {
  return html`<section aria-labelledby="importance-title">
    <h2 id="importance-title">Importance</h2>
    ${
      found === null
        ? html`<p class="soft">It takes ${FEWEST_TRIALS} trials with a validation, and a hyperparameter that varies, to say which matter.</p>`
        : html`<${Bars} found=${found} />
          <p class="soft small">By how much a random forest of 48 trees that predicts ${metric} errs more when a hyperparameter's values are
            shuffled, as a share of all of them (permutation importance, on trials a tree has not seen). The forest explains
            ${" "}${percent(Math.max(0, found.explained))} of the variance over ${found.numTrials} trials${found.explained < WORTH ? html`: <strong>too little for these figures to mean much.</strong>` : "."}
            ${" "}It says what goes with a good ${metric}, not what causes it${isLadder ? "; trials that were stopped early count with what they had reached by then." : "."}</p>`
    }
  </section>`;
}
