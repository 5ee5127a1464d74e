"use strict";
{% include "slider.js" %}
const byId = (id) => document.getElementById(id);
const form = byId("wishes"), drop = byId("drop"), list = byId("list");
const MOST_BYTES = Number(drop.dataset.most), EXTENSIONS = drop.dataset.extensions.split(" ");
const AT_ONCE = 3; // pictures that are on their way or wait at the server; the others wait here
const PAUSE = 400; // milliseconds between two questions
const BLANK = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg'/%3E";
const pictures = [];
let saved = new Set();

function wishes() {
  const task = form.elements.task.value, fields = new FormData(form), asked = new URLSearchParams();
  for (const [name, value] of fields) {
    const owner = form.querySelector(`[name="${name}"]`).closest("[data-for]");
    if (value && (!owner || owner.dataset.for === task)) asked.set(name, value);
  }
  if (asked.has("size")) asked.delete("scale");
  return asked.toString();
}

class Picture {
  constructor(file) {
    this.file = file;
    this.id = null;
    this.card = byId("picture").content.firstElementChild.cloneNode(true);
    this.find = (selector) => this.card.querySelector(selector);
    this.find("h2").textContent = file.name;
    this.find("progress").setAttribute("aria-label", `Progress of ${file.name}`);
    this.find(".remove").setAttribute("aria-label", `Remove ${file.name}`);
    this.find(".remove").addEventListener("click", () => remove(this));
    this.find(".retry").addEventListener("click", () => { this.begin(); work(); });
    this.find(".save").addEventListener("click", () => saved.add(this));
    const thumb = this.find(".thumb");
    thumb.addEventListener("error", () => { thumb.src = BLANK; });
    this.url = URL.createObjectURL(file);
    if (file.type && !/tiff|hei[cf]|jxl/.test(file.type)) thumb.src = this.url; else thumb.src = BLANK;
    makeSlider(this.card);
    list.append(this.card);
    this.begin();
  }
  begin() {
    this.forget();
    this.wishes = wishes();
    this.show("ready", "waiting");
  }
  forget() {
    if (this.id) fetch(`api/orders/${this.id}`, {method: "DELETE", keepalive: true}).catch(() => {});
    this.id = this.result = null;
    this.turn = (this.turn ?? 0) + 1; // answers to earlier questions say nothing any more
    saved.delete(this);
  }
  show(state, text, progress) {
    this.state = state;
    this.find(".hint").textContent = text;
    const bar = this.find("progress");
    bar.hidden = state === "done" || state === "failed";
    if (progress === undefined) bar.value = 0; else bar.value = progress;
    this.find(".retry").hidden = state !== "failed";
    this.find(".save").hidden = this.find(".compare").hidden = state !== "done";
    this.card.classList.toggle("failed", state === "failed");
    this.card.setAttribute("aria-busy", String(["ready", "sent"].includes(state)));
  }
  async send() {
    this.show("sent", "being read");
    if (this.file.size > MOST_BYTES) return this.fail(`Larger than ${MOST_BYTES / 1e6} MB, which is the most that is taken.`);
    const turn = this.turn;
    const sent = await ask(`api/orders?name=${encodeURIComponent(this.file.name)}&${this.wishes}`,
      {method: "POST", body: this.file, headers: {"Content-Type": "application/octet-stream"}});
    if (turn !== this.turn) {
      if (sent.id) fetch(`api/orders/${sent.id}`, {method: "DELETE"}).catch(() => {});
    } else if (sent.busy) this.show("ready", "waiting");
    else if (sent.error) this.fail(sent.error);
    else { this.id = sent.id; this.follow(sent); }
  }
  async look() {
    const turn = this.turn, told = await ask(`api/orders/${this.id}`);
    if (turn === this.turn) this.follow(told);
  }
  follow(told) {
    if (told.result) return this.finish(told);
    if (told.error) return this.fail(told.error);
    const size = `${told.width} × ${told.height}`;
    if (told.state === "waiting") this.show("sent", `${size}, ${told.ahead} before it`);
    else this.show("sent", `${size}, ${Math.round(100 * told.progress)} % done`, told.progress);
  }
  fail(reason) {
    this.show("failed", reason);
    say(`${this.file.name}: ${reason}`);
  }
  finish(told) {
    const result = this.result = told.result, save = this.find(".save"), stage = this.find(".stage");
    const facts = [`${told.width} × ${told.height} → ${result.width} × ${result.height}`, bytes(result.bytes), `${result.seconds.toFixed(1)} s`];
    if (result.told) facts.push(result.told);
    save.href = `api/orders/${this.id}/result`;
    save.download = result.name;
    save.setAttribute("aria-label", `Save ${result.name}`);
    const [before, after] = stage.querySelectorAll("img");
    before.src = `api/orders/${this.id}/before`;
    after.src = `api/orders/${this.id}/after`;
    before.alt = `${this.file.name}: before`;
    after.alt = `${this.file.name}: after`;
    this.find(".thumb").src = before.src;
    stage.dataset.width = result.width;
    stage.style.aspectRatio = `${result.width} / ${result.height}`;
    stage.style.width = "100%";
    // A small picture is enlarged for looking, a tall one must fit the window.
    stage.style.maxWidth = stage.dataset.fit = `min(100%, ${Math.round(75 * result.width / result.height)}vh)`;
    stage.querySelector("input").setAttribute("aria-label", `${this.file.name}: divide at`);
    this.show("done", facts.join(" · "));
    say(`${this.file.name} is done.`);
  }
}

