// Replies as they come. Each conversation may have one; it goes on while another conversation is shown.

import { ApiFailure, streamChat } from "./api.js";
import { newMessage } from "./conversation.js";
import { inWords } from "./failures.js";
import { Speed } from "./speed.js";

const SAVED_EVERY = 2000; // milliseconds

/** A reply that comes. message: what it becomes; replaces: the reply that is shown until its first piece; continues: whether it adds to its message. */
class Reply {
  constructor(conversation, message, { replaces = null, continues = false }) {
    Object.assign(this, { conversation, message, replaces, continues });
    this.controller = new AbortController();
    this.speed = new Speed();
    this.hasBegun = false;
    this.shownAtFirst = conversation.leaf;
    this.saved = performance.now();
  }

  /** The message that is the last one shown, below which a failure has its place. */
  get shownLast() {
    return this.hasBegun || this.continues ? this.message : this.replaces ?? this.conversation.messages.get(this.message.parent);
  }

  take(part, text) {
    if (!this.hasBegun && !this.continues) this.#enter();
    this.hasBegun = true;
    this.message[part] += text;
    this.speed.count();
  }

  /** Takes its place in the conversation, and in what is shown unless the person looks at another branch by now. */
  #enter() {
    const { leaf } = this.conversation;
    this.conversation.add(this.message);
    if (leaf !== this.shownAtFirst) this.conversation.leaf = leaf;
  }
}

export class Replies {
  #running = new Map();

  /**
   * ask: () => what every request says beside its messages, with `key` and `system`. on: what hears of a reply: began(reply),
   * grew(reply), ended(reply, why), failed(reply, failure). library: where conversations are kept.
   */
  constructor(library, ask, on) {
    Object.assign(this, { library, ask, on });
  }

  of(conversation) {
    return this.#running.get(conversation.id) ?? null;
  }

  get all() {
    return [...this.#running.values()];
  }

  /** A reply to a message; `replaces` is another that stays until this one begins. */
  answer(conversation, message, replaces = null) {
    return this.#run(new Reply(conversation, newMessage("assistant", "", message.id), { replaces }), message.id);
  }

  /** Goes on with a reply that was cut. */
  proceed(conversation, message) {
    return this.#run(new Reply(conversation, message, { continues: true }), message.id);
  }

  stop(conversation) {
    this.of(conversation)?.controller.abort();
  }

  /** Ends the reply in a conversation that is deleted: what came of it is kept now, and nothing later. */
  drop(id) {
    const reply = this.#running.get(id);
    if (!reply) return;
    this.save(reply);
    reply.isDropped = true;
    reply.controller.abort();
  }

  async #run(reply, last) {
    const { conversation } = reply;
    if (this.of(conversation)) return;
    this.#running.set(conversation.id, reply);
    reply.shownLast.failure = null;
    const { system, key, ...others } = this.ask();
    this.on.began(reply);
    try {
      const [onText, onThought] = ["content", "thoughts"].map((part) => (text) => this.#grow(reply, part, text));
      const body = { messages: conversation.asked(system, last), ...others };
      this.#end(reply, await streamChat(body, { key, signal: reply.controller.signal, onText, onThought }));
    } catch (error) {
      if (error.name === "AbortError") this.#end(reply, { reason: "stopped" });
      else this.#fail(reply, error);
    }
  }

  #grow(reply, part, text) {
    reply.take(part, text);
    if (performance.now() - reply.saved > SAVED_EVERY) this.save(reply);
    this.on.grew(reply);
  }

  #end(reply, { usage, reason }) {
    const { message, speed } = reply;
    const tokens = usage?.completion_tokens;
    const why = { length: "cut at the longest reply", stopped: "stopped" }[reason] ?? "";
    const count = tokens === undefined ? "" : `${tokens} ${tokens === 1 ? "token" : "tokens"}`;
    message.note = [count, speed.words(tokens), why].filter(Boolean).join(" · ");
    message.ended = reason ?? "stop";
    message.tokens = usage ? usage.prompt_tokens + tokens : null;
    if (!reply.hasBegun && reason !== "stopped") reply.take("content", ""); // a reply of nothing is a reply, too
    this.#leave(reply);
    this.on.ended(reply, reason);
  }

  #fail(reply, error) {
    const failure = error instanceof ApiFailure ? error : new ApiFailure(500, error.message);
    if (reply.hasBegun) reply.message.ended = "broken";
    reply.shownLast.failure = { words: inWords(failure), detail: failure.message };
    this.#leave(reply);
    this.on.failed(reply, failure);
  }

  #leave(reply) {
    const { conversation, hasBegun, replaces, shownAtFirst } = reply;
    this.#running.delete(conversation.id);
    // A reply that did not come takes nothing away of what followed the one that it was to replace.
    if (replaces && !hasBegun && conversation.leaf === shownAtFirst) conversation.choose(replaces.id);
    reply.conversation.touch();
    this.save(reply);
  }

  save(reply) {
    if (reply.isDropped) return;
    reply.saved = performance.now();
    reply.shownLast.revision += 1;
    this.library.save(reply.conversation);
  }
}
