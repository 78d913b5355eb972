// Light, dark, or as the system has it. theme.js applies the choice before the page is painted.

import { one } from "./dom.js";
import { kept } from "./store.js";

const THEMES = { "": ["◐", "as the system"], light: ["☀", "light"], dark: ["☾", "dark"] };

export function listenForTheme() {
  const now = () => document.documentElement.dataset.theme ?? "";
  one("theme").addEventListener("click", () => {
    const names = Object.keys(THEMES);
    show(names[(names.indexOf(now()) + 1) % names.length]);
    kept.write("lutmac.theme", now());
  });
  show(now());
}

function show(theme) {
  const [sign, name] = THEMES[theme];
  document.documentElement.dataset.theme = theme;
  one("theme").textContent = sign;
  one("theme").setAttribute("aria-label", `Theme: ${name}`);
  one("theme").title = `Theme: ${name}`;
}
