// The worker behind the sliders: reads a photograph, damages it, enlarges what is seen by two methods
// and scores both. Networks run in the other worker, tile by tile. A new request ends the one before.

import { asset } from "./assets.js";
import { cut, degrade, shrinking } from "./degrade.js";
import { LEAST_SIDE, Told, readPhoto, throughJpeg, toRgba } from "./photo.js";
import { PngWriter } from "./png.js";
import { resize } from "./resize.js";
import { errorMap, luma, psnr, ssim } from "./score.js";
import { network } from "./state.js";
import { distance, networkWindow, tilesOf, tileSide } from "./tiles.js";

const WHOLE = 1.3e6; // pixels of a result up to which all of it is made, not only what is seen
const MOST_TILES = 2 ** 26; // bytes of finished tiles that are kept
const BAND = 2 ** 20; // pixels of a result that are saved at a time
const OVERVIEW = 160; // pixels of its longer side

let photo = null;
let photoNumber = 0;
let port = null;
let newest = 0; // request; whoever finds another number here than its own gives up
let saving = 0;
let lrKept = { key: null };
const tiles = new Map();
let tilesBytes = 0;

class Superseded extends Error {}

const post = (message, transfer = []) => self.postMessage(message, transfer);
const breathe = () => new Promise((resolve) => setTimeout(resolve));

// ---- sizes -------------------------------------------------------------------------------------

// The original without the pixels that no whole pixel of the small picture stands for.
function original(scale) {
  const fit = (size) => size - (size % scale);
  return { ...photo, fullWidth: fit(photo.width), fullHeight: fit(photo.height) };
}

function sizes({ scale, shrink }) {
  const divide = (size) => (shrink ? Math.floor(size / scale) : size);
  const lr = { width: divide(photo.width), height: divide(photo.height) };
  return { lr, sr: { width: lr.width * scale, height: lr.height * scale } };
}

function intersection(box, { width, height }) {
  const x = Math.min(Math.max(box.x, 0), width - 1);
  const y = Math.min(Math.max(box.y, 0), height - 1);
  return {
    x,
    y,
    width: Math.max(1, Math.min(box.x + box.width, width) - x),
    height: Math.max(1, Math.min(box.y + box.height, height) - y),
  };
}

const covers = (a, b) =>
  a.x <= b.x && a.y <= b.y && a.x + a.width >= b.x + b.width && a.y + a.height >= b.y + b.height;

// ---- the small picture -------------------------------------------------------------------------

function lrKey(settings) {
  const { scale, shrink, kernel, blur, noise, jpeg } = settings;
  return JSON.stringify([photoNumber, shrink && [scale, kernel, blur, noise, jpeg]]);
}

// A box of the picture that is enlarged: RGB, and alpha as a picture of its own, or null.
async function makeLr(settings, box) {
  if (!settings.shrink) return { rgb: photo, alpha: alphaOf(photo) };
  const hr = original(settings.scale);
  const rgb = await degrade(hr, settings, box, throughJpeg);
  const options = { ...shrinking(settings.kernel), target: box };
  const alpha = photo.alpha ? resize(alphaOf(hr), 1 / settings.scale, options) : null;
  return { rgb, alpha };
}

function alphaOf(picture) {
  return picture.alpha && { ...picture, data: picture.alpha, alpha: null, channels: 1 };
}

async function keptLr(settings, box) {
  const key = lrKey(settings);
  if (lrKept.key !== key || !covers(lrKept.box, box)) {
    lrKept = { key, box, ...(await makeLr(settings, box)) };
  }
  return lrKept;
}

// Grey stays grey, unless coloured noise was added.
const isGrey = ({ shrink, noise }) => photo.grey && !(shrink && noise);

// ---- enlarging ---------------------------------------------------------------------------------

function interpolate(lr, scale, kernel, target) {
  const alpha = lr.alpha && resize(lr.alpha, scale, { kernel, target }).data;
  return { rgb: resize(lr.rgb, scale, { kernel, target }).data, alpha };
}

const asked = new Map();
let asks = 0;

function ask(request) {
  return new Promise((resolve, reject) => {
    asked.set(++asks, { resolve, reject });
    port.postMessage({ ...request, id: asks });
  });
}

