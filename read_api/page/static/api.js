// The read API as this page asks it. The token lives in this module's memory: not in storage, a cookie or a URL.

let bearer = null;

/** Use a token from now on; null is none. */
export function useToken(token) { bearer = token; }

/** A problem as the API gives it (RFC 9457), or the lack of an answer. status: 0 without an answer. */
export class Problem extends Error {
  constructor(status, body) {
    super(body.detail);
    this.status = status;
    this.title = body.title;
    this.detail = body.detail;
    this.hint = body.hint;
  }
}

/** GET below page/data/; the JSON. Throws Problem. */
export async function get(path, { timeout = 20000 } = {}) {
  let response;
  try {
    response = await fetch(`page/data/${path}`, {
      headers: bearer ? { Authorization: `Bearer ${bearer}` } : {},
      cache: "no-store",
      signal: AbortSignal.timeout(timeout),
    });
  } catch (error) {
    const late = error.name === "TimeoutError";
    throw new Problem(0, {
      title: "The read API does not answer",
      detail: late ? `no answer within ${timeout / 1000} s` : "the connection failed",
      hint: "the page goes on asking",
    });
  }
  const body = await response.json().catch(() => ({ title: "No JSON", detail: `HTTP status ${response.status}`, hint: "" }));
  if (!response.ok) throw new Problem(response.status, body);
  return body;
}

/** Segments of a path, percent-encoded. */
export const path = (...segments) => segments.map(encodeURIComponent).join("/");

/** The segments of such a path; none of a text that is no path. */
export function parts(text) {
  try {
    return text.split("/").map(decodeURIComponent);
  } catch (error) {
    if (error instanceof URIError) return [];
    throw error;
  }
}
