// My offers: her word that she knows of one, signed.
import { send, signedEvent, timeAfter } from "./consent_event.js";
import { find } from "./device_key.js";

for (const form of document.querySelectorAll("form[data-offer]"))
  form.addEventListener("submit", async event => {
    event.preventDefault();
    const { student, key, company, position, season } = form.dataset;
    const device = await find(key).catch(() => undefined);
    if (!device) return location.assign("/consent/no-key");
    send(form, await signedEvent(device, {
      event: "OFFER_ACKNOWLEDGED", student, company, position, season, time: timeAfter(0),
    }));
  });
