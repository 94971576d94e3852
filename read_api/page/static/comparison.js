// The side-by-side panel: a form made from what can be read, and both answers to one key.

import { get, parts, path } from "./api.js";
import { byId, el, say } from "./dom.js";
import { millis, plural, seconds, sentences } from "./format.js";
import { planTree } from "./plan.js";
import { rowTable } from "./rows.js";

export function makeComparison() {
  const form = byId("ask");
  const select = byId("ask-model");
  const keys = byId("ask-key");
  const result = byId("result");
  let models = new Map();

  /** Ask once what can be read. */
  async function load() {
    if (models.size > 0) return;
    const found = (await get("models")).models;
    models = new Map(found.map((model) => [model.name, model]));
    select.replaceChildren(...found.map((model) => el("option", { value: model.name }, model.name)));
    const [wanted, ...key] = parts(location.hash.slice(1));
    if (models.has(wanted)) select.value = wanted;
    fields();
    if (models.has(wanted) && key.length === models.get(wanted).path.length) {
      inputs().forEach((input, place) => { input.value = key[place]; });
      await run();
    }
  }

  const inputs = () => [...keys.querySelectorAll("input")];

  function fields() {
    const model = models.get(select.value);
    if (model === undefined) return;
    keys.replaceChildren(...model.path.map(({ name, schema }) =>
      el("label", { className: "field" }, el("span", {}, name, el("small", {}, kind(schema))),
        el("input", { name, required: true, spellcheck: false, placeholder: example(schema) }))));
    examples(model.name);
  }

  /** Keys that are there, to be picked: nobody knows a uuid by heart. */
  async function examples(name) {
    const line = byId("ask-examples");
    line.hidden = true;
    const found = await get(`keys/${path(name)}`).catch(() => ({ keys: [] })); // without them a key is typed
    if (select.value !== name || found.keys.length === 0) return;
    line.replaceChildren("Keys that are there: ", ...found.keys.map((key) =>
      el("button", { type: "button", className: "example", onclick: () => take(key) }, key.map(text).join(" · "))));
    line.hidden = false;
  }

  function take(key) {
    inputs().forEach((input, place) => { input.value = text(key[place]); });
    form.requestSubmit();
  }

  async function run() {
    const name = select.value;
    const key = inputs().map((input) => input.value);
    history.replaceState(null, "", `#${path(name, ...key)}`);
    result.classList.add("busy");
    byId("ask-go").disabled = true;
    try {
      const limit = byId("ask-limit").value.trim();
      show(await get(`comparison/${path(name, ...key)}${limit ? `?limit=${encodeURIComponent(limit)}` : ""}`), models.get(name));
    } catch (problem) {
      if (problem.status === undefined) throw problem;
      result.replaceChildren(trouble(problem));
    } finally {
      result.classList.remove("busy");
      byId("ask-go").disabled = false;
    }
  }

  function show(found, model) {
    const { cassandra, postgres } = found;
    const longest = Math.max(cassandra.seconds ?? 0, postgres.seconds ?? 0);
    const differing = (mine, other) => {
      const there = new Set((other.rows ?? []).map((row) => JSON.stringify(row)));
      return other.rows === undefined ? new Set() : new Set(mine.rows.map((row, place) => (there.has(JSON.stringify(row)) ? -1 : place)).filter((place) => place >= 0));
    };
    const notes = (side) => [
      `${runs(side)} position, rows and JSON`, `covers ${side.covered_lsn}`, side.lag_seconds === null ? null : `lag ${seconds(side.lag_seconds)}`,
      side.source === "postgres" ? "answered by Postgres: the read model does not hold this key" : null,
    ].filter(Boolean).join(", ");
    result.replaceChildren(
      verdict(found),
      el("div", { className: "sides" },
        panel("cassandra", "Cassandra", "the read model’s partition, through this API", cassandra, longest,
          cassandra.rows && el("p", { className: "fine" }, notes(cassandra)),
          cassandra.rows && rowTable(found.columns, model, cassandra.rows, differing(cassandra, postgres)),
          statement("CQL", cassandra.cql)),
        panel("postgres", "Postgres", "the SQL that it replaces", postgres, longest,
          postgres.rows && el("p", { className: "fine" }, `${runs(postgres)} statement sent to last row received`),
          postgres.rows && rowTable(found.columns, model, postgres.rows, differing(postgres, cassandra)),
          statement("SQL", postgres.sql),
          postgres.plan && planTree(postgres.plan))));
  }

  select.addEventListener("change", fields);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    run();
  });

  return {
    load,
    pick(name) {
      select.value = name;
      fields();
      byId("comparison").scrollIntoView({ block: "start" });
      inputs()[0]?.focus();
    },
  };
}

function panel(id, title, what, side, longest, ...content) {
  const share = el("span", { className: "share" });
  if (side.seconds !== undefined) share.style.inlineSize = `${Math.max(1, (100 * side.seconds) / longest)}%`;
  return el("article", { className: "side", id: `side-${id}`, "aria-label": title },
    el("header", {}, el("h3", {}, title, el("small", {}, what)), el("p", { className: "time" }, side.seconds === undefined ? "" : millis(side.seconds))),
    el("div", { className: "scale" }, share),
    side.problem ? trouble(side.problem) : null, ...content.filter(Boolean));
}

function verdict({ cassandra, postgres, equal }) {
  if (equal === null) return el("p", { className: "verdict" }, "One side did not answer; nothing to compare.");
  const rows = plural(cassandra.rows.length, "row");
  const times = postgres.seconds / cassandra.seconds;
  const pace = times >= 1 ? `Cassandra was ${factor(times)} times as fast` : `Postgres was ${factor(1 / times)} times as fast`;
  if (cassandra.rows.length === 0 && equal) return el("p", { className: "verdict" }, `Both say that there is no row for this key. ${pace}.`);
  return el("p", { className: equal ? "verdict good" : "verdict bad" },
    el("strong", {}, equal ? `Equal: ${rows}.` : "The rows differ."), ` ${pace}.`,
    equal ? null : " Something was written between the two reads, or the read model has drifted: read again, or run projector verify.");
}

const runs = (side) => (side.runs > 1 ? `Fastest of ${side.runs}:` : "One run:");
const factor = (value) => (value < 10 ? value.toFixed(1) : String(Math.round(value)));

function statement(title, code) {
  return el("details", { className: "statement", open: true }, el("summary", {}, title), el("pre", { tabIndex: 0 }, code));
}

/** A problem as the API gives it. */
function trouble(problem) {
  return el("div", { className: "problem", role: "alert" }, el("strong", {}, problem.title), el("p", {}, sentences(problem.detail)), problem.hint ? el("p", { className: "fine" }, sentences(problem.hint)) : null);
}

const text = (value) => (typeof value === "string" ? value : JSON.stringify(value));
const kind = (schema) => schema.format ?? (Array.isArray(schema.type) ? schema.type[0] : schema.type) ?? "";
const example = (schema) => String(schema.examples?.[0] ?? (schema.description && schema.type === "string" ? schema.description : ""));
