// The page: controls, the address, the two workers, and what they say.

import manifest from "./manifest.json";
import { INTERPOLATION, SCALES, fitted, fromHash, network, networksOf, toHash } from "./state.js";
import { View } from "./view.js";
import workerProgram from "./worker.txt";

const $ = (id) => document.getElementById(id);
const OWN = "own";
const RANGES = ["strength", "blur", "noise", "jpeg", "zoom"];
const NO_WEBASSEMBLY =
  "This browser has no WebAssembly, so the networks cannot run here. Interpolation works.";
const WORDS = {
  zoom: (value) => `${value}x`,
  strength: (value) => `${Math.round(value * 100)} %`,
  blur: (value) => (value ? `${value} pixels` : "none"),
  noise: (value) => (value ? `${value} of 255` : "none"),
  jpeg: (value) => (value ? String(value) : "no JPEG"),
};

let state = fromHash(location.hash);
let own = null; // the name of the person's own photograph
let opened = null; // {width, height, lost} of what is open
let opening = 0;
let request = 0;
let waiting = false; // for the worker to have shown the newest request
let wanted = false; // another request, as soon as it has
let hasOriginal = false;
let touched = false; // whether anything was changed since the page was opened
const scores = { a: {}, b: {} };

// ---- workers -----------------------------------------------------------------------------------

const received = new Map();
window.receive = (place, text) => received.set(place, text);

// Load a script beside the page that hands over a binary as text; empty if it is not there.
function load(place) {
  return new Promise((resolve) => {
    const element = document.createElement("script");
    const done = () => {
      element.remove();
      resolve(received.get(place) ?? "");
      received.delete(place);
    };
    element.onload = element.onerror = done;
    element.src = `${place}.js`;
    document.head.append(element);
  });
}

// From its text, because a page in a folder may start no worker from a file.
function startWorker(name, listen) {
  const address = URL.createObjectURL(new Blob([workerProgram], { type: "text/javascript" }));
  const worker = new Worker(address, { name });
  worker.onmessage = async ({ data }) => {
    if (data.type !== "need") return listen(data);
    const text = await load(data.place);
    worker.postMessage({ type: "asset", place: data.place, text });
  };
  worker.onerror = (event) => say(`Something went wrong: ${event.message}`);
  return worker;
}

const pixels = startWorker("pixels", (data) => answers[data.type](data));
const networks = startWorker("networks", ({ text }) => ($("runtime").textContent = text));
const { port1, port2 } = new MessageChannel();
pixels.postMessage({ type: "connect", port: port1 }, [port1]);
networks.postMessage({ type: "connect", port: port2 }, [port2]);

const answers = {
  opened({ id, width, height, lost, overview }) {
    if (id !== opening) return;
    opened = { width, height, lost };
    previous = null;
    view.setOverview(overview);
    show();
    ask();
  },
  side({ id, side, box, size, rgba, preview }) {
    if (id !== request) return;
    view.draw(side, box, rgba, size);
    view.layers[side].layer.classList.toggle("preview", preview);
    if (preview) scores[side] = { waiting: true };
  },
  tile({ id, side, box, rgba }) {
    if (id === request) view.draw(side, box, rgba);
  },
  ready({ id, whole, hasOriginal: has }) {
    if (id !== request) return;
    hasOriginal = has;
    waiting = false;
    scores.whole = whole;
    showScores();
    if (wanted) ask();
  },
  score({ id, side, ...values }) {
    if (id !== request) return;
    const before = "psnr" in values ? {} : scores[side];
    scores[side] = { ...before, ...values };
    showScores();
  },
  progress({ id, done, total }) {
    if (id !== request) return;
    const what = total === 1 ? "The network works" : `The network works: part ${done + 1} of ${total}`;
    working(done < total ? what : "", done / total);
  },
  done({ id }) {
    if (id !== request) return;
    for (const { layer } of Object.values(view.layers)) layer.classList.remove("preview");
    if (!wanted) now("done");
    $("status").textContent = ["a", "b"].map((side) => `${title(state[side])}: ${$(`score-${side}`).textContent}`).join("; ");
  },
  saving({ share }) {
    if (saving) working(`Making the file: ${Math.round(share * 100)} %`, share);
  },
  saved({ blob }) {
    saving = false;
    $("save").disabled = false;
    working("");
    if (blob) download(blob);
    else say("Stopped; no file was made.", true);
  },
  error({ during, id, text }) {
    waiting = false;
    if (during === "save") {
      saving = false;
      $("save").disabled = false;
    }
    if (during === "open" && id !== opening) return;
    if (during === "render" && id !== request) return;
    working("");
    now("failed");
    if (during === "open") {
      const instead = previous;
      if (instead) {
        own = instead.own;
        change(instead.settings, false);
        previous = null;
      }
      if (opened) {
        show();
        wanted = true; // opening has cancelled it
      } else if (instead && !own) openCourse(state.image);
    }
    say(text, during === "render");
    if (wanted) ask();
  },
};

