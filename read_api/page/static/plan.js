// Postgres's plan as a tree: what each node did, how many rows, and its own share of the time.

import { el } from "./dom.js";
import { count, millis, plural } from "./format.js";

/** explained: an object of EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON). */
export function planTree(explained) {
  const all = explained["Execution Time"] || 1;
  const root = explained.Plan;
  const read = (root["Shared Read Blocks"] ?? 0);
  return el("details", { className: "plan", open: true },
    el("summary", {}, `Plan: ${millis(explained["Planning Time"] / 1000)} to plan, ${millis(explained["Execution Time"] / 1000)} to run`),
    el("p", { className: "fine" }, `${plural(root["Shared Hit Blocks"] ?? 0, "page")} from memory, ${plural(read, "page")} read`),
    el("div", { className: "tree", tabIndex: 0, role: "region", "aria-label": "Plan" }, el("ul", {}, node(root, all))));
}

function node(plan, all) {
  const children = plan.Plans ?? [];
  const time = total(plan);
  const own = Math.max(0, time - children.reduce((sum, child) => sum + total(child), 0));
  const bar = el("span", { className: "own" });
  bar.style.inlineSize = `${Math.min(100, (100 * own) / all)}%`;
  const loops = plan["Actual Loops"] ?? 0;
  const rows = (plan["Actual Rows"] ?? 0) * loops;
  return el("li", {},
    el("div", { className: "node" },
      el("span", { className: "what" }, el("b", {}, plan["Node Type"]), ` ${object(plan)}`),
      el("span", { className: "did" }, loops === 0 ? "never run" : `${plural(rows, "row")}${loops > 1 ? ` in ${count(loops)} loops` : ""}`),
      el("span", { className: "took" }, loops === 0 ? "" : millis(time / 1000)),
      el("span", { className: "meter", title: `${millis(own / 1000)} of its own` }, bar)),
    condition(plan),
    children.length > 0 ? el("ul", {}, ...children.map((child) => node(child, all))) : null);
}

const total = (plan) => (plan["Actual Total Time"] ?? 0) * (plan["Actual Loops"] ?? 0);

function object(plan) {
  const on = plan["Relation Name"] ? `on ${plan["Relation Name"]}` : plan["CTE Name"] ? `on ${plan["CTE Name"]}` : "";
  return [plan["Join Type"] && plan["Join Type"] !== "Inner" ? plan["Join Type"].toLowerCase() : "", on, plan["Index Name"] ? `by ${plan["Index Name"]}` : ""].filter(Boolean).join(" ");
}

function condition(plan) {
  const text = plan["Index Cond"] ?? plan["Hash Cond"] ?? plan["Merge Cond"] ?? plan.Filter ?? plan["Join Filter"];
  const removed = plan["Rows Removed by Filter"] ? `, ${count(plan["Rows Removed by Filter"])} rows left out` : "";
  return text ? el("p", { className: "condition", title: text }, `${text}${removed}`) : null;
}
