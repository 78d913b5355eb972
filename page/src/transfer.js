// Conversations as files.

import { element } from "./dom.js";
import { newId } from "./identity.js";
import { checked, inARow } from "./records.js";

const FORMAT = "lutmac conversations";

/** Gives a file with these records to the person. */
export function exportRecords(records, name) {
  const text = JSON.stringify({ format: FORMAT, version: 1, conversations: records }, null, 1);
  const address = URL.createObjectURL(new Blob([text], { type: "application/json" }));
  const link = element("a", { href: address, download: `${name.replace(/[^\p{L}\p{N} ._-]+/gu, " ").trim() || "conversation"}.json` });
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}

/**
 * The records in a file's text: ours, or a list of messages with role and content as requests to servers have them.
 * Throws an Error that says what is wrong.
 */
export function importRecords(text) {
  let found;
  try {
    found = JSON.parse(text);
  } catch {
    throw new Error("is no JSON");
  }
  const several = Array.isArray(found?.conversations) ? found.conversations : [found];
  const records = several.map(asRecord).filter((record) => record?.messages.length);
  if (!records.length) throw new Error("holds no conversations");
  return records;
}

function asRecord(found) {
  if (Array.isArray(found)) return inARow(found);
  if (!Array.isArray(found?.messages)) return null;
  const isOurs = found.messages.every((message) => typeof message?.id === "string");
  return isOurs ? { ...checked(found), stamp: newId() } : inARow(found.messages, found.title);
}