// A tile that is done already, or is done now.
async function finishedTile(lr, method, settings, tile) {
  const key = tileKey(settings, method, tile);
  if (!tiles.has(key)) keepTile(key, await enlargeTile(lr, method, settings, tile));
  return tiles.get(key);
}

// Enlarge a tile, a box of the small picture, with a network: RGB, and alpha by the same network.
async function enlargeTile(lr, method, settings, tile) {
  const { scale } = settings;
  const full = sizes(settings).lr;
  const window = networkWindow(method, tile, full);
  const box = {
    x: (tile.x - window.x) * scale,
    y: (tile.y - window.y) * scale,
    width: tile.width * scale,
    height: tile.height * scale,
  };
  const request = { network: { ...method, strength: settings.strength }, box };
  const { data, width, height } = cut(lr.rgb, window);
  const rgb = await ask({ ...request, lr: { data, width, height }, grey: isGrey(settings) });
  if (!lr.alpha) return { rgb, alpha: null };
  const flat = cut(lr.alpha, window).data;
  const three = new Uint8Array(flat.length * 3).map((_, i) => flat[Math.floor(i / 3)]);
  const out = await ask({ ...request, lr: { data: three, width, height }, grey: true });
  return { rgb, alpha: out.filter((_, i) => i % 3 === 0) };
}

function tileKey(settings, method, tile) {
  return JSON.stringify([lrKey(settings), method.name, settings.strength, tile]);
}

function keepTile(key, tile) {
  tiles.set(key, tile);
  tilesBytes += tile.rgb.length;
  for (const [oldest, old] of tiles) {
    if (tilesBytes <= MOST_TILES || oldest === key) break;
    tiles.delete(oldest);
    tilesBytes -= old.rgb.length;
  }
}

// Copy the part that a tile and a box of the result share.
function place(tile, tileBox, into, box, channels) {
  const part = shared(tileBox, box);
  if (!part) return null;
  for (let y = part.y; y < part.y + part.height; y++) {
    const from = ((y - tileBox.y) * tileBox.width + part.x - tileBox.x) * channels;
    const to = ((y - box.y) * box.width + part.x - box.x) * channels;
    into.set(tile.subarray(from, from + part.width * channels), to);
  }
  return part;
}

function shared(a, b) {
  const x = Math.max(a.x, b.x);
  const y = Math.max(a.y, b.y);
  const width = Math.min(a.x + a.width, b.x + b.width) - x;
  const height = Math.min(a.y + a.height, b.y + b.height) - y;
  return width > 0 && height > 0 ? { x, y, width, height } : null;
}

const times = (box, scale) => ({
  x: box.x * scale,
  y: box.y * scale,
  width: box.width * scale,
  height: box.height * scale,
});

// ---- what is seen ------------------------------------------------------------------------------

