/** The experiment's configuration as YAML: what was said, or with every default filled in. */
import { html, useState } from "../view.js";
import { yamlLines } from "../yaml.js";

export function Configuration({ config }) {
  const [isWhole, setWhole] = useState(false);
  return html`<section aria-labelledby="configuration-title">
    <header class="bar"><h2 id="configuration-title">Configuration</h2>
      <label><input type="checkbox" checked=${isWhole} onChange=${() => setWhole(!isWhole)} /> with what is empty</label></header>
    <pre class="source" role="group" tabindex="0" aria-label="The configuration as YAML">${yamlLines(config, isWhole).join("\n")}</pre>
  </section>`;
}
