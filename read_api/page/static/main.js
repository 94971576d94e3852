// Asks for figures once a second, shows them, and says so when they don't come.

import { get, useToken } from "./api.js";
import { makeBoard } from "./board.js";
import { makeComparison } from "./comparison.js";
import { byId, el, say } from "./dom.js";
import { clock, plural, sentences } from "./format.js";
import { makeTokenDialog } from "./token.js";

const EVERY = 1000;
const TIMEOUT = 5000;

const comparison = makeComparison();
const board = makeBoard((name) => comparison.pick(name));
const token = makeTokenDialog((given) => {
  useToken(given);
  board.forget();
  ask();
});
let shownAt = null;
let timer = 0;

async function ask() {
  clearTimeout(timer);
  const began = performance.now();
  try {
    show(await get(`overview?after=${board.last()}`, { timeout: TIMEOUT }));
    await comparison.load();
    token.accepted();
  } catch (problem) {
    if (problem.status === undefined) throw problem; // a fault of this page
    fail(problem);
    if (problem.status === 401 && !token.ask(problem.detail)) return; // goes on when there is another token
  }
  timer = setTimeout(ask, Math.max(100, EVERY - (performance.now() - began)));
}

function show(view) {
  shownAt = view.at;
  board.show(view);
  const stale = view.models.filter((model) => model.stale).length;
  const unknown = view.models.filter((model) => model.lag_s === null).length;
  const all = plural(view.models.length, "read model");
  const state = stale > 0 ? "bad" : unknown > 0 ? "unsure" : "good";
  const verdict = stale > 0 ? `${stale} stale` : unknown > 0 ? `${unknown} not known` : "all fresh";
  summarize(state, `${all}, ${verdict}`);
  notices(view.sources.filter((source) => source.problem !== null).map(sourceNotice));
  document.body.classList.remove("old");
}

function sourceNotice({ name, address, problem }) {
  return [`${name[0].toUpperCase()}${name.slice(1)}${address ? ` at ${address}` : ""}:`, problem];
}

function fail(problem) {
  const since = shownAt === null ? "" : ` The figures below are of ${clock(shownAt)}.`;
  summarize("bad", problem.status === 0 ? "no answer" : problem.status === 401 ? "a token is needed" : "no figures");
  notices([[`${problem.title}.`, `${sentences(problem.detail, problem.hint)}${since}`]]);
  say(byId("models-empty"), "No figures: see above.");
  document.body.classList.toggle("old", shownAt !== null);
}

function summarize(state, text) {
  byId("summary").dataset.state = state;
  say(byId("summary-text"), text);
  document.title = `${text} · Lockstep projections`;
}

function notices(found) {
  const list = byId("notices");
  const text = JSON.stringify(found);
  if (list.dataset.shown === text) return;
  list.dataset.shown = text;
  list.hidden = found.length === 0;
  list.replaceChildren(...found.map(([who, what]) => el("li", {}, el("strong", {}, who), ` ${what}`)));
}

ask();