async function render(request) {
  const { settings, view, show } = request;
  newest = request.id;
  const check = () => {
    if (newest !== request.id) throw new Superseded();
  };
  const { scale } = settings;
  const { lr: lrSize, sr: srSize } = sizes(settings);
  if (Math.min(lrSize.width, lrSize.height) < LEAST_SIDE) {
    const words = `${lrSize.width} x ${lrSize.height} pixels, too few to go on with`;
    throw new Told(`Shrunk by ${scale} this photograph has ${words}.`);
  }
  const whole = srSize.width * srSize.height <= WHOLE;
  const seen = intersection(view, srSize);
  const box = whole ? { x: 0, y: 0, ...srSize } : seen;
  const methods = { a: network(settings.a), b: network(settings.b) };
  const margin = 4 + Math.max(...Object.values(methods).map((m) => (m ? tileSide(m) + m.radius : 0)));
  const lrBox = intersection(
    {
      x: Math.floor(box.x / scale) - margin,
      y: Math.floor(box.y / scale) - margin,
      width: Math.ceil(box.width / scale) + 2 * margin + 1,
      height: Math.ceil(box.height / scale) + 2 * margin + 1,
    },
    lrSize,
  );
  const lr = await keptLr(settings, lrBox);
  check();

  const hr = settings.shrink ? luma(cut(original(scale), box).data) : null;
  const paint = (rgb, alpha, target, part) => {
    if (show !== "error" || !hr) return toRgba(rgb, alpha);
    const plane = Float64Array.from({ length: part.width * part.height }, (_, i) => {
      const x = part.x - box.x + (i % part.width);
      return hr[(part.y - box.y + Math.floor(i / part.width)) * box.width + x];
    });
    return toRgba(errorMap(luma(rgb), plane));
  };

  // at once: interpolation, finished tiles, and bicubic where a network has not been yet
  const sides = {};
  const missing = [];
  const before = {};
  for (const side of ["a", "b"]) {
    const name = settings[side];
    const method = methods[side];
    if (before[name]) {
      sides[side] = before[name]; // both sides the same
    } else {
      const made = interpolate(lr, scale, method ? "bicubic" : name, box);
      let waiting = [];
      if (method) {
        for (const tile of tilesOf(method, lrSize, shrunkBox(box, scale))) {
          const done = tiles.get(tileKey(settings, method, tile));
          if (done) fill(made, box, done, times(tile, scale));
          else waiting.push(tile);
        }
      }
      sides[side] = before[name] = { ...made, method, waiting };
      missing.push(...waiting.map((tile) => ({ side, tile })));
    }
    const { rgb, alpha, waiting } = sides[side];
    const rgba = paint(rgb, alpha, box, box);
    const preview = waiting.length > 0;
    post({ type: "side", id: request.id, side, box, size: srSize, rgba, preview }, [rgba.buffer]);
  }
  post({ type: "ready", id: request.id, whole, hasOriginal: Boolean(hr) });
  const border = scale;
  const planes = {};
  const score = (side) => {
    if (!hr) return;
    planes[side] = luma(sides[side].rgb);
    const value = psnr(planes[side], hr, box.width, box.height, border);
    post({ type: "score", id: request.id, side, psnr: value });
  };
  for (const side of ["a", "b"]) if (!sides[side].waiting.length) score(side);

  // tile by tile, from the middle of what is seen outwards
  const middle = { x: seen.x + seen.width / 2, y: seen.y + seen.height / 2 };
  missing.sort((p, q) => distance(times(p.tile, scale), middle) - distance(times(q.tile, scale), middle));
  const total = missing.length;
  for (const [done, { side, tile }] of missing.entries()) {
    post({ type: "progress", id: request.id, done, total });
    const { method } = sides[side];
    const made = await finishedTile(lr, method, settings, tile);
    check();
    const part = fill(sides[side], box, made, times(tile, scale));
    const pixels = cut({ ...box, data: sides[side].rgb, channels: 3 }, part).data;
    const alpha =
      sides[side].alpha && cut({ ...box, data: sides[side].alpha, channels: 1 }, part).data;
    for (const to of ["a", "b"].filter((other) => sides[other] === sides[side])) {
      const rgba = paint(pixels, alpha, box, part);
      post({ type: "tile", id: request.id, side: to, box: part, rgba }, [rgba.buffer]);
    }
    sides[side].waiting = sides[side].waiting.filter((one) => one !== tile);
    if (!sides[side].waiting.length) {
      for (const to of ["a", "b"].filter((other) => sides[other] === sides[side])) score(to);
    }
  }
  if (total) post({ type: "progress", id: request.id, done: total, total });
  if (hr) {
    for (const side of ["a", "b"]) {
      await breathe(); // a slider may have moved on
      check();
      const value = ssim(planes[side], hr, box.width, box.height, border);
      post({ type: "score", id: request.id, side, ssim: value });
    }
  }
  post({ type: "done", id: request.id });
}

function fill(made, box, tile, tileBox) {
  const part = place(tile.rgb, tileBox, made.rgb, box, 3);
  if (part && made.alpha) place(tile.alpha, tileBox, made.alpha, box, 1);
  return part;
}

function shrunkBox(box, scale) {
  const x = Math.floor(box.x / scale);
  const y = Math.floor(box.y / scale);
  const right = Math.ceil((box.x + box.width) / scale);
  const bottom = Math.ceil((box.y + box.height) / scale);
  return { x, y, width: right - x, height: bottom - y };
}

// ---- the whole result as a file ----------------------------------------------------------------

