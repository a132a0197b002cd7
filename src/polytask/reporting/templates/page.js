"use strict";
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const heads = table.tHead.rows[0].cells;
  for (const head of heads) {
    if (!head.textContent.trim()) continue;
    const button = document.createElement("button");
    button.type = "button";
    button.title = table.dataset.sort;
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "descending";
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", down ? "ascending" : "descending");
      const sign = down ? 1 : -1;
      const numeric = head.dataset.numeric !== undefined;
      const key = (row) => {
        const cell = row.cells[head.cellIndex];
        if (!numeric) return cell.textContent;
        const text = cell.dataset.value;
        return text === "" ? NaN : Number(text);
      };
      const order = (a, b) => {
        const [x, y] = [key(a), key(b)];
        if (!numeric) return sign * x.localeCompare(y, undefined, {numeric: true});
        if (isNaN(x) || isNaN(y)) return isNaN(x) - isNaN(y);
        return sign * (x - y);
      };
      body.append(...[...body.rows].sort(order));
    });
  }
}

// Where a table or a map is wider than the page, it says so.
const cue = () => {
  for (const region of document.querySelectorAll(".swipe + .scroll")) {
    if (!region.clientWidth) continue;
    const wider = region.scrollWidth > region.clientWidth + 1;
    region.previousElementSibling.classList.toggle("wider", wider);
    region.previousElementSibling.classList.toggle("whole", !wider);
  }
};
addEventListener("resize", cue);
document.addEventListener("toggle", cue, true);
cue();
