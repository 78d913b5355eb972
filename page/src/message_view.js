// A message on the page, with what one can do with it.

import { button, copyButton, element, signButton } from "./dom.js";
import { MarkdownView } from "./markdown.js";

export class MessageView {
  /** actions: what its buttons do, each called with the message: edited(message, text), again, proceed, branch, remove, choose(id). */
  constructor(message, actions) {
    this.message = message;
    this.actions = actions;
    this.isOurs = message.role === "user";
    this.text = element("div", { class: "text" });
    this.thoughts = element("div", { class: "thought" });
    this.fold = element("details", { class: "thoughts", open: "" }, element("summary", {}, "Thoughts"), this.thoughts);
    this.files = element("div", { class: "files" });
    this.below = element("div", { class: "actions" });
    const who = element("h2", { class: "unseen" }, this.isOurs ? "You" : "Model");
    this.root = element("article", { class: `message ${message.role}` }, who, this.fold, this.files, this.text, this.below);
    this.markdown = new MarkdownView(this.text);
    this.thoughtMarkdown = new MarkdownView(this.thoughts);
    this.files.append(...message.files.map(fileFold));
  }

  /** Draws the message as it is now; a person's own words are shown as they wrote them. */
  show(message = this.message) {
    this.message = message;
    if (this.editor) return;
    if (this.isOurs) this.text.textContent = message.content;
    else this.markdown.show(message.content);
    const thoughts = message.thoughts.trim();
    this.fold.hidden = !thoughts;
    this.thoughtMarkdown.show(thoughts);
  }

  /** state: isRunning (its reply comes), isBusy (some reply comes in this conversation), isLast, variants (those in its place). */
  showState(state) {
    const { message } = this;
    this.root.classList.toggle("waiting", state.isRunning);
    const isSettled = !state.isRunning && !this.editor;
    if (this.isSettled !== isSettled) this.fold.open = !(isSettled && message.content); // who has the answer seldom wants the way to it
    this.isSettled = isSettled;
    const key = JSON.stringify([isSettled, state.isBusy, state.isLast, state.variants.map(({ id }) => id), message.note, message.ended]);
    if (key === this.stateKey) return;
    this.stateKey = key;
    const hadFocus = this.below.contains(document.activeElement) ? document.activeElement.getAttribute("aria-label") : null;
    this.below.replaceChildren(...(isSettled ? this.#buttons(state) : []));
    if (hadFocus) this.below.querySelector(`[aria-label="${hadFocus}"]`)?.focus();
  }

  #buttons({ isBusy, isLast, variants }) {
    const { message, actions, isOurs } = this;
    const made = variants.length > 1 ? [this.#variants(variants, isBusy)] : [];
    made.push(copyButton(isOurs ? "Copy the message" : "Copy the reply", () => message.content));
    if (!isBusy) {
      if (!isOurs && isLast && message.ended !== "stop" && message.content) made.push(signButton("proceed", "Continue", () => actions.proceed(message)));
      if (!isOurs) made.push(signButton("again", "Regenerate", () => actions.again(message)));
      made.push(signButton("edit", "Edit", () => this.edit()));
    }
    made.push(signButton("branch", "Branch off", () => actions.branch(message)));
    if (!isBusy) made.push(signButton("delete", "Delete", () => actions.remove(message)));
    if (message.note) made.push(element("p", { class: "note" }, message.note));
    return made;
  }

  #variants(variants, isBusy) {
    const at = variants.findIndex(({ id }) => id === this.message.id);
    const step = (by, sign, label) => {
      const to = variants[at + by];
      return signButton(sign, label, () => this.actions.choose(to.id), to && !isBusy ? {} : { disabled: "" });
    };
    const count = element("span", {}, `${at + 1} / ${variants.length}`);
    return element("span", { class: "variants", role: "group", "aria-label": "Variants" }, step(-1, "previous", "Previous variant"), count, step(1, "next", "Next variant"));
  }

  /** Lets the person change the text in its place. */
  edit() {
    if (this.editor) return;
    const area = element("textarea", { rows: "1", "aria-label": "Edit the message" });
    area.value = this.message.content;
    const fit = () => { area.style.height = "auto"; area.style.height = `${area.scrollHeight + 2}px`; };
    const done = element("button", { type: "submit", class: "primary" }, this.isOurs ? "Send" : "Save");
    this.editor = element("form", { class: "editor" }, area, done, button("Cancel", () => this.#closeEditor()));
    area.addEventListener("input", fit);
    area.addEventListener("keydown", (event) => this.#editorKey(event));
    this.editor.addEventListener("submit", (event) => {
      event.preventDefault();
      const text = area.value.trim();
      if (!text && !this.message.files.length) return;
      this.#closeEditor();
      this.actions.edited(this.message, text);
    });
    this.text.hidden = this.below.hidden = true;
    this.root.classList.add("edited");
    this.text.after(this.editor);
    fit();
    area.focus();
  }

  #editorKey(event) {
    if (event.key === "Escape") {
      event.stopPropagation();
      this.#closeEditor();
    } else if (event.key === "Enter" && this.isOurs && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      this.editor.requestSubmit();
    }
  }

  #closeEditor() {
    this.editor.remove();
    this.editor = null;
    this.text.hidden = this.below.hidden = false;
    this.root.classList.remove("edited");
    this.show();
  }
}

function fileFold({ name, text }) {
  const size = `${text.length.toLocaleString("en")} characters`;
  return element("details", { class: "file" }, element("summary", {}, name, " ", element("span", {}, size)), element("pre", {}, text));
}
