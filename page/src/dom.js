// Making elements.

import { icon } from "./icons.js";

export const one = (id) => document.getElementById(id);

/** An element with attributes and children; strings become text. */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

/** A button that does something. */
export function button(label, action, attributes = {}) {
  const made = element("button", { type: "button", ...attributes }, label);
  made.addEventListener("click", action);
  return made;
}

/** A button that shows a sign and has a name. */
export function signButton(sign, label, action, attributes = {}) {
  return button(icon(sign), action, { class: "quiet sign-button", "aria-label": label, title: label, ...attributes });
}

/** Puts text into the clipboard. Browsers offer that to secure origins alone; elsewhere by the old way. */
async function copy(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const area = element("textarea", { readonly: "", class: "unseen" });
  area.value = text;
  document.body.append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
}

/** A button that copies and says so for a moment. */
export function copyButton(label, text) {
  const made = button("Copy", async () => {
    try {
      await copy(text());
      made.textContent = "Copied";
    } catch {
      made.textContent = "Not allowed";
    }
    setTimeout(() => { made.textContent = "Copy"; }, 1500);
  }, { class: "quiet", "aria-label": label });
  return made;
}
