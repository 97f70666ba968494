"use strict";
// A table of class `sortable` is sorted by the column whose title is pressed: numbers by value, text by the alphabet.
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  if (!body || body.rows.length < 2) continue;
  const collator = new Intl.Collator(undefined, { numeric: true });
  const valueOf = (row, column) => row.cells[column].dataset.value ?? row.cells[column].textContent.trim();
  const compare = (a, b) => (a !== "" && b !== "" && !isNaN(a) && !isNaN(b) ? a - b : collator.compare(a, b));
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const sign = down ? -1 : 1;
      const rows = [...body.rows];
      rows.sort((a, b) => sign * compare(valueOf(a, column), valueOf(b, column)));
      body.append(...rows);
    });
  });
}
// On a map of samples the one nearest to the pointer is shown; arrow keys go from one to the next.
for (const map of document.querySelectorAll(".map")) {
  const spots = JSON.parse(map.querySelector("script").textContent);
  const [svg, ring, card, spoken] = ["svg", ".ring", ".card", "[aria-live]"].map((name) => map.querySelector(name));
  const reach = 24;
  let current = -1;
  const placeOf = ([x, y]) => {
    const drawing = svg.getBoundingClientRect(), frame = map.getBoundingClientRect();
    return [drawing.left - frame.left + x * drawing.width, drawing.top - frame.top + y * drawing.height];
  };
  const show = (index) => {
    current = index;
    ring.hidden = card.hidden = index < 0;
    if (index < 0) return;
    const [, , lines, source] = spots[index], [left, top] = placeOf(spots[index]);
    const parts = lines.map((line) => Object.assign(document.createElement("span"), { textContent: line }));
    if (source) parts.unshift(Object.assign(document.createElement("img"), { src: source, alt: "" }));
    card.replaceChildren(...parts);
    ring.style.left = `${left}px`;
    ring.style.top = `${top}px`;
    card.style.left = `${Math.max(0, Math.min(left + 14, map.clientWidth - card.offsetWidth))}px`;
    card.style.top = `${top + 14}px`;
  };
  const nearest = (distance) => {
    let best = -1, least = Infinity;
    spots.forEach((spot, index) => {
      const value = distance(spot, index);
      if (value < least) [best, least] = [index, value];
    });
    return [best, least];
  };
  const point = (event) => {
    const frame = map.getBoundingClientRect();
    const [best, away] = nearest((spot) => {
      const [left, top] = placeOf(spot);
      return Math.hypot(frame.left + left - event.clientX, frame.top + top - event.clientY);
    });
    const found = away <= reach ? best : -1;
    if (found !== current) show(found);
  };
  const towards = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  map.addEventListener("pointermove", point);
  map.addEventListener("pointerdown", point);
  map.addEventListener("pointerleave", () => show(-1));
  map.addEventListener("keydown", (event) => {
    if (event.key === "Escape") show(-1);
    const way = towards[event.key];
    if (!way || !spots.length) return;
    event.preventDefault();
    const [x, y] = current < 0 ? [0.5, 0.5] : spots[current];
    const [next] = nearest((spot, index) => {
      const along = (spot[0] - x) * way[0] + (spot[1] - y) * way[1];
      const across = Math.abs((spot[0] - x) * way[1]) + Math.abs((spot[1] - y) * way[0]);
      if (current < 0) return Math.hypot(along, across);
      return index !== current && along > 0 ? along + 2 * across : Infinity;
    });
    if (next < 0) return;
    show(next);
    spoken.textContent = spots[next][2].join(", ");
  });
}
