// Markdown's blocks as DOM nodes: headings, paragraphs, lists, quotes, fenced code, tables, rules.
// HTML in a text is text. What is not closed yet, as in a reply that still comes, ends with the text.

import { copyButton, element } from "./dom.js";
import { inline } from "./inline.js";

const DEEPEST = 8;
const FENCE = /^ {0,3}(`{3,}|~{3,})[ \t]*([^\s`]*)[^`]*$/;
const HEADING = /^ {0,3}(#{1,6})(?:[ \t]+(.*?))?(?:[ \t]+#+)?[ \t]*$/;
const RULE = /^ {0,3}(?:(?:\*[ \t]*){3,}|(?:-[ \t]*){3,}|(?:_[ \t]*){3,})$/;
const QUOTE = /^ {0,3}> ?/;
const ITEM = /^( *)([-*+]|\d{1,9}[.)])(?:[ \t]+(.*))?$/;
const DIVIDER = /^ *\|?(?: *:?-+:? *\|)+(?: *:?-+:? *)?$|^ *\| *:?-+:? *$/;

/** The nodes of a Markdown text. */
export function render(text) {
  const fragment = document.createDocumentFragment();
  fragment.append(...blocks(text.replace(/\r\n?/g, "\n").replace(/\t/g, "    ").split("\n"), 0));
  return fragment;
}

function blocks(lines, depth) {
  const nodes = [];
  let at = 0;
  while (at < lines.length) {
    if (!lines[at].trim()) {
      at += 1;
      continue;
    }
    const [node, next] = block(lines, at, depth);
    nodes.push(node);
    at = next;
  }
  return nodes;
}

/** The block that begins at a line, and the line after it. */
function block(lines, at, depth) {
  const line = lines[at];
  const heading = HEADING.exec(line);
  // The page's own headings are the first two levels.
  if (heading) return [element(`h${Math.min(heading[1].length + 2, 6)}`, {}, ...inline(heading[2] ?? "")), at + 1];
  if (FENCE.test(line)) return fenced(lines, at);
  if (RULE.test(line)) return [element("hr"), at + 1];
  if (depth < DEEPEST) {
    if (QUOTE.test(line)) return quote(lines, at, depth);
    if (ITEM.test(line)) return list(lines, at, depth);
  }
  if (startsTable(lines, at)) return table(lines, at);
  return paragraph(lines, at);
}

function startsBlock(lines, at) {
  const line = lines[at];
  return [HEADING, FENCE, RULE, QUOTE, ITEM].some((kind) => kind.test(line)) || startsTable(lines, at);
}

function paragraph(lines, at) {
  let end = at + 1;
  while (end < lines.length && lines[end].trim() && !startsBlock(lines, end)) end += 1;
  const text = lines.slice(at, end).map((line) => line.trimStart()).join("\n").trimEnd();
  return [element("p", {}, ...inline(text)), end];
}

function fenced(lines, at) {
  const [, fence, language] = FENCE.exec(lines[at]);
  const indent = lines[at].length - lines[at].trimStart().length;
  const isClose = (line) => line.trim().length >= fence.length && line.trim().replaceAll(fence[0], "") === "";
  let end = at + 1;
  while (end < lines.length && !isClose(lines[end])) end += 1;
  const text = lines.slice(at + 1, end).map((line) => line.replace(new RegExp(`^ {0,${indent}}`), "")).join("\n");
  return [codeBlock(text, language), end + 1];
}

function codeBlock(text, language) {
  const code = element("code", {}, text);
  const bar = element("div", { class: "bar" }, element("span", {}, language || "text"), copyButton("Copy the code", () => code.textContent));
  const pre = element("pre", { tabindex: "0", role: "region", "aria-label": `Code, ${language || "text"}` }, code);
  return element("div", { class: "code" }, bar, pre);
}

function quote(lines, at, depth) {
  const inside = [];
  let end = at;
  while (end < lines.length && lines[end].trim() && (QUOTE.test(lines[end]) || !startsBlock(lines, end))) {
    inside.push(lines[end].replace(QUOTE, ""));
    end += 1;
  }
  return [element("blockquote", {}, ...blocks(inside, depth + 1)), end];
}

function list(lines, at, depth) {
  const [, indent, marker] = ITEM.exec(lines[at]);
  const isOrdered = /\d/.test(marker);
  const made = element(isOrdered ? "ol" : "ul", isOrdered && parseInt(marker, 10) !== 1 ? { start: parseInt(marker, 10) } : {});
  let end = at;
  while (end < lines.length) {
    const next = ITEM.exec(lines[end]);
    if (!next || next[1].length > indent.length + 1 || /\d/.test(next[2]) !== isOrdered || RULE.test(lines[end])) break;
    const [inside, after] = itemLines(lines, end, next);
    made.append(element("li", {}, ...unwrapped(blocks(inside, depth + 1))));
    end = after;
  }
  return [made, end];
}

/** The lines of an item without their indentation, and the line after them. */
function itemLines(lines, at, [, indent, marker, first]) {
  const least = indent.length + 2;
  const width = indent.length + marker.length + 1;
  const inside = [first ?? ""];
  let end = at + 1;
  while (end < lines.length) {
    const line = lines[end];
    const depth = line.length - line.trimStart().length;
    const follows = line.trim() ? depth >= least : leadsOn(lines, end, least);
    const isLazy = line.trim() && lines[end - 1].trim() && !startsBlock(lines, end);
    if (!follows && !isLazy) break;
    inside.push(line.slice(Math.min(depth, width)));
    end += 1;
  }
  while (end < lines.length && !lines[end].trim()) end += 1;
  return [inside, end];
}

function leadsOn(lines, at, least) {
  const next = lines.slice(at).find((line) => line.trim());
  return next !== undefined && next.length - next.trimStart().length >= least;
}

/** An item's only paragraph, or its first one before a list, needs no space around it. */
function unwrapped(nodes) {
  const [first, ...rest] = nodes;
  const isTight = first?.tagName === "P" && !rest.some((node) => node.tagName === "P");
  return isTight ? [...first.childNodes, ...rest] : nodes;
}

function startsTable(lines, at) {
  return lines[at].includes("|") && at + 1 < lines.length && DIVIDER.test(lines[at + 1])
    && cells(lines[at]).length === cells(lines[at + 1]).length;
}

function cells(line) {
  const bare = line.trim().replace(/^\|/, "").replace(/(?<!\\)\|$/, "");
  return bare.split(/(?<!\\)\|/).map((cell) => cell.trim().replaceAll("\\|", "|"));
}

function table(lines, at) {
  const sides = cells(lines[at + 1]).map((cell) => (cell.endsWith(":") ? (cell.startsWith(":") ? "center" : "right") : ""));
  const row = (line, tag) => {
    const found = cells(line);
    return element("tr", {}, ...sides.map((side, column) => element(tag, side ? { class: side } : {}, ...inline(found[column] ?? ""))));
  };
  let end = at + 2;
  while (end < lines.length && lines[end].trim() && lines[end].includes("|")) end += 1;
  const body = lines.slice(at + 2, end).map((line) => row(line, "td"));
  const made = element("table", {}, element("thead", {}, row(lines[at], "th")), element("tbody", {}, ...body));
  return [element("div", { class: "table", tabindex: "0", role: "region", "aria-label": "Table" }, made), end];
}
