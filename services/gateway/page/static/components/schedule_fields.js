/** The fields that change how the scheduler treats an experiment: what of it, and its new value. */
import { usePath } from "../resource.js";
import { html, useEffect, useRef, useState } from "../view.js";

const CHANGES = {
  priority: { title: "Priority", hint: "lower goes first", bounds: { type: "number", min: 1, max: 99 } },
  weight: { title: "Weight", hint: "its part where the pool shares fairly", bounds: { type: "number", min: 0, max: 1e9, step: "any" } },
  max_slots: { title: "Slots at most", hint: "that all its trials hold together", bounds: { type: "number", min: 1, max: 1_000_000 } },
  pool: { title: "Resource pool", hint: "what runs checkpoints, and waits there", bounds: { type: "text", list: "pool-names", maxlength: 256 } },
};

export function ScheduleFields({ experiment }) {
  const [what, setWhat] = useState("priority");
  const pools = usePath("/pools").data?.items;
  const value = useRef(null);
  useEffect(() => {
    value.current.dispatchEvent(new Event("input", { bubbles: true })); // the dialog words its command anew
  }, [what]);
  const { hint, bounds } = CHANGES[what];
  return html`
    <p><label>Change <select name="what" value=${what} onChange=${(choice) => setWhat(choice.target.value)}>${Object.entries(CHANGES).map(([name, { title }]) => html`<option key=${name} value=${name}>${title}</option>`)}</select></label>${" "}
      <label>to <input ref=${value} key=${what} name="value" ...${bounds} placeholder=${experiment[what] ?? "no limit"} required autocomplete="off" /></label> <span class="soft small">${hint}</span></p>
    <datalist id="pool-names">${(pools ?? []).map(({ id }) => html`<option key=${id} value=${id}></option>`)}</datalist>`;
}
