// Figures as text. null is what was not measured, and becomes a dash, never a zero.

export const MISSING = "–";

/** Seconds: 0.012 → "12 ms", 95 → "1 min 35 s". */
export function seconds(value) {
  if (value === null || value === undefined) return MISSING;
  if (value < 0.0095) return `${(value * 1000).toFixed(value < 0.00095 ? 2 : 1)} ms`;
  if (value < 0.9995) return `${Math.round(value * 1000)} ms`;
  if (value < 9.95) return `${value.toFixed(1)} s`;
  if (value < 59.5) return `${Math.round(value)} s`;
  const whole = Math.round(value);
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  if (whole < 86400) return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
  return `${Math.floor(whole / 86400)} d ${Math.floor((whole % 86400) / 3600)} h`;
}

/** Milliseconds of a measurement, three figures. */
export function millis(value) {
  const ms = value * 1000;
  return `${ms < 10 ? ms.toFixed(2) : ms < 100 ? ms.toFixed(1) : grouped(ms)} ms`;
}

/** A count. */
export function count(value) {
  return value === null || value === undefined ? MISSING : grouped(value);
}

/** A rate or ratio, at most three figures below a thousand. */
export function rate(value) {
  if (value === null || value === undefined) return MISSING;
  if (value === 0) return "0";
  if (value < 10) return value.toFixed(value < 0.1 ? 2 : 1);
  return grouped(value);
}

/** Bytes: 16777216 → "16.8 MB". */
export function bytes(value) {
  if (value === null || value === undefined) return MISSING;
  const units = ["B", "kB", "MB", "GB", "TB"];
  let place = 0;
  let rest = value;
  while (rest >= 999.5 && place < units.length - 1) { rest /= 1000; place += 1; }
  return `${place === 0 || rest >= 99.95 ? Math.round(rest) : rest.toFixed(1)} ${units[place]}`;
}

/** The time of day of seconds since 1970. */
export function clock(at) {
  return new Date(at * 1000).toLocaleTimeString([], { hour12: false });
}

/** Clauses as the API gives them, as sentences; a name that begins one stays as it is. */
export function sentences(...clauses) {
  return clauses.filter(Boolean).map((text) => `${text.replace(/^[a-z](?=[a-z]* )/, (first) => first.toUpperCase()).replace(/\.$/, "")}.`).join(" ");
}

/** "1 row", "2 rows". */
export function plural(number, one) {
  return `${grouped(number)} ${one}${number === 1 ? "" : "s"}`;
}

// Thin spaces between the thousands: read alike everywhere, and never taken for a decimal point.
function grouped(value) {
  return String(Math.round(value)).replace(/\B(?=(\d{3})+(?!\d))/g, "\u2009");
}
