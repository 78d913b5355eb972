/** A name that no other tab gives. (crypto.randomUUID exists for secure origins alone.) */
export function newId() {
  return Array.from(crypto.getRandomValues(new Uint8Array(9)), (byte) => byte.toString(36).padStart(2, "0")).join("");
}
