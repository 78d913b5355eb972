// The conversations that this browser keeps: a record each, so that two tabs do not write over each other.

import { Conversation } from "./conversation.js";
import { newId } from "./identity.js";
import { checked, inARow } from "./records.js";
import { kept } from "./store.js";

const PREFIX = "lutmac.conversation.";
const BEFORE = "lutmac.conversation"; // the only one, of pages before there were several

export class Library {
  constructor() {
    const before = kept.read(BEFORE);
    if (Array.isArray(before) && before.length) this.put(inARow(before));
    kept.remove(BEFORE);
  }

  /** What is kept, without the messages; the newest first. */
  list() {
    const all = kept.names(PREFIX).map((id) => checked(kept.read(PREFIX + id))).filter((record) => record?.messages.length);
    return all.sort((a, b) => b.updated - a.updated).map(({ id, title, updated }) => ({ id, title, updated }));
  }

  /** The conversation of this id, as it was stored; a new one of this id where there is none. */
  open(id) {
    return new Conversation(checked(kept.read(PREFIX + id)) ?? { id });
  }

  record(id) {
    return checked(kept.read(PREFIX + id));
  }

  /** Stores a conversation together with what other tabs have stored of it. An empty one needs no place. */
  save(conversation) {
    const stored = this.record(conversation.id);
    if (stored && stored.stamp !== conversation.stamp) conversation.merge(stored);
    if (!stored && !conversation.messages.size) return;
    conversation.stamp = newId();
    kept.write(PREFIX + conversation.id, conversation.toRecord());
  }

  put(record) {
    kept.write(PREFIX + record.id, record);
  }

  rename(id, title) {
    const record = this.record(id);
    if (record) this.put({ ...record, title, updated: Date.now(), stamp: newId() });
  }

  remove(id) {
    kept.remove(PREFIX + id);
  }

  /** Calls onChange(id) when another tab stored or removed a conversation. */
  listen(onChange) {
    addEventListener("storage", ({ key }) => {
      if (key?.startsWith(PREFIX)) onChange(key.slice(PREFIX.length));
    });
  }
}
