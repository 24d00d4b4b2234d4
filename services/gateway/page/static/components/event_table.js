/** Events as rows that open to their fields and causes. */
import { formatCount } from "../format.js";
import { link, linkToEvents } from "../router.js";
import { Fragment, html, useEffect, useRef } from "../view.js";
import { Frame } from "./table.js";
import { Time } from "./time.js";

function Links({ event }) {
  const { experiment_id: experiment, trial_id: trial } = event.event ?? {};
  const search = experiment ?? (/^[a-z0-9]{8}$/.test(event.correlation) ? event.correlation : null);
  return html`<p class="links">
    ${
      event.causes.length > 0
        ? html`<span>Because of ${event.causes.map((seq) => html`<a key=${seq} href=${linkToEvents({ seq })}>event ${seq}</a> `)}</span>`
        : html`<span class="soft">No cause on the log: it came from outside.</span>`
    }
    ${search && html`<a href=${link("experiments", search)}>experiment ${search}</a>`}
    ${trial && html`<a href=${link("trials", trial)}>trial ${trial}</a>`}
  </p>`;
}

/** The whole of an event. */
export function EventDetail({ event }) {
  return html`<${Links} event=${event} /><pre tabindex="0">${JSON.stringify(event, null, 2)}</pre>`;
}

/** One event by itself, reached by its address. */
export function EventCard({ event, onClose }) {
  return html`<section class="card" aria-label=${`Event ${event.seq}`}>
    <header class="bar"><h2>Event ${formatCount(event.seq)} · ${event.name}</h2><button type="button" class="quiet" onClick=${onClose}>Close</button></header>
    <p>${event.text} <span class="soft"><${Time} at=${event.time} /> by ${event.writer}</span></p>
    <${EventDetail} event=${event} />
  </section>`;
}

/** A click on a link or on a text being selected is not a click on the row. */
function isOnRow(click) {
  return !click.target.closest("a, button") && String(getSelection()) === "";
}

function Row({ event, isOpen, onOpen }) {
  const toggle = () => onOpen(isOpen ? null : event.seq);
  const row = useRef(null);
  useEffect(() => {
    if (isOpen) row.current.scrollIntoView({ block: "nearest" }); // a link to a cause may lead far down
  }, [isOpen]);
  return html`<${Fragment}>
    <tr ref=${row} class="event ${isOpen ? "open" : ""}" onClick=${(click) => isOnRow(click) && toggle()}>
      <td class="number">
        <button type="button" class="quiet" aria-expanded=${isOpen} aria-label=${`Event ${event.seq}`} onClick=${toggle}>${event.seq}</button>
      </td>
      <td><${Time} at=${event.time} /></td>
      <td class="mono">${event.name}</td>
      <td class="wide"><span class="writer ${event.writer.split("-")[0]}">${event.writer}</span></td>
      <td class="text">${event.text}</td>
    </tr>
    ${isOpen && html`<tr class="detail"><td colspan="5"><${EventDetail} event=${event} /></td></tr>`}
  <//>`;
}

export function EventTable({ rows, opened, onOpen }) {
  return html`<${Frame} label="Events">
    <table class="events">
      <caption class="unseen">Events, newest first</caption>
      <thead><tr>
        <th scope="col" class="number">Seq</th><th scope="col">Time</th><th scope="col">Event</th>
        <th scope="col" class="wide">Writer</th><th scope="col">What happened</th>
      </tr></thead>
      <tbody>${rows.map((event) => html`<${Row} key=${event.seq} event=${event} isOpen=${event.seq === opened} onOpen=${onOpen} />`)}</tbody>
    </table>
  <//>`;
}
