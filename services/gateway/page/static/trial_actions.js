/** What can be done to a trial: the words of the dialog that asks back, the command that does the same, the call. */
import { post, send, to } from "./api.js";
import { commandLine } from "./command_line.js";
import { html } from "./view.js";

export const cancelOf = ({ id, index }) => ({
  verb: "Cancel",
  title: `Cancel trial ${index}?`,
  explanation: "If it runs, it saves a checkpoint and stops. The search goes on without it.",
  command: `tm cancel ${id}`,
  run: () => post(to`/trials/${id}/cancel`),
});

/** The path in the experiment file that says how long a trial trains, and in what it counts. */
function lengthOf({ config }) {
  const length = config?.searcher?.max_length;
  const unit = Object.keys(length ?? {}).find((each) => typeof length[each] === "number");
  return unit ? { path: `searcher.max_length.${unit}`, unit, value: length[unit] } : null;
}

/** Training one trial on, as an experiment of its own. */
export function forkOfTrial({ id, index, experiment_id: experimentId }, experiment) {
  const length = lengthOf(experiment);
  return {
    verb: "Continue",
    title: `Train trial ${index} on`,
    explanation: "Its hyperparameters, in an experiment of one trial that begins at its newest checkpoint. What you leave empty stays as it was.",
    command: (form) =>
      commandLine("fork", [id], { "--name": form.get("name") || null, "--set": length && form.get("length") ? `${length.path}=${form.get("length")}` : null }),
    fields: html`
      <p><label>Called <input type="text" name="name" maxlength="256" placeholder=${`${experiment.name} (fork of ${experimentId})`} /></label></p>
      ${length && html`<p><label>Train until <input type="number" name="length" min="1" placeholder=${length.value} /> ${length.unit}</label></p>`}`,
    run: async (form) => {
      const set = length && form.get("length") ? { [length.path]: Number(form.get("length")) } : {};
      const { seq, answer } = await send("POST", to`/experiments/${experimentId}/fork`, { trial: id, name: form.get("name") || null, set });
      location.assign(`#/experiments/${answer.id}`);
      return seq;
    },
  };
}