// ---- photographs -------------------------------------------------------------------------------

let previous = null; // what to go back to if a visitor's own file cannot be opened

function openCourse(name) {
  previous = null;
  own = null;
  openBy({ place: `photographs/${name}`, name });
}

function openOwn(blob, name) {
  const { image, shrink, zoom, x, y } = state;
  previous ??= { own, settings: { image, shrink, zoom, x, y } };
  own = name;
  touched = true;
  change({ image: OWN, shrink: false, zoom: 1, x: 0.5, y: 0.5 }, false);
  openBy({ blob, name });
}

function openFirst([file, ...others]) {
  if (!file) return;
  openOwn(file, file.name);
  if (others.length) say(`One picture at a time: this is ${file.name}.`);
}

function openBy(message) {
  opening += 1;
  now("working");
  request += 1; // what is on its way is of another photograph
  say(computes ? "" : NO_WEBASSEMBLY);
  waiting = wanted = false;
  pixels.postMessage({ type: "cancel" });
  pixels.postMessage({ type: "open", id: opening, ...message });
}

// ---- from the state to the screen --------------------------------------------------------------

// Ask the worker for what is seen; not again before it has answered, and then for the newest only.
function ask() {
  if (!opened) return;
  now("working");
  if (waiting) {
    wanted = true;
    return;
  }
  wanted = false;
  waiting = true;
  request += 1;
  if (saidOfView) say(computes ? "" : NO_WEBASSEMBLY);
  const { scale, shrink, kernel, blur, noise, jpeg, strength, a, b } = state;
  const settings = { scale, shrink, kernel, blur, noise, jpeg, strength, a, b };
  const size = resultSize();
  view.size = size;
  pixels.postMessage({ type: "render", id: request, settings, view: view.seen(), show: state.show });
  working("");
  if (touched) tryGpu();
}

function resultSize() {
  const { scale, shrink } = state;
  const side = (size) => (shrink ? Math.floor(size / scale) : size) * scale;
  return { width: side(opened.width), height: side(opened.height) };
}

function tryGpu() {
  const used = network(state.a) ?? network(state.b);
  if (used) networks.postMessage({ type: "try-gpu", network: { ...used, strength: 1 } });
}

const title = (name) => network(name)?.label ?? INTERPOLATION[name];

const NEEDS_PICTURE = ["image", "scale", "a", "b", "strength", "shrink", "kernel", "blur", "noise",
  "jpeg", "zoom", "x", "y", "show"];

function change(values, andAsk = true) {
  const before = state;
  state = fitted({ ...state, ...values });
  if (Object.keys(values).length) touched = true;
  view.update({ zoom: state.zoom, x: state.x, y: state.y, wipe: state.wipe });
  const changed = NEEDS_PICTURE.some((key) => state[key] !== before[key]);
  if (changed) show();
  if (andAsk && (changed || !Object.keys(values).length)) ask();
  if (Object.keys(values).length) writeHash();
}

let hashTimer = 0;
function writeHash() {
  clearTimeout(hashTimer);
  hashTimer = setTimeout(() => {
    const hash = toHash(state);
    if (hash !== location.hash) history.replaceState(null, "", hash || location.pathname + location.search);
  }, 300);
}

