// What storage and files hold, checked: it may be older than this page, or written by somebody else.

import { Conversation, newMessage } from "./conversation.js";
import { newId } from "./identity.js";

const ROLES = ["user", "assistant"];
const text = (value) => (typeof value === "string" ? value : "");
const number = (value, otherwise) => (Number.isFinite(value) ? value : otherwise);

/** A conversation's record with all that Conversation reads, or null where there is none in it. */
export function checked(found) {
  if (!found || typeof found !== "object" || !Array.isArray(found.messages)) return null;
  const messages = found.messages.filter(isMessage).map(checkedMessage);
  const known = new Map(messages.map((message) => [message.id, message]));
  for (const message of messages) if (!known.has(message.parent) || isInCircle(message, known)) message.parent = null;
  return {
    id: text(found.id) || newId(),
    title: text(found.title),
    updated: number(found.updated, Date.now()),
    stamp: text(found.stamp) || null,
    leaf: known.has(found.leaf) ? found.leaf : messages.at(-1)?.id ?? null,
    gone: Array.isArray(found.gone) ? found.gone.filter(text) : [],
    messages,
  };
}

/** A record of messages in a row, as other programs write them. */
export function inARow(said, title = "") {
  const made = new Conversation({ title: text(title) });
  for (const { role, content, thoughts } of said.filter(isMessage)) {
    made.add({ ...newMessage(role, content, made.leaf), thoughts: text(thoughts), ended: "stop" });
  }
  return made.toRecord();
}

function isMessage(found) {
  return ROLES.includes(found?.role) && typeof found.content === "string";
}

function checkedMessage(found) {
  const files = Array.isArray(found.files) ? found.files : [];
  const failure = typeof found.failure?.words === "string" ? { words: found.failure.words, detail: text(found.failure.detail) } : null;
  return {
    id: text(found.id) || newId(),
    parent: text(found.parent) || null,
    role: found.role,
    content: found.content,
    thoughts: text(found.thoughts),
    files: files.filter((file) => typeof file?.text === "string").map((file) => ({ name: text(file.name) || "file", text: file.text })),
    note: text(found.note),
    ended: text(found.ended),
    failure,
    tokens: number(found.tokens, null),
    at: number(found.at, 0),
    revision: number(found.revision, 0),
  };
}

function isInCircle(message, known) {
  const seen = new Set([message.id]);
  for (let next = known.get(message.parent); next; next = known.get(next.parent)) {
    if (seen.has(next.id)) return true;
    seen.add(next.id);
  }
  return false;
}
