// Consent events as the student's own key signs them (docs/rights/consent.md §2).
import { canonical, hex, utf8 } from "./bytes.js";
import { signature } from "./device_key.js";

const LABEL = "noren/v1/consent-event/student";

// The envelope of an event with this body, as the platform takes it.
export async function signedEvent(device, body) {
  const signed = await signature(device, LABEL, utf8(canonical(body)));
  return canonical({ body, signature: hex(signed) });
}

// This device's time, but never before what it answers to: clocks differ.
export const timeAfter = earlier => Math.max(Math.floor(Date.now() / 1000), Number(earlier) || 0);

// Sends a form with the event in it.
export function send(form, event) {
  form.elements.namedItem("event").value = event;
  form.submit();
}
