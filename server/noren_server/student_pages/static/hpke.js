// HPKE (RFC 9180), base mode: DHKEM(X25519, HKDF-SHA256) 0x0020, HKDF-SHA256 0x0001, AES-256-GCM 0x0002.
// Every part is WebCrypto's; this file is the labels and their order. Names are those of the RFC.
import { joined, number, utf8 } from "./bytes.js";

const ENC = 32;
const KEM_SUITE = joined(utf8("KEM"), number(0x0020, 2));
const HPKE_SUITE = joined(utf8("HPKE"), number(0x0020, 2), number(0x0001, 2), number(0x0002, 2));
const NONE = new Uint8Array(0);

async function hmac(key, message) {
  // a salt that is left out is as many zeros as the hash has bytes (RFC 5869 §2.2)
  const raw = key.length ? key : new Uint8Array(32);
  const imported = await crypto.subtle.importKey("raw", raw, { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
  return new Uint8Array(await crypto.subtle.sign("HMAC", imported, message));
}

const labeledExtract = (suite, salt, label, ikm) => hmac(salt, joined(utf8("HPKE-v1"), suite, utf8(label), ikm));

async function labeledExpand(suite, prk, label, info, length) {
  const block = joined(number(length, 2), utf8("HPKE-v1"), suite, utf8(label), info, number(1, 1));
  return (await hmac(prk, block)).slice(0, length);
}

// What `sealed` = enc(32) ‖ ciphertext says to the X25519 key pair {privateKey, publicBytes}; throws otherwise.
export async function open(sealed, pair, info) {
  const enc = sealed.slice(0, ENC), ciphertext = sealed.slice(ENC);
  const theirs = await crypto.subtle.importKey("raw", enc, { name: "X25519" }, false, []);
  const dh = new Uint8Array(
    await crypto.subtle.deriveBits({ name: "X25519", public: theirs }, pair.privateKey, 256));
  const eaePrk = await labeledExtract(KEM_SUITE, NONE, "eae_prk", dh);
  const sharedSecret = await labeledExpand(KEM_SUITE, eaePrk, "shared_secret", joined(enc, pair.publicBytes), 32);
  const pskIdHash = await labeledExtract(HPKE_SUITE, NONE, "psk_id_hash", NONE);
  const infoHash = await labeledExtract(HPKE_SUITE, NONE, "info_hash", info);
  const context = joined(number(0, 1), pskIdHash, infoHash);
  const secret = await labeledExtract(HPKE_SUITE, sharedSecret, "secret", NONE);
  const key = await labeledExpand(HPKE_SUITE, secret, "key", context, 32);
  const nonce = await labeledExpand(HPKE_SUITE, secret, "base_nonce", context, 12);
  const imported = await crypto.subtle.importKey("raw", key, "AES-GCM", false, ["decrypt"]);
  return new Uint8Array(await crypto.subtle.decrypt({ name: "AES-GCM", iv: nonce }, imported, ciphertext));
}
