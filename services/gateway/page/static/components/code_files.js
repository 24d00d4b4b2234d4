/** What an experiment trains with: its configuration, and the files of its code directory. */
import { getText, to } from "../api.js";
import { formatBytes, formatCount } from "../format.js";
import { usePath, useResource } from "../resource.js";
import { html, useState } from "../view.js";
import { Shown } from "./notice.js";

const MOST_LINES = 5000;

const pathOf = (experimentId, path) => to`/experiments/${experimentId}/code/` + path.split("/").map(encodeURIComponent).join("/");

function Content({ experimentId, path }) {
  const text = useResource(`${experimentId} ${path}`, (options) => getText(pathOf(experimentId, path), options));
  return html`<${Shown} resource=${text} what="file">${(content) => {
    const lines = content.replace(/\n$/, "").split("\n");
    return html`<pre class="source" role="group" tabindex="0" aria-label=${path}>${lines.slice(0, MOST_LINES).map((line, number) => html`<span key=${number} class="source-line">${line}\n</span>`)}</pre>
      ${lines.length > MOST_LINES && html`<p class="soft">The first ${formatCount(MOST_LINES)} of ${formatCount(lines.length)} lines.</p>`}`;
  }}<//>`;
}

export function CodeFiles({ experiment }) {
  const files = usePath(to`/experiments/${experiment.id}/code`);
  const [chosen, setChosen] = useState(null);
  return html`<section aria-labelledby="code-title">
    <h2 id="code-title">Code</h2>
    <${Shown} resource=${files} what="code">${({ items, sha256 }) => {
      const path = chosen ?? items.find(({ path: each }) => experiment.config.entrypoint?.includes(each))?.path ?? items[0]?.path;
      return html`
        <p class="soft">${formatCount(items.length)} ${items.length === 1 ? "file" : "files"}, as they were submitted; archive <code title=${sha256}>${sha256.slice(0, 12)}</code></p>
        <div class="code-columns">
          <ul class="file-list">${items.map((file) => html`<li key=${file.path}><button type="button" class="quiet" aria-pressed=${file.path === path} onClick=${() => setChosen(file.path)}>${file.path}</button> <span class="soft small">${formatBytes(file.size_bytes)}</span></li>`)}</ul>
          <div>${path && html`<${Content} key=${path} experimentId=${experiment.id} path=${path} />`}</div>
        </div>`;
    }}<//>
  </section>`;
}
