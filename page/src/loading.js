// How far the server is with the model that a reply waits for.

import { modelStates } from "./api.js";
import { one } from "./dom.js";

const EVERY = 700; // milliseconds

export class Loading {
  #timer = 0;

  /** Tells it where the speed is told, until the reply begins or fails. name: of the model. */
  watch(name, key) {
    this.stop();
    const look = async () => {
      const states = await modelStates(key).catch(() => []); // a server that does not answer is told by the reply
      if (this.#timer !== timer) return;
      const state = states.find((each) => each.names.includes(name));
      one("speed").textContent = words(name, state);
      if (state && state.value !== "loaded") this.#timer = timer = setTimeout(look, EVERY);
    };
    let timer = this.#timer = setTimeout(look, EVERY);
  }

  stop() {
    clearTimeout(this.#timer);
    if (this.#timer) one("speed").textContent = "";
    this.#timer = 0;
  }
}

function words(name, state) {
  if (state?.value === "loading") return `Loading ${name}: ${Math.round(100 * state.progress)}%`;
  return state?.value === "unloaded" ? `Waiting for ${name}` : "";
}
