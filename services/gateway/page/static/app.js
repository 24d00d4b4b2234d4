/** The page: a frame with the ways to go, and the page that the address names. */
import { askMoment, get, logOut, post } from "./api.js";
import { AsOf, PastBanner } from "./components/as_of.js";
import { Help } from "./components/help.js";
import { connect, watchConnection } from "./live.js";
import { goTo, moment, settleMoment } from "./moment.js";
import { Admin } from "./pages/admin.js";
import { Agent } from "./pages/agent.js";
import { Compare } from "./pages/compare.js";
import { Cluster } from "./pages/cluster.js";
import { Events } from "./pages/events.js";
import { Experiment } from "./pages/experiment.js";
import { Experiments } from "./pages/experiments.js";
import { Login } from "./pages/login.js";
import { Trial } from "./pages/trial.js";
import { link, place, usePlace } from "./router.js";
import { seesAll, setSession } from "./session.js";
import { Component, html, render, useEffect, useState } from "./view.js";

const TITLES = { experiments: "Experiments", cluster: "Cluster", events: "Events", admin: "Admin" };
const ROOMS = { trials: "experiments", compare: "experiments", agents: "cluster" }; // where one of them is found
const PATIENCE_MS = 700; // a break shorter than this is nobody's business

const WAYS = [
  { name: "experiments", href: "#/", title: "Experiments" },
  { name: "cluster", href: "#/cluster", title: "Cluster" },
  { name: "events", href: "#/events", title: "Events" },
  { name: "admin", href: "#/admin", title: "Admin" },
];

/** The component for a place; `key` makes another experiment another page. */
function pageAt({ parts: [room = "experiments", id, tab = ""], query }) {
  if (room === "experiments") return id ? html`<${Experiment} key=${id} id=${id} tab=${tab} />` : html`<${Experiments} query=${query} />`;
  if (room === "trials" && id) return html`<${Trial} key=${id} id=${id} />`;
  if (room === "agents" && id) return html`<${Agent} key=${id} id=${id} />`;
  if (room === "compare") return html`<${Compare} key=${`${id} ${query.ids}`} kind=${id} ids=${query.ids} />`;
  if (room === "cluster") return html`<${Cluster} />`;
  if (room === "admin") return html`<${Admin} />`;
  if (room === "events") return html`<${Events} key="events" query=${query} />`;
  return html`<div class="notice"><h2>There is nothing at this address</h2><p><a href="#/">All experiments</a></p></div>`;
}

/** Shows a mistake of our own instead of an empty page. */
class Guard extends Component {
  componentDidCatch(error) {
    this.setState({ error });
    console.error(error);
  }

  render({ children }, { error }) {
    if (!error) return children;
    return html`<div class="notice failure" role="alert"><h2>This page has a fault</h2><p>${String(error)}</p>
      <button type="button" onClick=${() => location.reload()}>Load it again</button></div>`;
  }
}

function useConnection() {
  const [state, setState] = useState("connecting");
  useEffect(() => {
    let timer = null;
    const unwatch = watchConnection((next) => {
      clearTimeout(timer);
      timer = setTimeout(() => setState(next), next === "lost" ? PATIENCE_MS : 0);
    });
    return () => {
      unwatch();
      clearTimeout(timer);
    };
  }, []);
  return state;
}

const SAID = { connecting: "connecting", open: "live", lost: "reconnecting", asleep: "asleep" };

/** Who is logged in, and the way out. */
function Who({ session }) {
  const leave = async () => {
    await logOut();
    location.reload();
  };
  const title = session.grants.map(({ role, workspace }) => `${role} ${workspace === null ? "everywhere" : `in ${workspace || "default"}`}`).join(", ");
  return html`<span class="who" title=${title}>${session.user_id}
    <button type="button" onClick=${leave}>Log out</button></span>`;
}

function Top({ room, state, session }) {
  return html`<header class="top">
    <a class="skip" href="#main" onClick=${(click) => {
      click.preventDefault();
      document.getElementById("main").focus();
    }}>Skip to the content</a>
    <a class="brand" href="#/">Trainmaster</a>
    <nav aria-label="Pages">
      ${WAYS.filter(({ name }) => name !== "events" || seesAll()).map(({ name, href, title }) => html`<a key=${name} href=${href} aria-current=${name === room ? "page" : null}>${title}</a>`)}
    </nav>
    ${moment === null && html`<span class="connection ${state}" role="status" data-connection=${state}>${SAID[state]}</span>`}
    <${AsOf} />
    <${Help} />
    <${Who} session=${session} />
  </header>`;
}

function App({ session }) {
  const current = usePlace();
  const state = useConnection();
  const room = current.parts[0] ?? "experiments";
  useEffect(() => {
    if (TITLES[room] && !current.parts[1]) document.title = `${TITLES[room]} · Trainmaster`;
    scrollTo(0, 0);
  }, [room, current.parts[1]]);
  return html`
    <${Top} room=${ROOMS[room] ?? room} state=${state} session=${session} />
    ${state === "lost" && html`<div class="banner" role="alert">The server does not answer; reconnecting. What you see may be old.</div>`}
    <${PastBanner} />
    <main id="main" tabindex="-1"><${Guard} key=${current.parts.slice(0, 2).join("/")}>${pageAt(current)}<//></main>
  `;
}

const root = document.getElementById("app");

function show(component) {
  root.replaceChildren();
  render(component, root);
}

/** Use the code in the address, if there is one: `tm open` makes such addresses. Returns why it opens nothing. */
async function useCode() {
  const { parts: [room, code, ...target] } = place();
  if (room !== "login" || !code) return null;
  history.replaceState(null, "", link(...target));
  return post("/session", { code }).then(() => null, (error) => error.message);
}

/** Show the page to somebody known, the login to everybody else. */
async function enter() {
  const reason = await useCode();
  try {
    const session = await get("/session");
    setSession(session);
    await settleMoment(askMoment);
    show(html`<${App} session=${session} />`);
    if (moment === null) connect();
  } catch (error) {
    if (error.status === 400 && moment !== null) {
      show(html`<main class="login"><h1>No such moment</h1><p>${error.message}</p><button type="button" onClick=${() => goTo(null)}>Back to now</button></main>`);
      return;
    }
    if (error.status === 401) show(html`<${Login} reason=${reason} onDone=${() => location.reload()} />`);
    else setTimeout(enter, PATIENCE_MS);
  }
}

enter();
