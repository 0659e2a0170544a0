// A photograph's file into pixels, upright, with its transparency.

import { decode as decodePng } from "fast-png";

export const LEAST_SIDE = 16;
export const MOST_PIXELS = 100e6;
const STRIP = 2 ** 20; // pixels that are read at a time

// An error whose message is a sentence for the person at the screen.
export class Told extends Error {}

// Returns {data, alpha, grey, lost, ...}: RGB as Uint8Array, alpha as Uint8Array or null, whether all
// pixels are grey, and what the file has that is not read, in words.
export async function readPhoto(blob, name) {
  if (!blob.size) throw new Told(`${name} is empty.`);
  const header = new Uint8Array(await blob.slice(0, 26).arrayBuffer());
  let photo;
  try {
    const bytes = hasAlpha(header) ? new Uint8Array(await blob.arrayBuffer()) : null;
    photo =
      bytes && isPlain(bytes) ? readTransparentPng(bytes, name) : await readByBrowser(blob, name);
  } catch (error) {
    if (error instanceof Told) throw error;
    throw new Told(unreadable(header, name));
  }
  const lost = isPng(header) && header[24] === 16 ? "16 bits a colour, read as 8" : "";
  return { ...withVisibleColours(photo), grey: isGrey(photo.data), lost };
}

function unreadable(header, name) {
  const text = String.fromCharCode(...header);
  if (/^....ftyp(heic|heix|mif1|msf1)/s.test(text)) {
    return `${name} is a HEIC photograph, which this browser cannot read. Save it as JPEG first.`;
  }
  const known = /^(\xff\xd8\xff|\x89PNG|GIF8|RIFF....WEBP|BM|....ftypavif)/s.test(text);
  return known
    ? `${name} is damaged, or too large for this browser: it cannot be read.`
    : `${name} is not a picture that this browser can read. JPEG, PNG, WebP and GIF work.`;
}

function checkSize(width, height, name) {
  if (Math.min(width, height) < LEAST_SIDE) {
    const least = `at least ${LEAST_SIDE} pixels on each side are needed`;
    throw new Told(`${name} has ${width} x ${height} pixels: ${least}.`);
  }
  if (width * height > MOST_PIXELS) {
    const most = `at most ${MOST_PIXELS / 1e6} million pixels fit here`;
    throw new Told(`${name} has ${width} x ${height} pixels: ${most}.`);
  }
}

function isPng(header) {
  return [0x89, 0x50, 0x4e, 0x47].every((byte, i) => header[i] === byte);
}

// A canvas keeps colours multiplied by alpha, and so loses some where alpha is small. A PNG file
// with an alpha channel of 8 bits is therefore read without one, unless it has to be turned, or has
// colours that are not sRGB's: only the browser does that.
function hasAlpha(header) {
  return isPng(header) && header[24] === 8 && (header[25] === 4 || header[25] === 6);
}

function isPlain(bytes) {
  const view = new DataView(bytes.buffer);
  const chunks = new Set();
  for (let at = 8; at + 8 <= bytes.length; at += 12 + view.getUint32(at)) {
    chunks.add(String.fromCharCode(...bytes.subarray(at + 4, at + 8)));
  }
  if (["iCCP", "cICP", "eXIf"].some((kind) => chunks.has(kind))) return false;
  return chunks.has("sRGB") || !(chunks.has("gAMA") || chunks.has("cHRM"));
}

function readTransparentPng(bytes, name) {
  const { width, height, data, channels } = decodePng(bytes, { checkCrc: true });
  checkSize(width, height, name);
  const rgb = new Uint8Array(width * height * 3);
  const alpha = new Uint8Array(width * height);
  for (let i = 0; i < alpha.length; i++) {
    for (let c = 0; c < 3; c++) rgb[3 * i + c] = data[channels * i + (channels === 4 ? c : 0)];
    alpha[i] = data[channels * i + channels - 1];
  }
  return picture(rgb, alpha, width, height);
}

async function readByBrowser(blob, name) {
  const bitmap = await createImageBitmap(blob, {
    imageOrientation: "from-image",
    premultiplyAlpha: "none",
  });
  try {
    checkSize(bitmap.width, bitmap.height, name);
    return readBitmap(bitmap);
  } finally {
    bitmap.close();
  }
}