function show() {
  for (const side of ["a", "b"]) showMethods($(side), state[side]);
  for (const name of RANGES) {
    const range = $(name);
    range.value = name === "jpeg" ? state.jpeg || 100 : state[name];
    document.querySelector(`output[for=${name}]`).textContent = WORDS[name](state[name]);
    range.setAttribute("aria-valuetext", WORDS[name](state[name]));
  }
  for (const input of $("scale").querySelectorAll("input")) input.checked = Number(input.value) === state.scale;
  $("shrink").checked = state.shrink;
  $("kernel").value = state.kernel;
  $("show").checked = state.show === "error";
  $("damage").disabled = !state.shrink;
  $("show").disabled = !state.shrink;
  $("undamaged").hidden = !(state.blur || state.noise || state.jpeg);
  const used = [state.a, state.b].map(network).filter(Boolean);
  const blendable = used.filter((one) => one.start);
  const somewhere = networksOf(state.scale).some((one) => one.start);
  $("strength-row").hidden = !somewhere;
  $("strength").disabled = !blendable.length;
  $("strength-remark").textContent = blendable.length
    ? `From the network that it started from (0 %) to ${lower(blendable[0].label)} (100 %).`
    : "For networks that were trained on from another one: choose such a one above.";
  $("about").textContent = [...new Set(used.map((one) => `${one.label}: ${one.about}`))].join(" ");
  for (const button of $("photographs").querySelectorAll("button")) {
    button.setAttribute("aria-pressed", String(button.value === state.image && !own));
  }
  const course = manifest.photographs.find((one) => one.name === state.image);
  const lost = opened?.lost ? ` (${opened.lost})` : "";
  const dimensions = opened ? `, ${opened.width} x ${opened.height} pixels${lost}` : "";
  $("credit").textContent = own ? `${own}${dimensions}` : course && `${course.title}${dimensions}. ${course.credit}.`;
  $("shrink-remark").textContent = shrinkWords();
}

const lower = (text) => `the ${text[0].toLowerCase()}${text.slice(1)}`;

function shrinkWords() {
  if (!opened) return "";
  const { width, height } = resultSize();
  const small = `${width / state.scale} x ${height / state.scale}`;
  const large = `${width} x ${height}`;
  return state.shrink
    ? `${small} pixels are left and are enlarged to ${large} again. So the original is known, and the result can be scored.`
    : `The photograph as it is, ${small} pixels, is enlarged to ${large}. Nobody knows how it really looks at that size, so there is no score.`;
}

function showMethods(select, chosen) {
  const options = [
    ["Interpolation", Object.entries(INTERPOLATION)],
    ["Trained in this course", networksOf(state.scale).map((one) => [one.name, one.label])],
  ];
  const key = JSON.stringify(options);
  if (select.dataset.options !== key) {
    select.dataset.options = key;
    select.replaceChildren(
      ...options.map(([name, entries]) => {
        const group = document.createElement("optgroup");
        group.label = name;
        for (const [value, label] of entries) {
          const option = new Option(label, value);
          option.disabled = !computes && value in INTERPOLATION === false;
          group.append(option);
        }
        return group;
      }),
    );
  }
  select.value = chosen;
}

function showScores() {
  for (const side of ["a", "b"]) {
    const { psnr, ssim, waiting: still } = scores[side];
    const parts = [];
    if (hasOriginal && !still) {
      if (psnr === null) parts.push("too small to score");
      else if (psnr !== undefined) parts.push(psnr === Infinity ? "PSNR: equal" : `PSNR ${psnr.toFixed(2)} dB`);
      if (ssim !== undefined && ssim !== null) parts.push(`SSIM ${ssim.toFixed(4)}`);
      if (!scores.whole) parts.push("of what you see");
    } else if (hasOriginal) parts.push("bicubic until the network is done");
    Object.assign($(`score-${side}`).dataset, { psnr, ssim });
    const short = psnr > 0 && hasOriginal && !still ? `, ${psnr.toFixed(2)} dB` : "";
    $(`tag-${side}`).textContent = title(state[side]) + short;
    $(`score-${side}`).textContent = parts.join(", ") || "no original, no score";
  }
}

function working(text, share) {
  $("work").hidden = !text && !saving;
  if (text) {
    $("doing").textContent = text;
    if (share === undefined) $("progress").removeAttribute("value");
    else $("progress").value = share;
  }
}

// What the page is at, for tests and styles: working, done, stopped or failed.
function now(doing) {
  document.body.dataset.now = doing;
}

let saidOfView = false;

// What is said of the view, such as that a network failed, holds until another is asked for.
function say(text, ofView = false) {
  $("message").textContent = text;
  saidOfView = ofView;
}

// ---- saving ------------------------------------------------------------------------------------

let saving = false;
let saves = 0;
let fileName = "";

