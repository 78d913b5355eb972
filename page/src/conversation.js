// A conversation: a tree of messages, of which one path is shown. Another reply, or a message that was changed, is a branch.

import { withFiles } from "./attachments.js";
import { newId } from "./identity.js";

const TITLE_LENGTH = 60;

/**
 * A message: id, parent (an id, or null), role ("user", "assistant"), content, thoughts, files, note (how it came),
 * ended (why: "stop", "length", "stopped", "broken"; "" while it comes), failure (what the server said, or null), tokens
 * (of the context, once it is complete), at (when it began) and revision (how often it was changed).
 */
export function newMessage(role, content, parent, files = []) {
  const about = { note: "", ended: "", failure: null, tokens: null, at: Date.now(), revision: 0 };
  return { id: newId(), parent, role, content, thoughts: "", files, ...about };
}

export class Conversation {
  /** record: what toRecord gave, once it was checked (records.js); nothing for a new one. */
  constructor(record = {}) {
    this.id = record.id ?? newId();
    this.title = record.title ?? "";
    this.updated = record.updated ?? Date.now();
    this.stamp = record.stamp ?? null; // names the state that was stored last
    this.leaf = record.leaf ?? null; // the last message of the path that is shown
    this.gone = new Set(record.gone ?? []); // what was deleted, so that another tab does not bring it back
    this.messages = new Map((record.messages ?? []).map((message) => [message.id, message]));
  }

  toRecord() {
    const { id, title, updated, stamp, leaf } = this;
    return { id, title, updated, stamp, leaf, gone: [...this.gone], messages: [...this.messages.values()] };
  }

  get path() {
    return this.pathTo(this.leaf);
  }

  get last() {
    return this.messages.get(this.leaf);
  }

  /** The messages from the first to this one. */
  pathTo(id) {
    const path = [];
    for (let message = this.messages.get(id); message; message = this.messages.get(message.parent)) path.unshift(message);
    return path;
  }

  /** Adds a message and shows it. */
  add(message) {
    this.messages.set(message.id, message);
    this.leaf = message.id;
    this.touch();
    if (!this.title && message.role === "user") this.title = titleOf(message);
    return message;
  }

  touch() {
    this.updated = Date.now();
  }

  /** The messages that stand in each other's place, oldest first. */
  variants({ parent, role }) {
    return this.#children(parent).filter((message) => message.role === role);
  }

  /** Shows the path through a message, to the newest that follows. */
  choose(id) {
    this.leaf = id;
    for (let next = this.#children(id).at(-1); next; next = this.#children(next.id).at(-1)) this.leaf = next.id;
  }

  /** Takes a message away and all that follows it. Returns them, for restore. */
  remove(message) {
    const removed = [message];
    for (const each of removed) removed.push(...this.#children(each.id));
    for (const { id } of removed) {
      this.messages.delete(id);
      this.gone.add(id);
    }
    const other = this.variants(message).at(-1);
    if (!this.messages.has(this.leaf)) other ? this.choose(other.id) : (this.leaf = message.parent);
    this.touch();
    return removed;
  }

  /** Brings back what remove took, under new ids: the old ones are known as gone. */
  restore(removed) {
    const ids = new Map(removed.map(({ id }) => [id, newId()]));
    for (const message of removed) {
      const id = ids.get(message.id);
      this.messages.set(id, { ...message, id, parent: ids.get(message.parent) ?? message.parent });
    }
    this.choose(ids.get(removed[0].id));
    this.touch();
  }

  /** A new conversation with the messages up to this one. */
  branch(id) {
    const made = new Conversation({ title: this.title });
    for (const message of this.pathTo(id)) made.add({ ...message, id: newId(), parent: made.leaf });
    return made;
  }

  /** Takes over what another tab has done to this conversation: nothing that either has written is lost. */
  merge(record) {
    for (const id of record.gone) this.gone.add(id);
    for (const theirs of record.messages) {
      const ours = this.messages.get(theirs.id);
      if (!ours || theirs.revision > ours.revision) this.messages.set(theirs.id, theirs);
    }
    for (const id of this.gone) this.messages.delete(id);
    if (record.updated > this.updated) Object.assign(this, { title: record.title, updated: record.updated });
    if (!this.messages.has(this.leaf)) this.leaf = this.messages.has(record.leaf) ? record.leaf : null;
  }

  /** What the server is asked to go on with: the messages up to this one. */
  asked(system, id) {
    const said = this.pathTo(id).map((message) => ({ role: message.role, content: withFiles(message) })).filter(({ content }) => content);
    return system.trim() ? [{ role: "system", content: system }, ...said] : said;
  }

  #children(id) {
    return [...this.messages.values()].filter((message) => message.parent === id).sort((a, b) => a.at - b.at);
  }
}

function titleOf({ content, files }) {
  const line = content.trim().split("\n")[0] || files[0]?.name || "";
  return line.length > TITLE_LENGTH ? `${line.slice(0, TITLE_LENGTH).trimEnd()}…` : line;
}
