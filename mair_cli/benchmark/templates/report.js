"use strict";
{% include "slider.js" %}
for (const viewer of document.querySelectorAll(".viewer")) makeSlider(viewer);
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const valueOf = (row, column) => {
    const cell = row.cells[column];
    return cell ? cell.dataset.value ?? cell.textContent : "";
  };
  for (const head of table.querySelectorAll("th[data-column]")) {
    head.querySelector("button").addEventListener("click", () => {
      const column = Number(head.dataset.column);
      const down = head.dataset.numeric ? head.getAttribute("aria-sort") !== "descending" : head.getAttribute("aria-sort") === "ascending";
      for (const other of table.querySelectorAll("th")) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const rows = [...body.rows];
      rows.sort((a, b) => {
        const x = valueOf(a, column), y = valueOf(b, column);
        if (!head.dataset.numeric) return (down ? -1 : 1) * x.localeCompare(y, undefined, {numeric: true});
        const p = x === "" ? NaN : Number(x), q = y === "" ? NaN : Number(y);
        if (Number.isNaN(p) || Number.isNaN(q)) return Number.isNaN(p) - Number.isNaN(q);
        if (p === q) return 0;
        return (down ? -1 : 1) * (p < q ? -1 : 1);
      });
      body.append(...rows);
    });
  }
}
for (const choice of document.querySelectorAll("select.channel")) {
  choice.addEventListener("change", () => {
    for (const cell of document.querySelectorAll("[data-y]")) {
      const value = cell.dataset[choice.value];
      cell.dataset.value = value;
      cell.textContent = value === "" ? "" : value === "Infinity" ? "∞" : Number(value).toFixed(Number(cell.dataset.digits));
    }
    for (const name of document.querySelectorAll(".channel-name")) name.textContent = choice.value === "y" ? "Y" : "RGB";
    markBest();
  });
}
function markBest() {
  for (const row of document.querySelectorAll("table.wide tbody tr, table.wide tfoot tr")) {
    for (const kind of ["psnr", "ssim"]) {
      const cells = [...row.querySelectorAll("td." + kind)].filter((cell) => (cell.dataset.value ?? "") !== "");
      const best = Math.max(...cells.map((cell) => Number(cell.dataset.value)));
      for (const cell of cells) cell.classList.toggle("best", cells.length > 1 && Number(cell.dataset.value) === best);
    }
  }
}
markBest();
