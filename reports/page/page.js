"use strict";
// What a reader can do beyond reading: sort tables, filter them, read out the points of figures. Without this script the
// page is complete.

const collator = new Intl.Collator("en", { numeric: true, sensitivity: "base" });

function key(row, column, numeric) {
  const cell = row.cells[column];
  if (numeric) return cell.dataset.value === undefined ? null : Number(cell.dataset.value);
  const text = cell.textContent.trim();
  return text === "" || text === "–" ? null : text;
}

// Stable, and what has no value comes last in both directions.
function sorted(rows, column, numeric, sign) {
  const keyed = rows.map((row) => [key(row, column, numeric), row]);
  keyed.sort(([a], [b]) => {
    if (a === null || b === null) return (a === null) - (b === null);
    return sign * (numeric ? a - b : collator.compare(a, b));
  });
  return keyed.map(([, row]) => row);
}

function makeSortable(table) {
  const heads = [...table.tHead.rows[0].cells];
  const body = table.tBodies[0];
  const printed = [...body.rows];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      // ascending, descending, as printed
      const next = { ascending: "descending", descending: null }[head.getAttribute("aria-sort")];
      const order = next === undefined ? "ascending" : next;
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      if (order) head.setAttribute("aria-sort", order);
      const numeric = printed.some((row) => row.cells[column].dataset.value !== undefined);
      body.append(...(order ? sorted(printed, column, numeric, order === "ascending" ? 1 : -1) : printed));
    });
  });
}

function makeFilter(input) {
  const rows = [...document.getElementById(input.dataset.filters).tBodies[0].rows];
  const texts = rows.map((row) => row.textContent.toLowerCase());
  const said = input.closest(".filter").querySelector("output");
  input.closest(".filter").hidden = false;
  input.addEventListener("input", () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    rows.forEach((row, index) => {
      row.hidden = !words.every((word) => texts[index].includes(word));
    });
    const shown = rows.filter((row) => !row.hidden).length;
    said.textContent = words.length ? `${shown} of ${rows.length} rows` : "";
  });
}

// The point nearest to the pointer, or, with the arrow keys, one after the other.
function makeReadable(drawing) {
  const points = [...drawing.querySelectorAll(".points circle")];
  const readout = drawing.parentElement.querySelector(".readout");
  if (!points.length) return;
  let here = -1;

  function show(index) {
    if (here >= 0) points[here].classList.remove("here");
    here = index;
    if (here >= 0) points[here].classList.add("here");
    readout.textContent = here >= 0 ? points[here].textContent : "Its values: by pointer, or by focus and arrow keys.";
  }

  function nearest(event) {
    let found = -1;
    let least = 40 ** 2;
    points.forEach((point, index) => {
      const box = point.getBoundingClientRect();
      const [x, y] = [box.x + box.width / 2 - event.clientX, box.y + box.height / 2 - event.clientY];
      if (x * x + y * y < least) [found, least] = [index, x * x + y * y];
    });
    return found;
  }

  drawing.tabIndex = 0;
  readout.hidden = false;
  // a finger moves to scroll, and taps to point
  for (const kind of ["pointermove", "pointerdown"]) drawing.addEventListener(kind, (event) => show(nearest(event)));
  drawing.addEventListener("pointerleave", () => show(-1));
  drawing.addEventListener("blur", () => show(-1));
  drawing.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (event.key === "Escape") show(-1);
    if (step === undefined) return;
    event.preventDefault();
    show((here + step + points.length + (here < 0 && step < 0 ? 1 : 0)) % points.length);
  });
  show(-1);
}

document.querySelectorAll("table[id]").forEach(makeSortable);
document.querySelectorAll("input[data-filters]").forEach(makeFilter);
document.querySelectorAll(".drawing").forEach(makeReadable);
