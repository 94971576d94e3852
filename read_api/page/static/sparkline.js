// A small line of the last samples, newest at the right edge; where a sample is missing the line is broken.

import { svg } from "./dom.js";

const WIDTH = 150;
const HEIGHT = 26;
const EDGE = 2;

/** The SVG, empty. `draw` fills it. label: what it is of, for those who don't see it. */
export function sparkline(label) {
  const area = svg("path", { class: "area" });
  const limit = svg("path", { class: "limit" });
  const line = svg("path", { class: "line" });
  const node = svg("svg", {
    class: "spark", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", "aria-label": label,
  }, area, limit, line);

  /** values: oldest first, at most `room`. floor: the least that the full height stands for. bound: a dashed line. */
  function draw(values, { room, floor = 0, bound = null, text = "" }) {
    const known = values.filter((value) => value !== null);
    let top = Math.max(floor, ...known) || 1;
    if (bound !== null && top > bound / 2) top = Math.max(top, bound * 1.1);
    const x = (place) => WIDTH - EDGE - ((values.length - 1 - place) * (WIDTH - 2 * EDGE)) / Math.max(room - 1, 1);
    const y = (value) => HEIGHT - EDGE - (value / top) * (HEIGHT - 2 * EDGE);
    let stroke = "";
    let fill = "";
    for (const [from, to] of runs(values)) {
      let part = "";
      for (let place = from; place <= to; place += 1) part += `${place === from ? "M" : "L"}${x(place).toFixed(1)} ${y(values[place]).toFixed(1)}`;
      if (from === to) part += "h0.1"; // a single sample is a dot
      stroke += part;
      fill += `${part}L${x(to).toFixed(1)} ${HEIGHT}L${x(from).toFixed(1)} ${HEIGHT}Z`;
    }
    line.setAttribute("d", stroke);
    area.setAttribute("d", fill);
    limit.setAttribute("d", bound !== null && bound <= top ? `M0 ${y(bound).toFixed(1)}H${WIDTH}` : "");
    node.setAttribute("aria-label", text ? `${label}: ${text}` : label);
  }

  return { node, draw };
}

/** First and last place of each unbroken run of known values. */
function runs(values) {
  const found = [];
  let from = -1;
  values.forEach((value, place) => {
    if (value !== null && from < 0) from = place;
    if (from >= 0 && (value === null || place === values.length - 1)) {
      found.push([from, value === null ? place - 1 : place]);
      from = -1;
    }
  });
  return found;
}