export function readBitmap(bitmap) {
  const { width, height } = bitmap;
  const rgb = new Uint8Array(width * height * 3);
  let alpha = null;
  const rows = Math.max(1, Math.min(height, Math.floor(STRIP / width)));
  const canvas = new OffscreenCanvas(width, rows);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  for (let top = 0; top < height; top += rows) {
    const count = Math.min(rows, height - top);
    context.clearRect(0, 0, width, rows);
    context.drawImage(bitmap, 0, -top);
    const { data } = context.getImageData(0, 0, width, count);
    const start = top * width;
    for (let i = 0, j = 3 * start; i < data.length; i += 4, j += 3) {
      rgb[j] = data[i];
      rgb[j + 1] = data[i + 1];
      rgb[j + 2] = data[i + 2];
      if (data[i + 3] !== 255) {
        alpha ??= new Uint8Array(width * height).fill(255);
        alpha[start + i / 4] = data[i + 3];
      }
    }
  }
  return picture(rgb, alpha, width, height);
}

function picture(data, alpha, width, height) {
  const full = { fullWidth: width, fullHeight: height };
  return { data, alpha, x: 0, y: 0, width, height, ...full, channels: 3 };
}

function isGrey(rgb) {
  for (let i = 0; i < rgb.length; i += 3) {
    if (rgb[i] !== rgb[i + 1] || rgb[i] !== rgb[i + 2]) return false;
  }
  return true;
}

// Sends a picture, RGB, through a JPEG file of a quality of 1 to 100.
export async function throughJpeg({ data, width, height }, quality) {
  const canvas = new OffscreenCanvas(width, height);
  canvas.getContext("2d").putImageData(new ImageData(toRgba(data), width, height), 0, 0);
  const blob = await canvas.convertToBlob({ type: "image/jpeg", quality: quality / 100 });
  const bitmap = await createImageBitmap(blob);
  const result = readBitmap(bitmap).data;
  bitmap.close();
  return result;
}

export function toRgba(rgb, alpha = null) {
  const rgba = new Uint8ClampedArray((rgb.length / 3) * 4);
  for (let i = 0, j = 0; i < rgba.length; i += 4, j += 3) {
    rgba[i] = rgb[j];
    rgba[i + 1] = rgb[j + 1];
    rgba[i + 2] = rgb[j + 2];
    rgba[i + 3] = alpha ? alpha[i / 4] : 255;
  }
  return rgba;
}

// Gives fully transparent pixels the nearest visible colour: a network that saw the hidden one,
// mostly black, would draw it as a fringe. As srlib.photo, which asks SciPy for the nearest; of
// several that are equally near this finds the same one (C. R. Maurer, R. Qi, V. Raghavan, "A linear
// time algorithm for computing exact Euclidean distance transforms", IEEE PAMI 25(2), 2003).
function withVisibleColours(photo) {
  const { data, alpha, width, height } = photo;
  if (!alpha || !alpha.includes(0) || !alpha.some((value) => value)) return photo;
  const rows = new Int32Array(width * height).fill(-1); // of the nearest visible pixel
  const columns = new Int32Array(width * height);
  for (let i = 0; i < alpha.length; i++) {
    if (!alpha[i]) continue;
    rows[i] = Math.floor(i / width);
    columns[i] = i % width;
  }
  for (let x = 0; x < width; x++) nearestAlong(rows, columns, x, width, height, x);
  for (let y = 0; y < height; y++) nearestAlong(columns, rows, y * width, 1, width, y);
  for (let i = 0; i < alpha.length; i++) {
    if (alpha[i]) continue;
    const from = 3 * (rows[i] * width + columns[i]);
    data.copyWithin(3 * i, from, from + 3);
  }
  return photo;
}

// Along one line: `along` and `across` are the places of the nearest pixel found so far.
function nearestAlong(along, across, start, step, length, line) {
  const places = [];
  for (let i = 0; i < length; i++) {
    const at = start + i * step;
    if (along[at] < 0 || across[at] < 0) continue;
    const here = [along[at], (across[at] - line) ** 2];
    while (places.length > 1) {
      const [[second, uR], [first, vR]] = places.slice(-2);
      const a = first - second;
      const b = here[0] - first;
      const c = a + b;
      if (c * vR - b * uR - a * here[1] - a * b * c <= 0) break;
      places.pop();
    }
    places.push([...here, across[at]]);
  }
  if (!places.length) return;
  const distance = ([place, far], i) => (place - i) ** 2 + far;
  for (let i = 0, l = 0; i < length; i++) {
    while (l + 1 < places.length && distance(places[l], i) > distance(places[l + 1], i)) l++;
    along[start + i * step] = places[l][0];
    across[start + i * step] = places[l][2];
  }
}
