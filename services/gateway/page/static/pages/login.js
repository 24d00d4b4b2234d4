/** Who is there? With a user and a password, or a link of `tm open`. */
import { post } from "../api.js";
import { Command } from "../components/command.js";
import { html, useState } from "../view.js";

/** The form; `reason` says why it is shown, if not just because nobody is logged in. */
export function Login({ reason, onDone }) {
  const [refusal, setRefusal] = useState(reason);
  const [isBusy, setBusy] = useState(false);
  const enter = async (submission) => {
    submission.preventDefault();
    const form = new FormData(submission.target);
    setBusy(true);
    try {
      await post("/session", { user: form.get("user"), password: form.get("password") });
      onDone();
    } catch (error) {
      setRefusal(error.message);
      setBusy(false);
    }
  };
  return html`<main id="main" class="login">
    <h1>Trainmaster</h1>
    <form onSubmit=${enter}>
      <label>User <input name="user" autocomplete="username" required autofocus /></label>
      <label>Password <input name="password" type="password" autocomplete="current-password" required /></label>
      ${refusal && html`<p class="failure" role="alert">${refusal}</p>`}
      <button type="submit" class="strong" disabled=${isBusy}>Log in</button>
    </form>
    <p class="same">On a machine where <code>tm</code> is logged in: <${Command} text="tm open" /></p>
  </main>`;
}
