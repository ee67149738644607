// My scores: fetches the sealed copies, opens them here, and puts what they say on the page. Nothing of that
// is sent anywhere; told is only that the answer to a request came.
import { fromHex, hex } from "./bytes.js";
import { disclosurePair, find } from "./device_key.js";
import { MismatchError, openCopy } from "./mirror_copy.js";

const page = document.querySelector("[data-scores]");
const words = JSON.parse(page.dataset.words);
const owed = new Set(page.dataset.owed.split(" ").filter(Boolean));
const isJapanese = document.documentElement.lang === "ja";
const PAGE = 64;

const filled = (text, values) => text.replace(/\{(\w+)\}/g, (_, name) => values[name]);
const percent = edge => String(Math.round(Number(edge) * 1000) / 10);
const known = code => code.split("-").length > 1 && words[`said ${code}`] === undefined
  ? code.split("-").map(part => words[`said ${part}`] ?? part).join(" – ")
  : words[`said ${code}`] ?? code;

// As everywhere on these pages: the time of Japan in Japanese, UTC in English.
function moment(seconds) {
  const shifted = new Date((seconds + (isJapanese ? 9 * 3600 : 0)) * 1000).toISOString();
  return `${shifted.slice(0, 10)} ${shifted.slice(11, 16)} ${isJapanese ? "JST" : "UTC"}`;
}

function card(title, sentences, style = "card") {
  const section = document.createElement("section"), heading = document.createElement("h3");
  const list = document.createElement("ul");
  section.className = style;
  heading.textContent = title;
  for (const sentence of sentences) list.append(Object.assign(document.createElement("li"), { textContent: sentence }));
  section.append(heading, list);
  return section;
}

function scoreCard(record, names) {
  const edges = ["0", ...record.band_edges, "1"];
  const values = {
    ...names,
    band: record.band + 1, bands: record.band_edges.length + 1,
    low: percent(edges[record.band]), high: percent(edges[record.band + 1]),
    computed: moment(record.computed_at), expires: moment(record.expires_at), gate: record.gate_index,
    place: record.contest, rate: record.base_rate_percent, categories: record.data_categories.map(known).join(", "),
    edges: record.band_edges.map(edge => `${percent(edge)} %`).join(" / "),
  };
  const lines = ["band", ...record.reasons.map(reason => `reason ${reason}`), "times", "contest"];
  return card(filled(words.score, values), lines.map(line => filled(words[line], values)));
}

function cardOf({ kind, body }, called, shown) {
  const names = { company: called, position: (body.committed?.record ?? body).position };
  if (kind === "accesses") {
    const lines = body.accesses.map(item =>
      filled(words.access, { role: known(item.role), action: known(item.action), at: moment(item.at) }));
    return card(filled(words.accesses, names), lines.length ? lines : [words.no_accesses]);
  }
  const score = kind === "score" ? body : body.score;
  if (!score.committed)
    return card(words.answer, [filled(words.nothing, { ...names, at: moment(body.at) })]);
  if (shown.has(score.committed.salt)) return null;
  shown.add(score.committed.salt);
  return scoreCard(score.committed.record, names);
}

async function posted(path, fields) {
  const form = new URLSearchParams({ csrf: page.dataset.csrf, ...fields });
  const answer = await fetch(path, { method: "POST", body: form, credentials: "same-origin" });
  if (!answer.ok) throw new Error(String(answer.status));
  return answer.json();
}

async function* copiesOf(mailbox) {
  for (let after = 0, count = PAGE; count === PAGE;) {
    const { copies } = await posted("/scores/copies", { mailbox, after: String(after) });
    count = copies.length;
    for (const copy of copies) {
      after = copy.seq;
      yield fromHex(copy.copy);
    }
  }
}

// Whether a company says "no score" although it deposited one that has not expired, or although a row of hers was
// provided to it before (docs/rights/mirror-and-disclosure.md §4): its signed words, or nothing.
function contradiction(answers, records, provided) {
  for (const copies of answers.values()) {
    const [{ body, evidence }] = copies;
    const isWhole = new Set(copies.map(copy => copy.body.part)).size === body.parts;
    if (!isWhole || copies.some(copy => copy.body.score.committed)) continue;
    const isDeposited = records.some(record => record.campaign === body.campaign
      && record.position === body.position && body.at < record.expires_at);
    const isProvided = provided.some(([campaign, position, at]) =>
      campaign === body.campaign && position === body.position && at <= body.at);
    if (isDeposited || isProvided) return evidence;
  }
  return null;
}

async function openBox(box, device) {
  const { company, mailbox, called } = box.dataset;
  const context = {
    company, mailbox,
    pair: await disclosurePair(device, company),
    companyKeys: JSON.parse(box.dataset.companyKeys),
    deposits: JSON.parse(box.dataset.deposits),
  };
  const opened = box.querySelector("[data-opened]"), shown = new Set(), answers = new Map(), records = [];
  const counts = { closed: 0, mismatch: 0 };
  for await (const sealed of copiesOf(mailbox)) {
    try {
      const said = await openCopy(sealed, context);
      const made = cardOf(said, called, shown);
      if (made) opened.append(made);
      if (said.kind === "score") records.push(said.body.committed.record);
      if (said.kind === "answer") {
        const { request, parts } = said.body;
        answers.set(request, [...(answers.get(request) ?? []), said]);
        const received = new Set(answers.get(request).map(copy => copy.body.part));
        if (received.size === parts && owed.delete(request)) await posted("/scores/received", { item: request });
      }
    } catch (error) {
      counts[error instanceof MismatchError ? "mismatch" : "closed"] += 1;
    }
  }
  const evidence = contradiction(answers, records, JSON.parse(box.dataset.provided));
  if (evidence) {
    const form = box.querySelector("[data-contradiction]");
    form.elements.namedItem("evidence").value = hex(evidence);
    form.hidden = false;
  }
  for (const [name, count] of Object.entries(counts)) box.querySelector(`[data-${name}]`).hidden = count === 0;
  box.querySelector("[data-done]").hidden = false;
}

async function begin() {
  const device = await find(page.dataset.key);
  const button = page.querySelector("[data-open]");
  page.querySelector("[data-no-key]").hidden = Boolean(device);
  button.hidden = !device;
  button.addEventListener("click", async () => {
    button.disabled = true;
    page.querySelector("[data-opening]").hidden = false;
    for (const box of page.querySelectorAll("[data-mailbox]")) await openBox(box, device);
    page.querySelector("[data-opening]").hidden = true;
    button.hidden = true;
  });
}
begin().catch(() => { page.querySelector("[data-no-key]").hidden = false; });
