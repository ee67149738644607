// Bytes, texts and hashes as the platform writes them (docs/protocol.md §6).

export const utf8 = text => new TextEncoder().encode(text);
export const hex = bytes => Array.from(bytes, byte => byte.toString(16).padStart(2, "0")).join("");
export const random = length => crypto.getRandomValues(new Uint8Array(length));

export function fromHex(text) {
  if (!/^([0-9a-f]{2})*$/.test(text)) throw new Error("expected hexadecimal digits");
  return Uint8Array.from({ length: text.length / 2 }, (_, i) => parseInt(text.slice(2 * i, 2 * i + 2), 16));
}

export function joined(...parts) {
  const result = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    result.set(part, at);
    at += part.length;
  }
  return result;
}

export const number = (value, length) =>
  Uint8Array.from({ length }, (_, i) => Math.floor(value / 2 ** (8 * (length - 1 - i))) % 256);

export const isSame = (one, other) => one.length === other.length && one.every((byte, i) => byte === other[i]);

export const sha256 = async bytes => new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));

// Canonical JSON: keys in order of code points (ours are ASCII), no spaces, integers and texts only.
export function canonical(value) {
  if (typeof value === "string" || typeof value === "boolean") return JSON.stringify(value);
  if (Number.isSafeInteger(value)) return String(value);
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  if (typeof value === "object" && value !== null)
    return `{${Object.keys(value).sort().map(key => `${JSON.stringify(key)}:${canonical(value[key])}`).join(",")}}`;
  throw new Error("expected integers, texts, lists or objects");
}
