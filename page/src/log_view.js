// The path of a conversation that is shown.

import { button, element, one } from "./dom.js";
import { MessageView } from "./message_view.js";

const NEAR = 80; // pixels from the end within which a reader counts as following

export class LogView {
  #views = new Map();

  /** actions: see MessageView, and retry(message). */
  constructor(actions) {
    this.actions = actions;
  }

  /** Draws what differs from what is shown. reply: the one that comes, or null. */
  show(conversation, reply) {
    const path = conversation.path;
    const pending = reply && !reply.hasBegun && !reply.continues && !reply.replaces ? [reply.message] : [];
    const shown = [...path, ...(pending.length && conversation.leaf === reply.message.parent ? pending : [])];
    this.#place(shown);
    const running = reply && (reply.hasBegun || !reply.replaces ? reply.message : reply.replaces);
    for (const message of shown) {
      const view = this.#views.get(message.id);
      view.show(message);
      const variants = conversation.variants(message);
      view.showState({ isRunning: message === running, isBusy: Boolean(reply), isLast: message === shown.at(-1), variants });
    }
    this.#showFailure(shown.at(-1), reply);
    one("welcome").hidden = shown.length > 0;
  }

  /** Draws a reply that grew. */
  grow(reply) {
    this.#views.get(reply.message.id)?.show();
  }

  view(message) {
    return this.#views.get(message.id);
  }

  /** Puts the messages' elements in their order and takes others away; one that is there already keeps its place. */
  #place(shown) {
    const ids = new Set(shown.map(({ id }) => id));
    for (const [id, view] of this.#views) {
      if (ids.has(id)) continue;
      view.root.remove();
      this.#views.delete(id);
    }
    let before = null;
    for (const message of shown) {
      if (!this.#views.has(message.id)) this.#views.set(message.id, new MessageView(message, this.actions));
      const { root } = this.#views.get(message.id);
      if (before ? before.nextElementSibling !== root : one("messages").firstElementChild !== root) before ? before.after(root) : one("messages").prepend(root);
      before = root;
    }
  }

  /** What went wrong with the last message, or that it has no reply. */
  #showFailure(last, reply) {
    const isUnanswered = last?.role === "user" && !last.failure;
    const failure = reply ? null : last?.failure ?? (isUnanswered ? { words: "This message has no reply yet.", detail: "" } : null);
    const key = failure && `${last.id} ${failure.words} ${failure.detail}`;
    if (key === this.failureKey) return;
    this.failureKey = key;
    document.querySelector("#messages > .failure")?.remove();
    if (!failure) return;
    const made = element("div", isUnanswered ? { class: "failure calm", role: "group", "aria-label": "Notice" } : { class: "failure", role: "alert" });
    made.append(element("p", {}, failure.words));
    if (failure.detail) made.append(element("p", { class: "detail" }, failure.detail));
    made.append(button("Try again", () => this.actions.retry(last)));
    if (last.role === "user") made.append(button("Edit the message", () => this.view(last).edit()));
    one("messages").append(made);
  }
}

/** Whether the reader is at the end of the conversation, and so wants to see more of it as it comes. */
export function isFollowing() {
  const log = one("log");
  return log.scrollHeight - log.scrollTop - log.clientHeight < NEAR;
}

export function scrollToEnd() {
  one("log").scrollTop = one("log").scrollHeight;
}
