// Messages on the page.

import { button, copyButton, element } from "./dom.js";
import { render } from "./markdown.js";
import { morph } from "./morph.js";

const one = (id) => document.getElementById(id);
const NEAR = 80; // pixels from the end within which a reader counts as following

/** A message's element. show(text) draws its text anew, finish(note) what belongs below it. */
export class MessageView {
  constructor(message) {
    this.message = message;
    this.text = element("div", { class: "text" });
    const who = element("h2", { class: "unseen" }, message.role === "user" ? "You" : "Model");
    this.thoughts = element("div", { class: "thought" });
    this.fold = element("details", { class: "thoughts", open: "" }, element("summary", {}, "Thoughts"), this.thoughts);
    this.root = element("article", { class: `message ${message.role}` }, who, this.fold, this.text);
    one("messages").append(this.root);
    this.show();
  }

  /** Draws the text as it is now; a person's own words are shown as they wrote them. */
  show() {
    const text = this.message.content;
    if (this.message.role === "user") this.text.textContent = text;
    else morph(this.text, render(text));
    const thoughts = this.message.thoughts?.trim() ?? "";
    this.fold.hidden = !thoughts;
    if (thoughts === this.thought) return;
    this.thought = thoughts;
    morph(this.thoughts, render(thoughts));
  }

  set waiting(value) {
    this.root.classList.toggle("waiting", value);
  }

  /** Adds what one can do with a reply. onAgain: asks for another. */
  finish(onAgain) {
    this.fold.open = !this.message.content; // who has the answer seldom wants the way to it
    const copies = copyButton("Copy the reply", () => this.message.content);
    const again = button("Regenerate", onAgain, { class: "quiet regenerate" });
    const note = element("p", { class: "note" }, this.message.note);
    this.root.append(element("div", { class: "actions" }, copies, again, note));
  }
}

/** Takes the button for another reply from all but the last message. */
export function onlyLastCanBeRegenerated() {
  const all = [...document.querySelectorAll(".regenerate")];
  const last = document.querySelector("#messages > :last-child .regenerate");
  for (const each of all) each.hidden = each !== last;
}

/** Says what went wrong (isWrong) or is missing, with a button to try again. */
export function showFailure(words, detail, onRetry, { isWrong = true } = {}) {
  const made = element("div", { class: isWrong ? "failure" : "failure calm", role: isWrong ? "alert" : "group", "aria-label": "Notice" });
  made.append(element("p", {}, words));
  if (detail) made.append(element("p", { class: "detail" }, detail));
  made.append(button("Try again", onRetry));
  one("messages").append(made);
}

export function clearFailures() {
  for (const each of document.querySelectorAll(".failure")) each.remove();
}

/** Whether the reader is at the end of the conversation, and so wants to see more of it as it comes. */
export function isFollowing() {
  const log = one("log");
  return log.scrollHeight - log.scrollTop - log.clientHeight < NEAR;
}

export function scrollToEnd() {
  one("log").scrollTop = one("log").scrollHeight;
}
