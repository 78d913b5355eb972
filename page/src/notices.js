// Short notices at the edge of the page, with what takes back what they tell of.

import { button, element, one, signButton } from "./dom.js";

const SHOWN = 12_000; // milliseconds; as long as somebody points at it, it stays

/** Says something; onUndo takes it back. Only the newest is shown: it is the one that a person thinks of. */
export function notice(words, onUndo = null) {
  const made = element("div", { class: "notice" }, element("p", {}, words));
  const close = () => made.remove();
  if (onUndo) made.append(button("Undo", () => { close(); onUndo(); }, { class: "quiet" }));
  made.append(signButton("close", "Close the notice", close));
  let timer = setTimeout(close, SHOWN);
  for (const come of ["pointerenter", "focusin"]) made.addEventListener(come, () => clearTimeout(timer));
  for (const go of ["pointerleave", "focusout"]) made.addEventListener(go, () => { clearTimeout(timer); timer = setTimeout(close, SHOWN); });
  one("notices").replaceChildren(made);
}

export function clearNotice() {
  one("notices").replaceChildren();
}
