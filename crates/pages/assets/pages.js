// Makes pages more comfortable; each works without it.
"use strict";

// A refusal is read first.
document.querySelector(".error-summary")?.focus();

// A second click on a button sends nothing: the first is on its way. The key in the form makes a
// second request harmless in any case.
for (const form of document.forms) {
  form.addEventListener("submit", (event) => {
    if (form.dataset.sent && Date.now() - Number(form.dataset.sent) < 3000) {
      event.preventDefault();
      return;
    }
    form.dataset.sent = String(Date.now());
  });
}
// A page that comes back from the browser's memory may be sent again.
addEventListener("pageshow", () => {
  for (const form of document.forms) delete form.dataset.sent;
});

// The log grows while it is looked at.
const followed = document.querySelector("[data-follow]");
if (followed && window.EventSource) {
  const list = document.getElementById("log-entries");
  let newest = Number(followed.dataset.follow);
  let asked = false;
  const stream = new EventSource(`/pages/log/stream?after=${newest}`);
  const refresh = async () => {
    asked = false;
    const answer = await fetch(`/pages/log/newer?after=${newest}`);
    if (!answer.ok) return;
    const part = document.createElement("template");
    part.innerHTML = await answer.text();
    const first = part.content.querySelector("[data-position]");
    if (!first || Number(first.dataset.position) <= newest) return;
    newest = Number(first.dataset.position);
    list.prepend(part.content);
    followed.textContent = "New entries are shown as they are recorded.";
  };
  // Many entries at once are one request.
  stream.onmessage = stream.onerror = () => {
    if (!asked) {
      asked = true;
      setTimeout(refresh, 300);
    }
  };
  for (const type of followed.dataset.types?.split(" ") ?? []) stream.addEventListener(type, stream.onmessage);
}

// Work that goes on is shown as it goes, without the page being loaded again.
const atWork = document.querySelector("[data-at-work]");
if (atWork) {
  const look = async () => {
    const answer = await fetch(location.href).catch(() => null);
    if (answer?.ok) {
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const part = page.querySelector("[data-at-work]");
      if (!part) return location.reload();
      if (part.textContent !== atWork.textContent) atWork.replaceChildren(...part.childNodes);
    }
    setTimeout(look, 2000);
  };
  setTimeout(look, 2000);
}
