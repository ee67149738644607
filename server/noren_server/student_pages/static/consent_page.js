// The consent screen: signs what was really shown, and shows nothing itself.
//
// The text that is hashed is the one that this browser shows now, not the one that the site says it sent. If
// they differ (a translation by the browser, an extension, a site that cheats), nothing is signed.
import { hex, sha256, utf8 } from "./bytes.js";
import { send, signedEvent, timeAfter } from "./consent_event.js";
import { disclosurePair, find } from "./device_key.js";

const opened = Date.now();
const TAKES_ADDRESS = ["train.decline_model", "score.offer_followup"];
// White space as the platform has it (Unicode's, without U+FEFF), which is not what \s means here.
const SPACE = /[\t-\r\x1c-\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+/g;

const shownText = () => document.body.innerText.normalize("NFC").replace(SPACE, " ").replace(/^ | $/g, "");

const clausesShown = () =>
  [...new Set([...document.querySelectorAll("[data-clause]")].map(item => item.dataset.clause))].sort();

async function answered(form) {
  const said = Object.fromEntries(new FormData(form));
  const screen = hex(await sha256(utf8(shownText())));
  if (screen !== said.screen) return location.assign("/consent/different");
  const device = await find(said.key);
  if (!device) return location.assign("/consent/no-key");
  const body = {
    event: said.kind,
    student: said.student,
    time: timeAfter(said.shown_at),
    purpose: said.purpose,
    company: said.company,
    position: said.position,
    season: said.season,
    policy: said.policy,
    record: said.record,
    screen,
    clauses: clausesShown(),
    action: "PRESS_DEDICATED_BUTTON",
    prechecked: false,
    bundled: false,
    dwell_ms: Math.max(0, Math.min(Date.now() - opened, 7 * 24 * 3600 * 1000)),
    expires_at: Number(said.expires_at),
  };
  if (said.kind === "GIVEN" && TAKES_ADDRESS.includes(said.purpose)) {
    const pair = await disclosurePair(device, said.company);
    body.identifier_kind = said.identifier_kind;
    body.identifier = said.identifier;
    body.disclosure_key = hex(pair.publicBytes);
  }
  const action = document.createElement("input");
  Object.assign(action, { type: "hidden", name: "action", value: "give" });
  form.append(action);
  send(form, await signedEvent(device, body));
}

let isSigning = false;
for (const form of document.querySelectorAll("form[data-purpose]"))
  form.addEventListener("submit", event => {
    if (event.submitter?.value !== "give") return;
    event.preventDefault();
    if (isSigning) return;
    isSigning = true;
    answered(form).catch(() => location.assign("/consent/no-key"));
  });
