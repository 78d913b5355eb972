// The settings: system prompt, sampling, and the facts about the model. Kept in the browser; the key until it closes.

import { element } from "./dom.js";

const PLACE = "lutmac.settings";
const NUMBERS = ["temperature", "top_p", "max_tokens", "seed"];
const FIELDS = ["system", ...NUMBERS];
const one = (id) => document.getElementById(id);

export class Settings {
  constructor() {
    const kept = stored();
    for (const field of FIELDS) one(field).value = kept[field] ?? "";
    one("settings-form").addEventListener("input", () => this.#save());
    one("settings-form").addEventListener("submit", (event) => event.preventDefault());
    one("open-settings").addEventListener("click", () => one("settings").showModal());
    one("close-settings").addEventListener("click", () => one("settings").close());
    one("model").addEventListener("change", () => this.#name(one("model").value));
    this.model = null;
  }

  get system() {
    return one("system").value;
  }

  get key() {
    return sessionStorage.getItem("lutmac.key") ?? "";
  }

  set key(value) {
    sessionStorage.setItem("lutmac.key", value);
  }

  get isOpen() {
    return one("settings").open;
  }

  /** The sampling parameters that were given; a field that holds no valid number counts as empty. */
  sampling() {
    const given = NUMBERS.filter((field) => one(field).value !== "" && one(field).validity.valid);
    return Object.fromEntries(given.map((field) => [field, one(field).valueAsNumber]));
  }

  /** Shows which models there are; the first is the one that is asked. */
  showModels(models) {
    one("model").replaceChildren(...models.map(({ id }) => element("option", { value: id }, id)));
    one("choose-model").hidden = models.length < 2;
    this.#name(models[0].id);
    one("model-facts").replaceChildren(...facts(models[0]));
  }

  #name(name) {
    this.model = name;
    one("model-name").textContent = name;
    one("model-name").title = name;
    document.title = `${name} – lutmac`;
  }

  #save() {
    localStorage.setItem(PLACE, JSON.stringify(Object.fromEntries(FIELDS.map((field) => [field, one(field).value]))));
  }
}

function stored() {
  try {
    return JSON.parse(localStorage.getItem(PLACE)) ?? {};
  } catch {
    return {};
  }
}

function facts(model) {
  const number = (value, digits = 0) => value.toLocaleString("en", { maximumFractionDigits: digits });
  const shown = {
    Name: model.id,
    Architecture: model.architecture,
    Parameters: model.parameters >= 1e9 ? `${number(model.parameters / 1e9, 1)} billion` : `${number(model.parameters / 1e6)} million`,
    "Bits per weight": number(model.bits_per_weight, 2),
    "Weights in memory": `${number(model.weight_bytes / 2 ** 20)} MiB`,
    Context: `${number(model.max_model_len)} tokens`,
    Kernels: model.isa,
    Threads: number(model.threads),
  };
  return Object.entries(shown).flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, value)]);
}
