// Formulas in TeX, between $ and $, $$ and $$, \( and \), \[ and \]. KaTeX draws them.

import katex from "katex";

import { element } from "./dom.js";
import { loadMathFonts } from "./math_fonts.js";

const LONGEST = 5000; // characters
const KEPT = 500;
const INLINE = { "\\(": "\\)", "\\[": "\\]", $$: "$$", $: "$" };
const BLOCK = { $$: "$$", "\\[": "\\]" };
const made = new Map();

/** A formula's node; its text where it is none. isDisplayed: on lines of its own. */
export function formula(source, isDisplayed) {
  const key = `${isDisplayed} ${source}`;
  if (!made.has(key)) {
    if (made.size >= KEPT) made.clear();
    made.set(key, drawn(source, isDisplayed));
  }
  return made.get(key).cloneNode(true);
}

function drawn(source, isDisplayed) {
  const root = element("span", { class: isDisplayed ? "formula displayed" : "formula", role: "math", "aria-label": source });
  if (isDisplayed) root.tabIndex = 0; // a wide one is scrolled
  try {
    if (source.length > LONGEST) throw new Error("too long");
    katex.render(source, root, { displayMode: isDisplayed, output: "html", maxExpand: 200, maxSize: 20, strict: "ignore" });
    loadMathFonts();
  } catch {
    root.replaceChildren(element("code", {}, source));
  }
  return root;
}

/** The plugin for markdown-it: tokens of type "formula". What is not closed is text. */
export function formulas(reader) {
  reader.inline.ruler.before("escape", "formula", inline);
  reader.block.ruler.before("fence", "formula", block, { alt: ["paragraph", "reference", "blockquote", "list"] });
}

function inline(state, isSilent) {
  const open = Object.keys(INLINE).find((mark) => state.src.startsWith(mark, state.pos));
  if (!open) return false;
  const begin = state.pos + open.length;
  const end = closing(state.src, begin, INLINE[open]);
  if (end < 0 || end + INLINE[open].length > state.posMax) return false;
  const source = state.src.slice(begin, end);
  // "$5 and $6" are prices: a formula begins and ends without a space, and no digit follows it.
  if (open === "$" && (/^\s|\s$|\n\s*\n/.test(source) || /\d/.test(state.src[end + 1] ?? ""))) return false;
  if (!source.trim()) return false;
  if (!isSilent) Object.assign(state.push("formula", "", 0), { content: source.trim(), markup: open === "\\(" ? "$" : open });
  state.pos = end + INLINE[open].length;
  return true;
}

function block(state, first, last, isSilent) {
  const lineOf = (line) => state.src.slice(state.bMarks[line] + state.tShift[line], state.eMarks[line]);
  const open = Object.keys(BLOCK).find((mark) => lineOf(first).startsWith(mark));
  if (!open || state.sCount[first] - state.blkIndent >= 4) return false;
  const lines = [];
  for (let line = first; line < last && (line === first || state.sCount[line] >= state.blkIndent); line += 1) {
    const text = line === first ? lineOf(line).slice(open.length) : lineOf(line);
    const end = closing(text, 0, BLOCK[open]);
    lines.push(end < 0 ? text : text.slice(0, end));
    if (end < 0) continue;
    if (text.slice(end + 2).trim() || !lines.join("").trim()) return false; // more follows on the line: a paragraph's
    if (isSilent) return true;
    Object.assign(state.push("formula", "", 0), { content: lines.join("\n").trim(), markup: open, block: true, map: [first, line + 1] });
    state.line = line + 1;
    return true;
  }
  return false;
}

/** Where the closing mark stands; -1 where it does not. One behind a backslash is part of the formula. */
function closing(text, from, mark) {
  for (let at = text.indexOf(mark, from); at >= 0; at = text.indexOf(mark, at + 1)) {
    if (mark[0] === "\\" || text[at - 1] !== "\\") return at;
  }
  return -1;
}
