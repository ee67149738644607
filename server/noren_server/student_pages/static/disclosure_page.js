// A request for disclosure: with the key that this browser has now, if the one of the consent is lost. The
// platform takes another key than before only if she was found to be herself since.
import { hex } from "./bytes.js";
import { disclosurePair, find } from "./device_key.js";

const form = document.querySelector("form[data-disclosure]");
let isSending = false;

form.addEventListener("submit", async event => {
  const company = form.elements.namedItem("company").value;
  if (!company || isSending) return;
  event.preventDefault();
  isSending = true;
  const device = await find(form.dataset.key).catch(() => undefined);
  if (device)
    form.elements.namedItem("disclosure_key").value = hex((await disclosurePair(device, company)).publicBytes);
  form.submit();
});
