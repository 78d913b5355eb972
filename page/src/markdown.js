// Markdown as DOM nodes. markdown-it reads it; nothing is ever parsed as markup, so what a model writes stays text.

import MarkdownIt from "markdown-it";

import { copyButton, element } from "./dom.js";
import { formula, formulas } from "./formulas.js";
import { highlighted } from "./highlighting.js";
import { become } from "./morph.js";

const reader = new MarkdownIt({ html: false, linkify: true, maxNesting: 24 }).use(formulas);
reader.linkify.set({ fuzzyLink: false, fuzzyEmail: false });
reader.validateLink = () => true; // addressOf checks them, and keeps the text of those that it refuses
const LONGEST_COLORED = 50_000; // characters of code

/** A text as Markdown in an element. What is not closed yet, as in a reply that still comes, ends with the text. */
export class MarkdownView {
  #blocks = []; // of each block its source and its node

  constructor(root) {
    this.root = root;
  }

  /** Draws the blocks that differ from what is shown; of the others nothing is touched. */
  show(text) {
    if (text === this.shown) return;
    this.shown = text;
    const env = {};
    const blocks = inBlocks(reader.parse(text, env), text.split("\n"), Object.keys(env.references ?? {}).join(" "));
    blocks.forEach((block, at) => {
      const old = this.#blocks[at];
      if (old?.source === block.source) block.node = old.node;
      else block.node = placed(this.root, old?.node, nodesOf(block.tokens)[0]);
    });
    for (const { node } of this.#blocks.slice(blocks.length)) node.remove();
    this.#blocks = blocks.map(({ source, node }) => ({ source, node }));
  }
}

/** Puts a node where another was, or changes that one; returns the one that is there now. */
function placed(root, old, next) {
  if (!old) root.append(next);
  else if (become(old, next)) return old;
  else old.replaceWith(next);
  return next;
}

/** The tokens of each block of the outermost level, with what they were made of. */
function inBlocks(tokens, lines, references) {
  const blocks = [];
  let begun = [];
  for (const token of tokens) {
    begun.push(token);
    if (token.level > 0 || token.nesting > 0) continue;
    const [first, end] = begun[0].map ?? [0, 0];
    blocks.push({ tokens: begun, source: `${token.type} ${references}\n${lines.slice(first, end).join("\n")}` });
    begun = [];
  }
  return blocks;
}

/** The nodes of tokens in a row. */
function nodesOf(tokens) {
  const root = document.createDocumentFragment();
  const open = [root];
  for (const token of tokens) {
    if (token.nesting < 0) {
      const closed = open.pop();
      if (closed.className === "table") open.pop();
      continue;
    }
    const made = nodeOf(token);
    if (made) open.at(-1).append(made);
    if (token.nesting > 0) open.push(token.type === "table_open" ? made.firstChild : made ?? open.at(-1));
  }
  return [...root.childNodes];
}

/** The node of one token; null where a tight list's paragraphs have none. */
function nodeOf(token) {
  switch (token.type) {
    case "inline": {
      const inside = document.createDocumentFragment();
      inside.append(...nodesOf(token.children));
      return inside;
    }
    case "text": return document.createTextNode(token.content);
    case "softbreak": return document.createTextNode("\n");
    case "hardbreak": return element("br");
    case "s_open": return element("del");
    case "hr": return element("hr");
    case "code_inline": return element("code", {}, token.content);
    case "fence": case "code_block": return codeBlock(token.content.replace(/\n$/, ""), token.info.trim().split(/\s+/)[0]);
    case "image": return link(token.attrGet("src"), token.content || token.attrGet("src"));
    case "link_open": return link(token.attrGet("href"));
    case "formula": return formula(token.content, token.block || token.markup !== "$");
    case "table_open": return element("div", { class: "table", tabindex: "0", role: "region", "aria-label": "Table" }, element("table"));
    case "heading_open": return element(`h${Math.min(Number(token.tag[1]) + 2, 6)}`); // the page's own headings are the first two levels
    case "ordered_list_open": return element("ol", token.attrGet("start") ? { start: token.attrGet("start") } : {});
    case "th_open": case "td_open": return element(token.tag, sideOf(token));
    case "paragraph_open": return token.hidden ? null : element("p");
    default: return element(token.tag || "span", {}, token.nesting ? "" : token.content);
  }
}

function sideOf(token) {
  const side = /text-align:(center|right)/.exec(token.attrGet("style") ?? "");
  return side ? { class: side[1] } : {};
}

/** A link that opens apart and says nothing of this page; where the address is none of the web, its text alone. */
function link(target, ...children) {
  const address = addressOf(target);
  if (!address) return element("span", {}, ...children);
  return element("a", { href: address, target: "_blank", rel: "noopener noreferrer nofollow" }, ...children);
}

function addressOf(target) {
  try {
    const { href, protocol } = new URL(target); // whole ones alone: a model cannot know an address of this server
    return ["http:", "https:", "mailto:"].includes(protocol) ? href : null;
  } catch {
    return null;
  }
}

function codeBlock(text, language) {
  const code = element("code", {}, ...(text.length > LONGEST_COLORED ? [text] : highlighted(text, language)));
  const bar = element("div", { class: "bar" }, element("span", {}, language || "text"), copyButton("Copy the code", () => code.textContent));
  const pre = element("pre", { tabindex: "0", role: "region", "aria-label": `Code, ${language || "text"}` }, code);
  return element("div", { class: "code" }, bar, pre);
}
