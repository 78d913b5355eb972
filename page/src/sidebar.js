// The list of conversations.

import { element, one, signButton } from "./dom.js";
import { kept } from "./store.js";

const PLACE = "lutmac.list";
const isNarrow = matchMedia("(max-width: 56rem)");

export class Sidebar {
  /** actions: rename(id, title), exportOne(id), remove(id), exportAll(), importFile(file). */
  constructor(actions) {
    this.actions = actions;
    one("open-list").addEventListener("click", () => this.toggle());
    one("shade").addEventListener("click", () => this.toggle(false));
    one("list").addEventListener("keydown", (event) => {
      if (event.key === "Escape" && isNarrow.matches) this.toggle(false);
    });
    one("export-all").addEventListener("click", () => actions.exportAll());
    one("import").addEventListener("click", () => one("import-file").click());
    one("import-file").addEventListener("change", () => { actions.importFile(one("import-file").files[0]); one("import-file").value = ""; });
    this.toggle(!isNarrow.matches && kept.read(PLACE) !== "closed", false);
  }

  /** Opens or closes the list; on a narrow screen it lies over the conversation, and closes by itself. */
  toggle(isOpen = one("list").hidden, isChoice = true) {
    one("list").hidden = !isOpen;
    one("shade").hidden = !isOpen || !isNarrow.matches;
    one("open-list").setAttribute("aria-expanded", String(isOpen));
    if (!isChoice) return;
    if (!isNarrow.matches) kept.write(PLACE, isOpen ? "open" : "closed");
    else if (isOpen) one("list").querySelector("a, button").focus();
    else one("open-list").focus();
  }

  closeIfOver() {
    if (isNarrow.matches && !one("list").hidden) this.toggle(false, false);
  }

  /** listed: id and title of each; open: the id of the one that is shown; running: ids of those in which a reply comes. */
  show(listed, open, running) {
    if (this.isRenaming) return;
    const key = JSON.stringify([listed.map(({ id, title }) => [id, title]), open, running]);
    if (key === this.key) return;
    this.key = key;
    one("conversations").replaceChildren(...listed.map((each) => this.#item(each, each.id === open, running.includes(each.id))));
    one("nothing-listed").hidden = listed.length > 0;
  }

  #item({ id, title }, isOpen, isRunning) {
    const named = title || "Conversation";
    const link = element("a", { href: `#${id}`, ...(isOpen ? { "aria-current": "page" } : {}), title: named }, named);
    if (isRunning) link.append(element("span", { class: "unseen" }, ", a reply is coming"));
    const item = element("li", isRunning ? { class: "running" } : {}, link);
    item.append(
      signButton("edit", `Rename ${named}`, () => this.#rename(item, link, id, title)),
      signButton("save", `Export ${named}`, () => this.actions.exportOne(id)),
      signButton("delete", `Delete ${named}`, () => this.actions.remove(id)),
    );
    link.addEventListener("click", () => this.closeIfOver());
    return item;
  }

  #rename(item, link, id, title) {
    const field = element("input", { type: "text", "aria-label": "Title", maxlength: "200" });
    field.value = title;
    this.isRenaming = true;
    const end = (isDone) => {
      if (!this.isRenaming) return;
      this.isRenaming = false;
      this.key = null;
      this.actions.rename(id, isDone && field.value.trim() ? field.value.trim() : title);
    };
    field.addEventListener("keydown", (event) => {
      if (event.isComposing || !["Enter", "Escape"].includes(event.key)) return;
      event.stopPropagation();
      end(event.key === "Enter");
    });
    field.addEventListener("blur", () => end(true));
    item.replaceChildren(field);
    field.focus();
    field.select();
  }
}
