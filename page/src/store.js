// The browser's storage. Where it is blocked or full, the page's own memory takes its place until the page is closed.

export class Store {
  #kept = null;
  #memory = new Map();

  /** name: "localStorage", or "sessionStorage" for what is a tab's own. */
  constructor(name) {
    try {
      this.#kept = globalThis[name]; // a browser that blocks it throws here,
      this.#kept.getItem("lutmac"); // or here
    } catch {
      this.#kept = null;
    }
  }

  /** Whether all that was written outlives the page. */
  get isKeeping() {
    return this.#kept !== null && this.#memory.size === 0;
  }

  /** The value of a key, or null where there is none that can be read. */
  read(key) {
    try {
      return JSON.parse(this.#memory.get(key) ?? this.#kept?.getItem(key) ?? "null");
    } catch {
      return null;
    }
  }

  write(key, value) {
    const text = JSON.stringify(value);
    try {
      this.#kept.setItem(key, text);
      this.#memory.delete(key);
    } catch {
      this.#memory.set(key, text);
    }
  }

  remove(key) {
    this.#memory.delete(key);
    this.#kept?.removeItem(key);
  }

  /** The keys that begin with a prefix, without it. */
  names(prefix) {
    const all = new Set([...Object.keys(this.#kept ?? {}), ...this.#memory.keys()]);
    return [...all].filter((key) => key.startsWith(prefix)).map((key) => key.slice(prefix.length));
  }
}

export const kept = new Store("localStorage");
export const ofTab = new Store("sessionStorage");
