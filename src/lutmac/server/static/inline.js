// Markdown within a line. Builds nodes, and never reads markup: what a model writes stays text.

import { element } from "./dom.js";

const DEEPEST = 8;
const PATTERN = new RegExp(
  [
    "\\\\(?<escaped>[!-/:-@[-`{-~])",
    "(?<ticks>`+)(?<code>[^`](?:[^]*?[^`])?)\\k<ticks>(?!`)",
    "!?\\[(?<label>[^\\]\\n]{0,500})\\]\\((?<target>[^\\s()]{0,2000}(?:\\([^\\s()]{0,500}\\)[^\\s()]{0,500})?)(?:\\s+\"[^\"\\n]{0,200}\")?\\)",
    "(?<bare>https?://[^\\s<>\"`]{1,2000})",
    "\\*\\*(?<strong>[^\\s*](?:[^*\\n]|\\*(?!\\*))*?)\\*\\*(?!\\*)",
    "(?<![\\p{L}\\p{N}_])__(?<strong2>[^\\s_][^\\n]{0,2000}?)__(?![\\p{L}\\p{N}_])",
    "\\*(?<em>[^\\s*][^*\\n]{0,2000})\\*",
    "(?<![\\p{L}\\p{N}_])_(?<em2>[^\\s_][^_\\n]{0,2000})_(?![\\p{L}\\p{N}_])",
    "~~(?<gone>[^~\\n]{1,2000})~~",
    "(?<hard> {2,}\\n|<br ?/?>)",
  ].join("|"),
  "u",
);

/** The nodes of a text. Everything that is no Markdown is in text nodes. */
export function inline(text, depth = 0) {
  const nodes = [];
  let rest = text;
  while (rest) {
    const match = depth < DEEPEST ? PATTERN.exec(rest) : null;
    if (!match) break;
    if (match.index) nodes.push(document.createTextNode(rest.slice(0, match.index)));
    const [node, length] = nodeOf(match, depth);
    nodes.push(node);
    rest = rest.slice(match.index + length);
  }
  if (rest) nodes.push(document.createTextNode(rest));
  return nodes;
}

function nodeOf(match, depth) {
  const found = match.groups;
  const whole = match[0].length;
  const inside = (tag, text) => [element(tag, {}, ...inline(text, depth + 1)), whole];
  if (found.escaped) return [document.createTextNode(found.escaped), whole];
  if (found.code) return [element("code", {}, found.code.replace(/^ (.*[^ ].*) $/, "$1")), whole];
  if (found.target !== undefined) return [link(found.target, found.label, depth), whole];
  if (found.bare) {
    const address = found.bare.replace(/[.,;:!?)\]*_~']+$/, "");
    return [link(address, address, DEEPEST), address.length];
  }
  if (found.hard) return [element("br"), whole];
  if (found.gone) return inside("del", found.gone);
  if (found.em ?? found.em2) return inside("em", found.em ?? found.em2);
  return inside("strong", found.strong ?? found.strong2);
}

/** A link that opens apart and says nothing of this page; where the address is none of the web, its text alone. */
function link(target, label, depth) {
  const children = inline(label || target, depth + 1);
  let address = null;
  try {
    address = new URL(target);
  } catch {
    // no whole address: a model cannot know one of this server
  }
  if (!address || !["http:", "https:", "mailto:"].includes(address.protocol)) return element("span", {}, ...children);
  return element("a", { href: address.href, target: "_blank", rel: "noopener noreferrer nofollow" }, ...children);
}
