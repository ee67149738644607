// My key: made in this browser, kept here so that no script can read it, registered once.
import { signedEvent, send, timeAfter } from "./consent_event.js";
import { deviceOf, find, keep, newSecret } from "./device_key.js";

const page = document.querySelector("[data-keys]");
const part = name => page.querySelector(`[data-part="${name}"]`);
const show = (...names) => {
  for (const item of page.querySelectorAll("[data-part]")) item.hidden = !names.includes(item.dataset.part);
};
const grouped = secret => secret.match(/.{8}/g).join(" ");
let secret = "";

async function begin() {
  if (!crypto.subtle || !window.indexedDB) return show("unable");
  const registered = page.dataset.registered;
  if (!registered) return show("none", "make");
  show(...(await find(registered) ? ["here"] : ["elsewhere", "restore", "replace"]));
}

// Draws a secret and shows it; nothing is kept or registered before she says that she has it.
function draw() {
  secret = newSecret();
  part("secret").querySelector("output").textContent = grouped(secret);
  show("secret");
  part("secret").querySelector("h2").focus();
}

function saveFile() {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([`${grouped(secret)}\n`], { type: "text/plain" }));
  link.download = "noren-device-key.txt";
  link.click();
  URL.revokeObjectURL(link.href);
}

async function register(form) {
  const device = await deviceOf(secret);
  await keep(device);
  const before = page.dataset.registered;
  send(form, await signedEvent(device, {
    event: "KEY_REGISTERED",
    student: page.dataset.student,
    time: timeAfter(page.dataset.since),
    key: device.key,
    replaces: before,
    reauthenticated: before !== "",
  }));
}

async function restore(form) {
  const wrong = form.querySelector("[data-wrong]");
  wrong.hidden = true;
  try {
    const device = await deviceOf(form.elements.namedItem("secret").value);
    if (device.key !== page.dataset.registered) throw new Error("another key");
    await keep(device);
    form.reset();
    location.reload();
  } catch {
    wrong.hidden = false;
    form.elements.namedItem("secret").focus();
  }
}

for (const button of page.querySelectorAll("[data-draw]")) button.addEventListener("click", draw);
page.querySelector("[data-save]").addEventListener("click", saveFile);
page.querySelector("[data-register]").addEventListener("submit", event => {
  event.preventDefault();
  register(event.target).catch(() => show("unable"));
});
page.querySelector("[data-restore]").addEventListener("submit", event => {
  event.preventDefault();
  restore(event.target);
});
begin().catch(() => show("unable"));
