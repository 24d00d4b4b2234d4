/** The pages at an earlier moment: choosing one, and saying so for as long as it lasts. */
import { formatCount, formatTime, formatUtc } from "../format.js";
import { goTo, moment, momentEvent, momentSeq } from "../moment.js";
import { html, useEffect, useRef, useState } from "../view.js";

const AGO = { "10m": "10 minutes", "1h": "an hour", "1d": "a day" };

function Chooser({ onClose }) {
  const dialog = useRef(null);
  useEffect(() => dialog.current.showModal(), []);
  const submit = (submission) => {
    submission.preventDefault();
    const form = new FormData(submission.target);
    const [time, seq] = [form.get("time"), form.get("seq")];
    if (seq || time) goTo(seq || new Date(time).toISOString());
  };
  return html`<dialog ref=${dialog} onClose=${onClose} aria-labelledby="as-of-title"><form onSubmit=${submit}>
    <h2 id="as-of-title">How was it then?</h2>
    <p>Every page can be seen as it was at an earlier moment: experiments, trials, charts, output, checkpoints, agents, the queue, and why.</p>
    <p class="buttons">${Object.entries(AGO).map(([value, name]) => html`<button key=${value} type="button" onClick=${() => goTo(value)}>${name} ago</button>`)}</p>
    <p><label>At (local time) <input type="datetime-local" name="time" step="1" /></label></p>
    <p><label>or after event <input type="number" name="seq" min="1" /></label></p>
    <div class="buttons"><button type="button" onClick=${() => dialog.current.close()}>Leave it</button><button type="submit" class="strong">Show</button></div>
  </form></dialog>`;
}

/** The way to the past, in the page's head. */
export function AsOf() {
  const [isOpen, setOpen] = useState(false);
  return html`
    <button type="button" class="quiet" aria-haspopup="dialog" onClick=${() => setOpen(true)}>${moment === null ? "now" : "then"} ▾</button>
    ${isOpen && html`<${Chooser} onClose=${() => setOpen(false)} />`}
  `;
}

/** Said on top of every page of the past. */
export function PastBanner() {
  const event = momentEvent;
  if (moment === null) return null;
  return html`<div class="banner past" role="status">
    <strong>As it was</strong> after event ${formatCount(momentSeq)}${event && html` of <time datetime=${event.time} title=${formatUtc(event.time)}>${formatTime(event.time)}</time>`}.
    Charts end where each trial had last validated or saved; cost and occupancy are as of now. <button type="button" onClick=${() => goTo(null)}>Back to now</button></div>`;
}
