// The keys of this device (docs/rights/consent.md §6): all follow from one secret of 32 bytes.
//
// The secret is drawn here, shown once so that it can be kept, and from then on lies in this browser's database
// as a key that no script can read out: from it bits can be derived, and its signing key can sign.
import { fromHex, hex, joined, random, utf8 } from "./bytes.js";

const SECRET = 32;
const SIGNING = "noren/v1/student/signing\0", DISCLOSURE = "noren/v1/student/disclosure\0";
const DATABASE = "noren-device", STORE = "keys";
const ED25519 = fromHex("302e020100300506032b657004220420"), X25519 = fromHex("302e020100300506032b656e04220420");

const derived = async (master, label) => new Uint8Array(await crypto.subtle.deriveBits(
  { name: "HKDF", hash: "SHA-256", salt: new Uint8Array(0), info: utf8(label) }, master, 256));

// A key pair of 32 private bytes: the private key cannot be read out again, the public one is bytes.
async function pair(algorithm, prefix, raw, uses) {
  const pkcs8 = joined(prefix, raw);
  const readable = await crypto.subtle.importKey("pkcs8", pkcs8, { name: algorithm }, true, uses);
  const { x } = await crypto.subtle.exportKey("jwk", readable);
  const publicBytes = Uint8Array.from(atob(x.replace(/-/g, "+").replace(/_/g, "/")), c => c.charCodeAt(0));
  const privateKey = await crypto.subtle.importKey("pkcs8", pkcs8, { name: algorithm }, false, uses);
  return { privateKey, publicBytes };
}

function database() {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open(DATABASE, 1);
    request.onupgradeneeded = () => request.result.createObjectStore(STORE);
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

async function stored(mode, use) {
  const opened = await database();
  try {
    return await new Promise((resolve, reject) => {
      const transaction = opened.transaction(STORE, mode);
      const request = use(transaction.objectStore(STORE));
      transaction.oncomplete = () => resolve(request.result);
      transaction.onerror = transaction.onabort = () => reject(transaction.error);
    });
  } finally {
    opened.close();
  }
}

export const newSecret = () => hex(random(SECRET));

// The device of a secret in hexadecimal digits, spaces allowed; throws for anything else.
export async function deviceOf(text) {
  const raw = fromHex(text.toLowerCase().replace(/\s/g, ""));
  if (raw.length !== SECRET) throw new Error("expected 64 hexadecimal digits");
  const master = await crypto.subtle.importKey("raw", raw, "HKDF", false, ["deriveBits"]);
  const signing = await pair("Ed25519", ED25519, await derived(master, SIGNING), ["sign"]);
  return { master, signingKey: signing.privateKey, key: hex(signing.publicBytes) };
}

// Under its public key, so that two accounts in one browser do not share one.
export const keep = device => stored("readwrite", store => store.put(device, device.key));
export const find = async key => (key ? await stored("readonly", store => store.get(key)) : undefined);

export const disclosurePair = async (device, company) =>
  pair("X25519", X25519, await derived(device.master, DISCLOSURE + company), ["deriveBits"]);

export async function signature(device, label, message) {
  const signed = joined(utf8(label), new Uint8Array(1), message);
  return new Uint8Array(await crypto.subtle.sign("Ed25519", device.signingKey, signed));
}

export async function isSigned(key, label, message, given) {
  const imported = await crypto.subtle.importKey("raw", key, { name: "Ed25519" }, false, ["verify"]);
  return crypto.subtle.verify("Ed25519", imported, given, joined(utf8(label), new Uint8Array(1), message));
}