function save() {
  if (!opened) return;
  saving = true;
  $("save").disabled = true;
  const { scale, shrink, kernel, blur, noise, jpeg, strength } = state;
  const settings = { scale, shrink, kernel, blur, noise, jpeg, strength };
  const stem = own ? own.replace(/\.[^.]*$/, "") : state.image;
  fileName = `${stem}_x${scale}_${state.b}.png`; // all of it can change before the file is made
  pixels.postMessage({ type: "save", id: ++saves, settings, method: state.b });
  working("Making the file", 0);
}

function download(blob) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = fileName;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  say(`${link.download}: ${(blob.size / 1e6).toFixed(1)} MB.`);
}

// ---- controls ----------------------------------------------------------------------------------

const computes = typeof WebAssembly !== "undefined";
const view = new View($("stage"), change);

function listen() {
  for (const side of ["a", "b"]) {
    $(side).addEventListener("change", ({ target }) => change({ [side]: target.value }));
  }
  for (const name of RANGES) {
    $(name).addEventListener("input", ({ target }) => {
      const value = Number(target.value);
      change({ [name]: name === "jpeg" && value === 100 ? 0 : value });
    });
  }
  $("shrink").addEventListener("change", ({ target }) => change({ shrink: target.checked }));
  $("kernel").addEventListener("change", ({ target }) => change({ kernel: target.value }));
  $("show").addEventListener("change", ({ target }) => change({ show: target.checked ? "error" : "picture" }));
  $("undamaged").addEventListener("click", () => change({ blur: 0, noise: 0, jpeg: 0 }));
  $("save").addEventListener("click", save);
  $("cancel").addEventListener("click", () => {
    if (saving) return pixels.postMessage({ type: "cancel-saving" });
    pixels.postMessage({ type: "cancel" });
    working("");
    now("stopped");
    say("Stopped. Where the network has not been, the picture is bicubic.", true);
  });
  $("file").addEventListener("change", ({ target }) => {
    openFirst(target.files);
    target.value = "";
  });
  document.addEventListener("paste", (event) => {
    const file = [...event.clipboardData.files].find((one) => one.type.startsWith("image/"));
    if (file) openOwn(file, file.name || "pasted.png");
    else say("There is no picture to paste.");
  });
  let inside = 0;
  const carriesFile = (event) => event.dataTransfer?.types.includes("Files");
  document.addEventListener("dragenter", (event) => {
    if (carriesFile(event)) $("drop").hidden = !(inside += 1);
  });
  document.addEventListener("dragleave", (event) => {
    if (carriesFile(event)) $("drop").hidden = !(inside -= 1);
  });
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    inside = 0;
    $("drop").hidden = true;
    openFirst(event.dataTransfer.files);
  });
  window.addEventListener("hashchange", ({ newURL }) => {
    clearTimeout(hashTimer); // it would write the settings before
    const { hash } = new URL(newURL);
    const next = fromHash(hash);
    if (own && !hash.includes("image=")) next.image = OWN;
    const other = next.image !== state.image;
    change(next, !other);
    if (other) openCourse(next.image);
  });
}

function build() {
  for (const scale of SCALES) {
    const label = document.createElement("label");
    const input = document.createElement("input");
    Object.assign(input, { type: "radio", name: "scale", value: scale });
    input.addEventListener("change", () => change({ scale }));
    label.append(input, ` ${scale}x`);
    $("scale").append(label);
  }
  for (const { name, title: words, damaged } of manifest.photographs) {
    const button = document.createElement("button");
    const picture = document.createElement("img");
    Object.assign(picture, { src: `photographs/${name}.jpg`, alt: words, width: 64, height: 64 });
    Object.assign(button, { type: "button", value: name, title: words });
    button.append(picture);
    button.addEventListener("click", () => {
      const real = networksOf(state.scale).find((one) => one.role === "real");
      const damage = { blur: 0, noise: 0, jpeg: 0 };
      const suited = damaged ? { shrink: false, b: real?.name ?? state.b, ...damage } : { shrink: true };
      change({ image: name, x: 0.5, y: 0.5, ...suited }, false);
      openCourse(name);
      show();
    });
    $("photographs").append(button);
  }
}

build();
listen();
if (!computes) {
  for (const side of ["a", "b"]) if (network(state[side])) state[side] = "lanczos3";
}
view.update({ zoom: state.zoom, x: state.x, y: state.y, wipe: state.wipe });
show();
openCourse(state.image);
