// The figures of the path and the table of read models, changed in place so that focus and selection stay.

import { byId, el, say } from "./dom.js";
import { bytes, count, MISSING, plural, rate, seconds } from "./format.js";
import { sparkline } from "./sparkline.js";

const SHORTEST = 60; // samples that the width stands for at first; with more of them time is drawn closer
const LAG_FLOOR = 0.05; // a line of 20 ms is a flat one: only more than 50 ms takes the full height

const TILES = [
  { key: "changes_per_s", label: "Source changes", unit: "/s", text: rate, note: behindLog },
  { key: "rows_per_s", label: "Rows written", unit: "/s", text: rate, note: () => "upserts and deletes in Cassandra" },
  { key: "amplification", label: "Write amplification", unit: "×", text: rate, note: () => "rows a source change, since the worker’s start" },
  { key: "retained_bytes", label: "Retained WAL", unit: "", text: bytes, note: relayNote },
  { key: "put_aside_changes", label: "Slices in progress", unit: "", text: count, note: slicesNote },
  { key: "dead_letters", label: "Dead letters", unit: "", text: count, note: (path) => (path.dead_letters === null ? "not measured" : "rows that Cassandra refused") },
];

/** onPick: called with the name of a read model that is to be looked at. */
export function makeBoard(onPick) {
  const tiles = new Map(TILES.map((tile) => [tile.key, makeTile(tile)]));
  byId("tiles").replaceChildren(...[...tiles.values()].map((tile) => tile.node));
  const rows = new Map();
  let history = null;

  function show(view) {
    history = joined(history, view);
    for (const { key, text, unit, note } of TILES) {
      tiles.get(key).show(text(view.pipeline[key]), unit, note(view.pipeline), history.figures[key]);
    }
    const names = view.models.map((model) => model.name);
    if (names.join() !== [...rows.keys()].join()) {
      rows.clear();
      for (const name of names) rows.set(name, makeRow(name, onPick));
      byId("model-rows").replaceChildren(...[...rows.values()].map((row) => row.node));
    }
    for (const model of view.models) rows.get(model.name).show(model, history.lag[model.name] ?? []);
    const empty = byId("models-empty");
    say(empty, "This server has no read models: LOCKSTEP_READ_API__READ_MODELS names an empty list.");
    empty.hidden = names.length > 0;
    say(byId("window"), seconds(room(history.figures.changes_per_s) * view.interval_s).replace(" 0 s", ""));
  }

  return { show, last: () => history?.number ?? 0, forget: () => { history = null; } };
}

/** The history with a view's new samples; begun anew where the server has. */
function joined(history, view) {
  const { numbers, lag, first, ...figures } = view.history;
  const fits = history !== null && first <= history.number + 1 && (numbers.length === 0 || numbers[0] > history.number);
  const add = (old, more) => (fits ? [...(old ?? []), ...more] : more).slice(-view.kept);
  const all = (old, more) => Object.fromEntries(Object.entries(more).map(([key, values]) => [key, add(old?.[key], values)]));
  return { number: view.sample, lag: all(history?.lag, lag), figures: all(history?.figures, figures) };
}

function makeTile({ key, label }) {
  const value = el("span", { className: "value" }, MISSING);
  const unit = el("span", { className: "unit" });
  const note = el("span", { className: "note" });
  const line = sparkline(label);
  line.node.classList.add("absent");
  const node = el("div", { className: "tile missing", id: `tile-${key}` }, el("dt", {}, label), el("dd", {}, el("span", { className: "figure" }, value, unit), line.node, note));
  function show(text, unitText, noteText, values) {
    say(value, text);
    say(unit, text === MISSING ? "" : unitText);
    say(note, noteText);
    node.classList.toggle("missing", text === MISSING);
    line.node.classList.toggle("absent", values === undefined || values.every((one) => one === null));
    if (values !== undefined) line.draw(values, { room: room(values), text: `now ${text}${unitText}` });
  }
  return { node, show };
}

function makeRow(name, onPick) {
  const pick = el("button", { type: "button", className: "pick", title: `Read ${name} side by side`, onclick: () => onPick(name) }, name);
  const lag = el("span", { className: "lag" });
  const state = el("span", { className: "state" });
  const line = sparkline(`Lag of ${name}`);
  const cell = (label, className = "number") => el("td", { className, "data-label": label });
  const most = cell("Most");
  const covered = cell("LSN", "number lsn");
  const written = cell("Rows/s");
  const amplification = cell("Ampl.");
  const aside = cell("Put aside");
  const drift = cell("Drift");
  const node = el("tr", { id: `model-${name}` },
    el("th", { scope: "row" }, pick),
    el("td", { className: "number", "data-label": "Lag" }, state, lag),
    el("td", { className: "history" }, line.node),
    most, covered, written, amplification, aside, drift);

  function show(model, values) {
    const bound = model.staleness_s;
    say(lag, model.lag_s === null ? MISSING : seconds(model.lag_s));
    say(state, model.stale ? "stale" : model.lag_s === null && model.covered_lsn === null ? "nothing covered" : "");
    lag.title = bound === null ? "no staleness is declared" : `declared: at most ${seconds(bound)}`;
    node.classList.toggle("stale", model.stale === true);
    const known = values.filter((value) => value !== null);
    const peak = known.length > 0 ? Math.max(...known) : null;
    line.draw(values, { room: room(values), floor: LAG_FLOOR, bound, text: `now ${seconds(model.lag_s)}, most ${seconds(peak)}` });
    put(most, seconds(peak));
    put(covered, model.covered_lsn ?? MISSING);
    put(written, rate(model.rows_per_s), model.rows_per_s === 0);
    put(amplification, model.amplification === null ? MISSING : `${rate(model.amplification)}×`, model.amplification === 0);
    put(aside, asideText(model), model.put_aside_keys === 0);
    put(drift, count(model.drift_rows), model.drift_rows === 0);
    drift.title = model.verified_at === null ? "never verified by this worker" : `verified ${new Date(model.verified_at * 1000).toLocaleString()}`;
    drift.classList.toggle("bad", model.drift_rows > 0);
  }
  return { node, show };
}

const room = (values) => Math.max(SHORTEST, values?.length ?? 0);

/** A cell's text; what is nothing, or not known, stands back. */
function put(cell, text, nothing = false) {
  say(cell, text);
  cell.classList.toggle("nothing", nothing || text === MISSING);
}

function asideText(model) {
  if (model.put_aside_keys === null) return MISSING;
  if (model.put_aside_keys === 0) return "0";
  return model.put_aside_s === null ? count(model.put_aside_keys) : `${count(model.put_aside_keys)}, ${seconds(model.put_aside_s)}`;
}

function behindLog(path) {
  if (path.lag_records === null) return "not measured";
  return path.lag_records === 0 ? "the log is read to its end" : `${plural(path.lag_records, "log record")} not read yet`;
}

function relayNote(path) {
  if (path.streaming === null) return "not measured";
  return !path.streaming ? "the relay does not stream" : path.relay_lag_s > 0 ? `the relay is ${seconds(path.relay_lag_s)} behind` : "the relay has sent everything";
}

function slicesNote(path) {
  if (path.put_aside_changes === null) return "not measured";
  return path.put_aside_changes === 0 ? "no change that fans out waits" : `${plural(path.put_aside_keys ?? 0, "key")} left`;
}
