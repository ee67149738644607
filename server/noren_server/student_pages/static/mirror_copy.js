// Opening a sealed copy (docs/rights/mirror-and-disclosure.md §2), in the order that is laid down there:
// size, HPKE and padding, the company's signature, whom it is about, and for a score the ledger's deposit.
import { canonical, fromHex, isSame, joined, number, sha256, utf8 } from "./bytes.js";
import { isSigned } from "./device_key.js";
import { open } from "./hpke.js";

export const COPY = 4096;
const LENGTH = 4, SIGNATURE = 64;
const COPY_LABEL = "noren/v1/mirror-copy\0", STATEMENT_LABEL = "noren/v1/mirror-statement";
const COMMITMENT_LABEL = "noren/v1/mirror-commitment\0";

export class MismatchError extends Error {}

function unpadded(plaintext) {
  const end = LENGTH + plaintext.slice(0, LENGTH).reduce((sum, byte) => sum * 256 + byte, 0);
  if (end > plaintext.length || plaintext.slice(end).some(byte => byte !== 0)) throw new Error("padding");
  return plaintext.slice(LENGTH, end);
}

const node = async (left, right) => sha256(joined(number(1, 1), left, right));

// RFC 6962, in a tree whose size is a power of two.
async function rootOf(leaf, place, siblings, size) {
  if (2 ** siblings.length !== size || place >= size) throw new MismatchError("place");
  let hash = leaf, at = place;
  for (const sibling of siblings) {
    hash = at % 2 ? await node(sibling, hash) : await node(hash, sibling);
    at = Math.floor(at / 2);
  }
  return hash;
}

// A score is the one that the ledger commits to: its deposit stands at the index, the record is under its root.
async function verifyScore(score, company, deposits) {
  const { record, salt, siblings, place, tree_size: size } = score.committed;
  const [campaign, root] = deposits[score.deposit_index] ?? [];
  if (!root || campaign !== record.campaign || record.company !== company) throw new MismatchError("deposit");
  const commitment = await sha256(joined(utf8(COMMITMENT_LABEL), fromHex(salt), utf8(canonical(record))));
  const leaf = await sha256(joined(number(0, 1), commitment));
  if (!isSame(await rootOf(leaf, place, siblings.map(fromHex), size), fromHex(root))) throw new MismatchError("root");
}

const SAME = ["company", "campaign", "position", "mailbox"];

// What a company put in this mailbox: {kind, body}, and its signed words as evidence. Throws, with MismatchError
// where its own words contradict what it committed to.
export async function openCopy(sealed, { pair, company, mailbox, companyKeys, deposits }) {
  if (sealed.length !== COPY) throw new Error("size");
  const info = joined(utf8(`${COPY_LABEL}${company}\0`), fromHex(mailbox));
  const content = unpadded(await open(sealed, pair, info));
  const given = content.slice(0, SIGNATURE), statement = content.slice(SIGNATURE);
  let isTheirs = false;
  for (const key of companyKeys) isTheirs ||= await isSigned(fromHex(key), STATEMENT_LABEL, statement, given);
  if (!isTheirs) throw new Error("signature");
  const text = new TextDecoder("utf-8", { fatal: true }).decode(statement);
  const said = JSON.parse(text);
  if (canonical(said) !== text) throw new Error("encoding");
  const { kind, body } = said;
  const about = kind === "score" ? body.committed.record : body;
  if (about.company !== company || about.mailbox !== mailbox) throw new Error("mailbox");
  if (kind === "score") await verifyScore(body, company, deposits);
  if (kind === "answer" && body.score.committed) {
    if (SAME.some(name => body.score.committed.record[name] !== body[name])) throw new MismatchError("about");
    await verifyScore(body.score, company, deposits);
  }
  return { kind, body, evidence: content };
}
