// Gives a before/after slider, made by the macro `comparison`, its behaviour.
function makeSlider(viewer) {
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
      stage.style.maxWidth = zoom ? "none" : stage.dataset.fit ?? "100%";
      stage.classList.toggle("sharp", zoom > 1);
      for (const other of viewer.querySelectorAll(".zoom button")) other.setAttribute("aria-pressed", other === button);
    });
  }
  choose();
}
