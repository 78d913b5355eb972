// The settings: system prompt, sampling, and the facts about the model. Kept in the browser; the key until its tab closes.

import { element, one } from "./dom.js";
import { kept, ofTab } from "./store.js";

const PLACE = "lutmac.settings";
const KEY = "lutmac.key";
const NUMBERS = ["temperature", "top_p", "max_tokens", "seed"];
const FIELDS = ["system", ...NUMBERS];

export class Settings {
  /** onChange: called when the model or the system prompt is another. */
  constructor(onChange) {
    const stored = kept.read(PLACE) ?? {};
    for (const field of FIELDS) one(field).value = stored[field] ?? "";
    one("settings-form").addEventListener("input", () => this.#save());
    one("settings-form").addEventListener("submit", (event) => event.preventDefault());
    one("open-settings").addEventListener("click", () => one("settings").showModal());
    one("close-settings").addEventListener("click", () => one("settings").close());
    one("settings").addEventListener("close", onChange);
    for (const choice of [one("model"), one("header-model")]) {
      choice.addEventListener("change", () => { this.#choose(choice.value); this.#save(); onChange(); });
    }
    this.models = [];
    this.wanted = stored.model ?? "";
  }

  get system() {
    return one("system").value;
  }

  get key() {
    return ofTab.read(KEY) ?? "";
  }

  set key(value) {
    ofTab.write(KEY, value);
  }

  get isOpen() {
    return one("settings").open;
  }

  /** The name of the model that is asked, or undefined while none is known. */
  get model() {
    return this.chosen?.id;
  }

  /** Whether there are several models, which are loaded when they are asked. */
  get isOneOfSeveral() {
    return this.models.length > 1;
  }

  /** Whether the model answers at once; one that does not is loaded when it is asked. */
  get isLoaded() {
    return (this.chosen?.status.value ?? "loaded") === "loaded";
  }

  /** How many tokens the model can read. */
  get context() {
    return this.chosen?.max_model_len;
  }

  /** The sampling parameters that were given; a field that holds no valid number counts as empty. */
  sampling() {
    const given = NUMBERS.filter((field) => one(field).value !== "" && one(field).validity.valid);
    return Object.fromEntries(given.map((field) => [field, one(field).valueAsNumber]));
  }

  /** Shows which models there are; the one of last time is asked, else the first. */
  showModels(models) {
    this.models = models;
    for (const choice of [one("model"), one("header-model")]) choice.replaceChildren(...models.map(option));
    one("choose-model").hidden = one("header-model").hidden = models.length < 2;
    one("model-name").hidden = models.length > 1;
    if (!models.length) return;
    this.#choose(models.some(({ id }) => id === this.wanted) ? this.wanted : models[0].id);
  }

  #choose(name) {
    this.chosen = this.models.find(({ id }) => id === name);
    this.wanted = one("model").value = one("header-model").value = name;
    one("model-name").textContent = name;
    one("model-name").title = name;
    document.title = `${name} – lutmac`;
    one("model-facts").replaceChildren(...facts(this.chosen));
  }

  #save() {
    const values = Object.fromEntries(FIELDS.map((field) => [field, one(field).value]));
    kept.write(PLACE, { ...values, model: this.wanted });
  }
}

function option({ id, status }) {
  const state = { loaded: "", loading: " (loading)", unloaded: status.failed ? " (cannot be loaded)" : " (not loaded)" }[status.value];
  return element("option", { value: id }, `${id}${state}`);
}

/** What is known of the model: of one that is not loaded less. */
function facts(model) {
  const number = (value, digits = 0) => value?.toLocaleString("en", { maximumFractionDigits: digits });
  const known = (value, text) => (value === undefined ? undefined : text);
  const shown = {
    Name: model.id,
    Architecture: model.architecture,
    Parameters: known(model.parameters, model.parameters >= 1e9 ? `${number(model.parameters / 1e9, 1)} billion` : `${number(model.parameters / 1e6)} million`),
    "Bits per weight": number(model.bits_per_weight, 2),
    "Weights in memory": known(model.weight_bytes, `${number(model.weight_bytes / 2 ** 20)} MiB`),
    Context: known(model.max_model_len, `${number(model.max_model_len)} tokens`),
    Kernels: model.isa,
    Threads: number(model.threads),
  };
  return Object.entries(shown).filter(([, value]) => value !== undefined).flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, value)]);
}
