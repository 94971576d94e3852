// Rows as a table: the rest of the key first, as the read model declares it. What was asked for is the same in every row.

import { el } from "./dom.js";

const LONGEST = 120; // characters of a value; the rest is in its title

/** model: its key and the columns that were asked for. differing: places of rows that the other side does not have. */
export function rowTable(columns, model, rows, differing) {
  if (rows.length === 0) return el("p", { className: "empty" }, "No row for this key.");
  const asked = new Set(model.path.map(({ name }) => name));
  const key = model.key.filter((name) => !asked.has(name));
  const order = [...key, ...columns.filter((name) => !model.key.includes(name))];
  const head = order.map((name) => el("th", { scope: "col", className: key.includes(name) ? "in-key" : "" }, name));
  const body = rows.map((row, place) =>
    el("tr", { className: differing.has(place) ? "differs" : "", title: differing.has(place) ? "not on the other side" : null },
      ...order.map((name) => cell(row[name]))));
  return el("div", { className: "rows", tabIndex: 0, role: "region", "aria-label": "Rows" },
    el("table", {}, el("thead", {}, el("tr", {}, ...head)), el("tbody", {}, ...body)));
}

function cell(value) {
  if (value === null || value === undefined) return el("td", { className: "null" }, "null");
  const text = typeof value === "string" ? value : JSON.stringify(value);
  const short = text.length > LONGEST ? `${text.slice(0, LONGEST)}…` : text;
  return el("td", { className: typeof value === "number" ? "number" : "", title: text === short ? null : text }, short);
}
