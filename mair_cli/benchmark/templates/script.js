"use strict";
for (const viewer of document.querySelectorAll(".viewer")) {
  const stage = viewer.querySelector(".stage"), slider = stage.querySelector("input");
  const images = [...stage.querySelectorAll("img")];
  const sides = {left: viewer.querySelector("select.left"), right: viewer.querySelector("select.right")};
  const tags = {left: stage.querySelector(".tag.l"), right: stage.querySelector(".tag.r")};
  const move = (share) => {
    slider.value = Math.max(0, Math.min(100, share));
    stage.style.setProperty("--at", slider.value + "%");
  };
  const choose = () => {
    for (const side of ["left", "right"]) {
      images.forEach((image, i) => image.classList.toggle(side, i === Number(sides[side].value)));
      tags[side].textContent = sides[side].selectedOptions[0].textContent;
    }
  };
  const follow = (event) => {
    const box = stage.getBoundingClientRect();
    move(100 * (event.clientX - box.left) / box.width);
  };
  slider.addEventListener("input", () => move(Number(slider.value)));
  stage.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    stage.setPointerCapture(event.pointerId);
    follow(event);
    slider.focus({preventScroll: true});
    event.preventDefault();
  });
  stage.addEventListener("pointermove", (event) => {
    if (stage.hasPointerCapture(event.pointerId)) follow(event);
  });
  for (const side of ["left", "right"]) sides[side].addEventListener("change", choose);
  for (const button of viewer.querySelectorAll(".zoom button")) {
    button.addEventListener("click", () => {
      const zoom = Number(button.dataset.zoom);
      stage.style.width = zoom ? zoom * stage.dataset.width + "px" : "";
      stage.style.maxWidth = zoom ? "none" : "100%";
      stage.classList.toggle("sharp", zoom > 1);
      for (const other of viewer.querySelectorAll(".zoom button")) other.setAttribute("aria-pressed", other === button);
    });
  }
  choose();
}
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
