// Where a message is written: its text, its files, and the draft that outlives a reload.

import { readFile } from "./attachments.js";
import { element, one, signButton } from "./dom.js";
import { readDraft, writeDraft } from "./drafts.js";
import { notice } from "./notices.js";

const PAUSE = 300; // milliseconds without a key after which a draft is stored

export class Composer {
  #timer = 0;

  /** onSend(text, files); onChange() after the draft changed. */
  constructor(onSend, onChange) {
    Object.assign(this, { onSend, onChange, id: null, files: [] });
    one("attach").prepend(signButton("attach", "Attach text files", () => one("file").click(), { id: "attach-button" }));
    one("file").addEventListener("change", () => { this.attach([...one("file").files]); one("file").value = ""; });
    one("composer").addEventListener("submit", (event) => { event.preventDefault(); this.send(); });
    one("prompt").addEventListener("input", () => this.#changed());
    one("prompt").addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.send();
    });
    this.#takeFiles();
  }

  get text() {
    return one("prompt").value;
  }

  /** Shows the draft of a conversation. */
  open(id) {
    this.store();
    const { text, files } = readDraft(id);
    this.id = id;
    this.fill(text, files);
  }

  fill(text, files = []) {
    one("prompt").value = text;
    this.files = files;
    this.#showFiles();
    this.#fit();
  }

  store() {
    clearTimeout(this.#timer);
    if (this.id) writeDraft(this.id, this.text, this.files);
  }

  send() {
    const text = this.text.trim();
    if (!text && !this.files.length) return;
    if (!this.onSend(text, this.files)) return;
    this.fill("");
    this.store();
  }

  async attach(list) {
    for (const file of list) {
      try {
        this.files = [...this.files, await readFile(file)];
      } catch (error) {
        notice(error.message);
      }
    }
    this.#showFiles();
    this.#changed();
    one("prompt").focus();
  }

  #changed() {
    this.#fit();
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => { this.store(); this.onChange(); }, PAUSE);
  }

  #showFiles() {
    one("draft-files").replaceChildren(...this.files.map((file) => {
      const drop = () => { this.files = this.files.filter((other) => other !== file); this.#showFiles(); this.#changed(); one("prompt").focus(); };
      return element("li", {}, element("span", {}, file.name), signButton("close", `Remove ${file.name}`, drop));
    }));
    one("draft-files").hidden = !this.files.length;
  }

  /** Files that are dropped on the page, or pasted. */
  #takeFiles() {
    const has = (event) => event.dataTransfer?.types.includes("Files");
    addEventListener("dragover", (event) => { if (has(event)) event.preventDefault(); });
    addEventListener("drop", (event) => {
      if (!has(event)) return;
      event.preventDefault();
      this.attach([...event.dataTransfer.files]);
    });
    one("prompt").addEventListener("paste", (event) => {
      if (!event.clipboardData.files.length) return;
      event.preventDefault();
      this.attach([...event.clipboardData.files]);
    });
  }

  #fit() {
    const prompt = one("prompt");
    prompt.style.height = "auto";
    prompt.style.height = `${prompt.scrollHeight}px`;
  }
}
