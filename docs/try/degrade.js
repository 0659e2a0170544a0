// What a photograph goes through before it is enlarged, as srlib.degradation.degrade: blur,
// shrinking, noise and JPEG, in a camera's order. Only a box of the small picture is made.

import { resize, resized, sourceBox, toLevel } from "./resize.js";

const BLOCK = 16; // pixels that JPEG treats together, with colour at half the resolution
const MARGIN = 16; // beyond it the edge of what is compressed is not felt

// What the kernels of the page are for `resize`.
export function shrinking(kernel) {
  const antialias = kernel !== "bicubic-plain";
  return { kernel: antialias ? kernel : "bicubic", antialias };
}

// A box of the small picture, Uint8Array RGB. `settings` has scale, kernel, blur (in pixels of the
// original), noise (in grey levels), jpeg (quality, 0 for none); `compress(picture, quality)` sends
// a picture through a JPEG file.
export async function degrade(hr, settings, box, compress) {
  const { scale, blur, noise, jpeg } = settings;
  const small = {
    fullWidth: resized(hr.fullWidth, 1 / scale),
    fullHeight: resized(hr.fullHeight, 1 / scale),
  };
  const target = jpeg ? aligned(box, small) : box;
  const options = { ...shrinking(settings.kernel), target };
  let lr;
  if (blur) {
    lr = resize(blurred(hr, blur, scale, options), 1 / scale, options);
  } else {
    lr = resize(hr, 1 / scale, options);
  }
  if (noise || blur) lr = { ...lr, data: rounded(lr, noise) };
  if (!jpeg) return lr;
  return cut({ ...lr, data: await compress(lr, jpeg) }, box);
}

// The part of a picture that a box covers.
export function cut(picture, box) {
  const { channels } = picture;
  const data = new picture.data.constructor(box.width * box.height * channels);
  for (let row = 0; row < box.height; row++) {
    const start = ((box.y - picture.y + row) * picture.width + box.x - picture.x) * channels;
    data.set(picture.data.subarray(start, start + box.width * channels), row * box.width * channels);
  }
  return { ...picture, ...box, data };
}

// A box with its margin, out to the borders of JPEG's blocks.
function aligned(box, { fullWidth, fullHeight }) {
  const low = (start) => Math.max(0, Math.floor((start - MARGIN) / BLOCK) * BLOCK);
  const high = (end, size) => Math.min(size, Math.ceil((end + MARGIN) / BLOCK) * BLOCK);
  const [x, y] = [low(box.x), low(box.y)];
  return {
    x,
    y,
    width: high(box.x + box.width, fullWidth) - x,
    height: high(box.y + box.height, fullHeight) - y,
  };
}

// What the shrinking needs of the blurred original, in 0..1: Float32Array.
function blurred(hr, sigma, scale, { kernel, antialias, target }) {
  const { fullWidth, fullHeight, channels } = hr;
  const needed = sourceBox(fullWidth, fullHeight, 1 / scale, kernel, antialias, target);
  const radius = Math.floor(4 * sigma + 0.5);
  const taps = Float32Array.from({ length: 2 * radius + 1 }, (_, i) =>
    Math.exp(-0.5 * ((i - radius) / sigma) ** 2),
  );
  const total = taps.reduce((a, b) => a + b);
  const weights = taps.map((weight) => weight / total);
  const clampRow = (y) => Math.min(Math.max(y, 0), fullHeight - 1) - hr.y;
  const clampColumn = (x) => Math.min(Math.max(x, 0), fullWidth - 1) - hr.x;

  // The part that counts, with its surroundings: beyond the edge stands the edge pixel again.
  const length = (needed.width + 2 * radius) * channels;
  const rows = needed.height + 2 * radius;
  const around = new Float32Array(length * rows);
  for (let row = 0; row < rows; row++) {
    const start = clampRow(needed.y - radius + row) * hr.width;
    for (let x = 0, to = row * length; x < needed.width + 2 * radius; x++) {
      const from = (start + clampColumn(needed.x - radius + x)) * channels;
      for (let c = 0; c < channels; c++, to++) around[to] = hr.data[from + c] / 255;
    }
  }

  // along the columns: a step of one row in the data
  const between = new Float32Array(length * needed.height);
  for (let k = 0; k < weights.length; k++) {
    const [weight, shift] = [weights[k], k * length];
    for (let i = 0; i < between.length; i++) between[i] += weight * around[i + shift];
  }

  // along the rows
  const data = new Float32Array(needed.width * needed.height * channels);
  const inner = needed.width * channels;
  for (let row = 0; row < needed.height; row++) {
    const sums = data.subarray(row * inner, (row + 1) * inner);
    for (let k = 0; k < weights.length; k++) {
      const [weight, start] = [weights[k], row * length + k * channels];
      for (let i = 0; i < inner; i++) sums[i] += weight * between[start + i];
    }
  }
  return { ...needed, data, channels, fullWidth, fullHeight };
}

// To whole levels, after noise of a standard deviation in grey levels.
function rounded(picture, sigma) {
  const { data, width, channels } = picture;
  const peak = data instanceof Uint8Array ? 1 : 255;
  const result = new Uint8Array(data.length);
  for (let i = 0; i < data.length; i++) {
    let value = peak * data[i];
    if (sigma) {
      const pixel = Math.floor(i / channels);
      const x = picture.x + (pixel % width);
      const y = picture.y + Math.floor(pixel / width);
      value += sigma * gaussian(y * picture.fullWidth + x, i % channels);
    }
    result[i] = toLevel(value);
  }
  return result;
}

// A normally distributed number that belongs to a place, so that the noise stays where it is when
// the view moves: two hashes, by Box and Muller's formula.
function gaussian(place, channel) {
  const first = (hash(place * 6 + 2 * channel) + 1) / 4294967297;
  const second = hash(place * 6 + 2 * channel + 1) / 4294967296;
  return Math.sqrt(-2 * Math.log(first)) * Math.cos(2 * Math.PI * second);
}

// MurmurHash3's last step, twice.
function hash(number) {
  let h = (number ^ 0x9e3779b9) >>> 0;
  for (let round = 0; round < 2; round++) {
    h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
    h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
    h = (h ^ (h >>> 16)) >>> 0;
  }
  return h;
}
