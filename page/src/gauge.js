// How much of the model's context a conversation takes, with what is about to be sent.

import { countTokens } from "./api.js";
import { withFiles } from "./attachments.js";
import { one } from "./dom.js";

const NEARLY = 0.9; // of the context

export class Gauge {
  #asked = null;

  /** Shows the tokens of the messages, which the server counts. context: tokens, or undefined where it is not known. isLoaded: to count is no reason to load a model. */
  async show(messages, draft, { context, model, isLoaded, system, key }) {
    const said = [...messages, ...(draft.text || draft.files.length ? [{ role: "user", content: withFiles({ content: draft.text, files: draft.files }) }] : [])];
    this.#asked?.abort();
    if (!context || !said.length) return this.#draw(null, context);
    if (!isLoaded) return this.#draw(messages.at(-1)?.tokens ?? null, context);
    const controller = new AbortController();
    this.#asked = controller;
    try {
      this.#draw(await countTokens({ model, messages: said, ...(system.trim() ? { system } : {}) }, key, controller.signal), context);
    } catch {
      if (!controller.signal.aborted) this.#draw(messages.at(-1)?.tokens ?? null, context); // what the last reply told
    }
  }

  #draw(tokens, context) {
    one("gauge").hidden = tokens === null;
    if (tokens === null) return;
    const whole = (number) => number.toLocaleString("en");
    one("meter").max = context;
    one("meter").high = NEARLY * context;
    one("meter").value = tokens;
    one("gauge-words").textContent = `${whole(tokens)} of ${whole(context)} tokens`;
    one("gauge").classList.toggle("over", tokens >= context);
    one("gauge").title = tokens >= context ? "Longer than the model can read" : "How much of what the model can read is taken, with the message that is being written";
  }
}
