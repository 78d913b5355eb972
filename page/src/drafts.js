// What somebody began to write, for each conversation: it outlives a reload. A tab sees its own draft before that of another.

import { kept, ofTab } from "./store.js";

const PREFIX = "lutmac.draft.";
const DAY = 86_400_000;
const LONGEST_KEPT = 30 * DAY;

export function readDraft(id) {
  const draft = ofTab.read(PREFIX + id) ?? kept.read(PREFIX + id);
  return { text: draft?.text ?? "", files: draft?.files ?? [] };
}

export function writeDraft(id, text, files) {
  for (const store of [ofTab, kept]) {
    if (text || files.length) store.write(PREFIX + id, { text, files, at: Date.now() });
    else store.remove(PREFIX + id);
  }
}

/** Drafts of conversations that never were are kept for a month. */
export function dropOldDrafts() {
  for (const id of kept.names(PREFIX)) {
    if (!(Date.now() - kept.read(PREFIX + id)?.at < LONGEST_KEPT)) kept.remove(PREFIX + id);
  }
}