async function ask(address, options) {
  try {
    const answer = await fetch(address, options), told = await answer.json();
    return answer.status === 503 ? {busy: true} : told;
  } catch {
    return {error: "The server does not answer: is it still running?"};
  }
}

function bytes(count) {
  return count < 1e6 ? `${Math.max(1, Math.round(count / 1e3))} kB` : `${(count / 1e6).toFixed(1)} MB`;
}

function say(text) { byId("said").textContent = text; }

let working = false;
async function work() {
  summary();
  if (working) return;
  working = true;
  for (;;) {
    const under = pictures.filter((picture) => picture.state === "sent" && picture.id);
    for (const picture of under) await picture.look();
    const next = pictures.find((picture) => picture.state === "ready");
    if (next && under.length < AT_ONCE) await next.send();
    summary();
    if (!pictures.some((picture) => ["ready", "sent"].includes(picture.state))) break;
    await new Promise((resolve) => setTimeout(resolve, next && under.length < AT_ONCE ? 20 : PAUSE));
  }
  working = false;
}

function summary() {
  const done = pictures.filter((picture) => picture.state === "done"), failed = pictures.filter((picture) => picture.state === "failed");
  byId("all").hidden = !pictures.length;
  drop.classList.toggle("small", pictures.length > 0);
  byId("sum").textContent = `${done.length} of ${pictures.length} done` + (failed.length ? `, ${failed.length} failed` : "");
  const all = byId("save-all");
  all.hidden = done.length < 2;
  all.textContent = `Save all ${done.length}`;
  all.href = "api/orders.zip?" + done.map((picture) => `id=${picture.id}`).join("&");
  byId("again").hidden = !pictures.some((picture) => picture.wishes !== wishes());
  document.title = pictures.length && done.length + failed.length < pictures.length ? `${done.length}/${pictures.length} · mair` : "mair";
}

function remove(picture) {
  const place = pictures.indexOf(picture), next = pictures[place + 1] ?? pictures[place - 1];
  picture.forget();
  URL.revokeObjectURL(picture.url);
  picture.card.remove();
  pictures.splice(place, 1);
  say(`${picture.file.name} is removed.`);
  (next ? next.find(".remove") : byId("choose")).focus();
  summary();
}

function add(files) {
  const known = [...files].filter((file) => file.type.startsWith("image/") || EXTENSIONS.some((end) => file.name.toLowerCase().endsWith(end)));
  for (const file of known) pictures.push(new Picture(file));
  const others = files.length - known.length;
  say(`${known.length} pictures added` + (others ? `, ${others} files are none` : ""));
  if (others && !known.length) byId("sum").textContent = "No picture among these files";
  work();
}

async function below(entry) {
  if (entry.isFile) return new Promise((resolve) => entry.file((file) => resolve([file]), () => resolve([])));
  const reader = entry.createReader(), found = [];
  for (;;) {
    const some = await new Promise((resolve) => reader.readEntries(resolve, () => resolve([])));
    if (!some.length) return found;
    for (const inner of some) found.push(...await below(inner));
  }
}

async function dropped(data) {
  const entries = [...data.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.length) return add(data.files);
  const files = [];
  for (const entry of entries) files.push(...await below(entry));
  add(files);
}

function options(event) {
  if (event?.target.name === "scale") form.elements.size.value = "";
  for (const part of form.querySelectorAll("[data-for]")) part.hidden = part.dataset.for !== form.elements.task.value;
  // What has not begun takes the new wishes; what is done keeps its result until it is asked for again.
  for (const picture of pictures) if (picture.state === "ready") picture.wishes = wishes();
  summary();
}

form.addEventListener("change", options);
form.addEventListener("submit", (event) => event.preventDefault());
byId("choose").addEventListener("click", () => byId("files").click());
byId("folder").addEventListener("click", () => byId("tree").click());
for (const id of ["files", "tree"]) {
  byId(id).addEventListener("change", (event) => { add(event.target.files); event.target.value = ""; });
}
byId("again").addEventListener("click", () => {
  for (const picture of pictures) if (picture.wishes !== wishes()) picture.begin();
  work();
});
byId("clear").addEventListener("click", () => { for (const picture of [...pictures]) remove(picture); });
byId("save-all").addEventListener("click", () => { for (const picture of pictures) if (picture.state === "done") saved.add(picture); });
let depth = 0;
const dragging = (change) => { depth = Math.max(0, depth + change); document.body.classList.toggle("dragging", depth > 0); };
document.addEventListener("dragenter", () => dragging(1));
document.addEventListener("dragleave", () => dragging(-1));
document.addEventListener("dragover", (event) => event.preventDefault());
document.addEventListener("drop", (event) => { event.preventDefault(); depth = 0; dragging(0); dropped(event.dataTransfer); });
document.addEventListener("paste", (event) => { if (event.clipboardData.files.length) add(event.clipboardData.files); });
window.addEventListener("beforeunload", (event) => { if (pictures.some((picture) => picture.state === "done" && !saved.has(picture))) event.preventDefault(); });
window.addEventListener("pagehide", () => { for (const picture of pictures) picture.forget(); });
window.addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });
options();
