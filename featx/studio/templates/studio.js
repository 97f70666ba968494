"use strict";
// Names are only ever set as text, and what cannot be shown in them is written as escapes.
const printable = (text) =>
  text.replace(/[\p{Cc}\p{Cs}\p{Zl}\p{Zp}\u202a-\u202e\u2066-\u2069]/gu, (mark) => "\\u" + mark.codePointAt(0).toString(16).padStart(4, "0"));

const element = (name, properties = {}, ...children) => {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children.filter((child) => child !== null));
  return made;
};

// A path may be broken after its slashes.
const breakable = (text) => text.split("/").flatMap((part, i) => (i ? ["/", element("wbr"), part] : [part]));

// Rows without a word that is typed are hidden.
for (const box of document.querySelectorAll(".filter")) {
  const rows = document.getElementById(box.getAttribute("aria-controls")).querySelectorAll("tbody tr");
  const status = box.closest("p").querySelector("[role=status]");
  box.addEventListener("input", () => {
    const words = box.value.toLowerCase().split(/\s+/);
    let shown = 0;
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
      shown += !row.hidden;
    }
    status.textContent = `${shown} of ${rows.length} shown`;
  });
}

const files = document.getElementById("files");
if (files) {
  const run = document.getElementById("run");
  const status = document.getElementById("status");
  const answers = document.getElementById("answers");
  const token = document.querySelector("meta[name=featx-token]").content;

  const picture = (source, words, kind) =>
    source ? element("img", { src: source, alt: words, className: kind })
      : element("div", { className: `missing ${kind}`, textContent: "?", role: "img", ariaLabel: `${words}, not at hand` });

  const numbers = (found) =>
    element("ul", { className: "numbers" }, ...found.map(({ name, text, share }) =>
      element("li", {}, element("span", { textContent: name }),
        share === null ? null : element("meter", { value: share, ariaLabel: name }),
        element("span", { className: "number", textContent: text }))));

  const neighbours = (found) =>
    element("ol", { className: "pictures" }, ...found.map((one) => {
      const lines = [one.label ?? "no label", one.split ? `${one.key} (${one.split})` : one.key, `distance ${one.distance.toFixed(3)}`];
      return element("li", {}, element("figure", {}, picture(one.picture, one.key, ""),
        element("figcaption", {}, ...lines.map((line) => element("span", {}, ...breakable(line))))));
    }));

  const failed = (why) => element("p", { className: "said failed", textContent: why });

  const shown = (said) => {
    const near = said.neighbors.length ? [element("h4", { textContent: "Nearest images of the store" }), neighbours(said.neighbors)] : [];
    return [element("p", { className: "said", textContent: said.text }), numbers(said.numbers), ...near,
      said.note ? element("p", { className: "faint", textContent: said.note }) : null];
  };

  const ask = async (file, address) => {
    if (file.size > files.dataset.most) return { error: `The file is too large: images have at most ${files.dataset.most >> 20} MB here.` };
    let body;
    try {
      body = await file.arrayBuffer();
    } catch {
      return { error: "This cannot be read: drop files, not folders." };
    }
    try {
      const answer = await fetch(address, { method: "POST", body, headers: { "X-Featx-Token": token } });
      return await answer.json();
    } catch {
      return { error: "The studio does not answer: is it still running?" };
    }
  };

  // One after the other: a network works on one image at a time.
  let last = Promise.resolve();
  const known = new Set();
  const enqueue = (dropped) => {
    const address = `/runs/${run.value}/answer`, by = run.selectedOptions[0].textContent;
    for (const file of dropped) {
      last = last.then(async () => {
        const name = printable(file.name);
        status.textContent = `Asking about ${name} …${known.has(address) ? "" : " The first time, the run's network is loaded."}`;
        const said = await ask(file, address);
        known.add(address);
        const words = said.error ? [failed(said.error)] : shown(said);
        answers.prepend(element("li", {}, picture(said.picture, name, "picture"),
          element("div", {}, element("h3", { textContent: name }), ...words.filter((word) => word !== null),
            element("p", { className: "faint", textContent: `by ${by}` }))));
        status.textContent = `${name}: ${said.error ?? said.text}`;
      });
    }
  };

  files.addEventListener("change", () => {
    enqueue(files.files);
    files.value = "";
  });
  const hasFiles = (event) => event.dataTransfer !== null && event.dataTransfer.types.includes("Files");
  const mark = (on) => document.body.classList.toggle("dragging", on);
  addEventListener("dragover", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    mark(true);
  });
  addEventListener("dragleave", (event) => event.relatedTarget === null && mark(false));
  addEventListener("drop", (event) => {
    mark(false);
    if (!hasFiles(event)) return;
    event.preventDefault();
    enqueue(event.dataTransfer.files);
  });
  addEventListener("paste", (event) => enqueue(event.clipboardData.files));
}
