// Asks for a bearer token when the server wants one.

import { byId, say } from "./dom.js";
import { sentences } from "./format.js";

/** onToken: called with the text that was given. */
export function makeTokenDialog(onToken) {
  const dialog = byId("token-dialog");
  const value = byId("token-value");
  const open = byId("token-open");

  byId("token-form").addEventListener("submit", (event) => {
    event.preventDefault();
    const given = value.value.trim().replace(/^bearer\s+/i, "");
    value.value = "";
    dialog.close();
    onToken(given);
  });
  byId("token-cancel").addEventListener("click", () => dialog.close());
  open.addEventListener("click", () => dialog.showModal());

  /** Show the dialog with the server's reason; false: whoever asked shall wait for a token. */
  function ask(why) {
    say(byId("token-why"), sentences(why));
    open.hidden = false;
    if (!dialog.open) dialog.showModal();
    return false;
  }

  function accepted() { if (dialog.open) dialog.close(); }

  return { ask, accepted };
}
