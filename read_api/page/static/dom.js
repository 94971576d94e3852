// Elements from values. Text is always text: nothing that a server sent is read as markup.

const SVG = "http://www.w3.org/2000/svg";

/** An element; properties are set, names with a dash or of ARIA become attributes. */
export function el(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null) continue;
    if (name.includes("-") || name === "role" || name === "for" || name === "scope") node.setAttribute(name, value);
    else node[name] = value;
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

/** An SVG element with attributes. */
export function svg(tag, attributes = {}, ...children) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

/** Set a text only when it differs, so that a screen reader and a selection are left alone. */
export function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** The element with an id. */
export const byId = (id) => document.getElementById(id);