async function save({ id, settings, method: name }) {
  saving = id;
  const { scale } = settings;
  const { lr: lrSize, sr: srSize } = sizes(settings);
  const method = network(name);
  const grey = isGrey(settings);
  const channels = (grey ? 1 : 3) + (photo.alpha ? 1 : 0);
  const writer = new PngWriter(srSize.width, srSize.height, channels);
  const band = method ? tileSide(method) : Math.max(1, Math.floor(BAND / (srSize.width * scale)));
  const margin = method ? method.radius + method.grid : 4;
  const number = photoNumber;
  try {
    for (let top = 0; top < lrSize.height; top += band) {
      const rows = { x: 0, y: top, width: lrSize.width, height: Math.min(band, lrSize.height - top) };
      const grown = { ...rows, y: top - margin, height: rows.height + 2 * margin };
      const lr = await makeLr(settings, intersection(grown, lrSize));
      const box = times(rows, scale);
      const made = method
        ? { rgb: new Uint8Array(box.width * box.height * 3), alpha: null }
        : interpolate(lr, scale, name, box);
      if (method && photo.alpha) made.alpha = new Uint8Array(box.width * box.height);
      const parts = method ? tilesOf(method, lrSize, rows) : [];
      for (const [done, tile] of parts.entries()) {
        fill(made, box, await finishedTile(lr, method, settings, tile), times(tile, scale));
        const share = (top + (rows.height * (done + 1)) / parts.length) / lrSize.height;
        post({ type: "saving", share });
        if (saving !== id || photoNumber !== number) throw new Superseded();
      }
      await writer.write(interleaved(made, grey));
      post({ type: "saving", share: (top + rows.height) / lrSize.height });
      await breathe();
      if (saving !== id || photoNumber !== number) throw new Superseded();
    }
    post({ type: "saved", blob: await writer.finish() });
  } catch (error) {
    writer.abort();
    if (error instanceof Superseded) post({ type: "saved", blob: null });
    else throw error;
  }
}

function interleaved({ rgb, alpha }, grey) {
  if (!alpha && !grey) return rgb;
  const colours = grey ? 1 : 3;
  const channels = colours + (alpha ? 1 : 0);
  const count = rgb.length / 3;
  const result = new Uint8Array(count * channels);
  for (let i = 0; i < count; i++) {
    for (let c = 0; c < colours; c++) result[i * channels + c] = rgb[3 * i + c];
    if (alpha) result[i * channels + colours] = alpha[i];
  }
  return result;
}

// ---- messages ----------------------------------------------------------------------------------

async function open({ id, blob, name, place }) {
  const opened = await readPhoto(blob ?? new Blob([await asset(place)]), name);
  if (id !== lastOpened) return;
  photo = opened;
  photoNumber++;
  newest = 0;
  tiles.clear();
  tilesBytes = 0;
  lrKept = { key: null };
  const { width, height } = photo;
  const step = Math.max(width, height) / OVERVIEW;
  const small = { width: Math.ceil(width / step), height: Math.ceil(height / step) };
  const rgba = new Uint8ClampedArray(small.width * small.height * 4);
  for (let i = 0; i < small.width * small.height; i++) {
    const x = Math.min(width - 1, Math.floor(((i % small.width) + 0.5) * step));
    const y = Math.min(height - 1, Math.floor((Math.floor(i / small.width) + 0.5) * step));
    const at = y * width + x;
    for (let c = 0; c < 3; c++) rgba[4 * i + c] = photo.data[3 * at + c];
    rgba[4 * i + 3] = photo.alpha ? photo.alpha[at] : 255;
  }
  post({ type: "opened", id, width, height, lost: photo.lost, overview: { ...small, rgba } });
}

let lastOpened = 0;

const actions = {
  connect: ({ port: given }) => {
    port = given;
    port.onmessage = ({ data }) => {
      const { resolve, reject } = asked.get(data.id);
      asked.delete(data.id);
      if (data.error) reject(new Told(`The network cannot run here: ${data.error}.`));
      else resolve(data.pixels);
    };
  },
  open: (message) => {
    lastOpened = message.id;
    return open(message);
  },
  render: (message) => (photo ? render(message) : null),
  cancel: () => {
    newest = 0;
  },
  save,
  "cancel-saving": () => {
    saving = 0;
  },
};

export function startPixels() {
  self.addEventListener("message", async ({ data }) => {
    try {
      await actions[data.type]?.(data);
    } catch (error) {
      if (error instanceof Superseded) return;
      const memory = /memory|array length|alloc/i.test(error.message);
      let text = error instanceof Told ? error.message : `Something went wrong: ${error.message}`;
      if (memory && !(error instanceof Told)) text = "The memory of this device is too small for that.";
      post({ type: "error", during: data.type, id: data.id, text });
    }
  });
}
