// A bundle dropped anywhere on the form goes into its file field; and the page of progress asks how far it is.
"use strict";

const form = document.querySelector("form.drop");
if (form) {
  const field = document.getElementById("archive-file");
  const hover = (event) => {
    event.preventDefault();
    form.classList.toggle("over", event.type === "dragover");
  };
  form.addEventListener("dragover", hover);
  form.addEventListener("dragleave", hover);
  form.addEventListener("drop", (event) => {
    hover(event);
    if (event.target.type === "file" || event.dataTransfer.files.length !== 1) return;
    field.files = event.dataTransfer.files;
    field.focus();
  });
}

const bar = document.getElementById("progress");
if (bar) {
  const words = document.getElementById("progress-text");
  const ask = async () => {
    try {
      const answer = await fetch(`${location.pathname}.json`);
      const said = await answer.json();
      if (said.ended) {
        location.reload();
        return;
      }
      bar.max = said.in_all || 1;
      bar.value = said.read;
      if (words.textContent !== said.sentence) words.textContent = said.sentence;
    } catch {
      // The viewer was stopped, or is busy: ask again.
    }
    setTimeout(ask, 500);
  };
  setTimeout(ask, 500);
}
