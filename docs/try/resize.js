// MATLAB's imresize: the same numbers, in the same order, as srlib/resample.py, which explains them.
//
// A picture is a part of a larger one: {data, x, y, width, height, fullWidth, fullHeight, channels},
// where data is Uint8Array in 0..255, or Float32Array, row by row with the channels side by side.
// A box is {x, y, width, height}. Only the box that is asked for is computed.

const box = (x) => (x >= -0.5 && x < 0.5 ? 1 : 0);
const triangle = (x) => Math.max(1 - Math.abs(x), 0);

function bicubic(distance) {
  const a = -0.5;
  const x = Math.abs(distance);
  if (x <= 1) return (a + 2) * (x * x * x) - (a + 3) * (x * x) + 1;
  if (x <= 2) return a * (x * x * x) - 5 * a * (x * x) + 8 * a * x - 4 * a;
  return 0;
}

function sinc(x) {
  const y = Math.PI * x || Number.EPSILON;
  return Math.sin(y) / y;
}

const lanczos = (lobes) => (x) => sinc(x) * sinc(x / lobes) * (Math.abs(x) < lobes ? 1 : 0);

export const KERNELS = {
  nearest: { weight: box, width: 1 },
  box: { weight: box, width: 1 },
  bilinear: { weight: triangle, width: 2 },
  bicubic: { weight: bicubic, width: 4 },
  lanczos2: { weight: lanczos(2), width: 4 },
  lanczos3: { weight: lanczos(3), width: 6 },
};

// Pixels of a side after resizing.
export function resized(size, scale) {
  return Math.max(1, Math.ceil(size * scale * (1 - 1e-12)));
}

// Sum in NumPy's order: eight at a time, then in pairs.
function pairwiseSum(values, start, count) {
  if (count < 8) {
    let sum = -0;
    for (let i = start; i < start + count; i++) sum += values[i];
    return sum;
  }
  if (count > 128) {
    const half = (count >> 1) - ((count >> 1) % 8);
    return pairwiseSum(values, start, half) + pairwiseSum(values, start + half, count - half);
  }
  const part = values.slice(start, start + 8);
  let i = 8;
  for (; i < count - (count % 8); i += 8) {
    for (let j = 0; j < 8; j++) part[j] += values[start + i + j];
  }
  let sum = part[0] + part[1] + (part[2] + part[3]) + (part[4] + part[5] + (part[6] + part[7]));
  for (; i < count; i++) sum += values[start + i];
  return sum;
}

// The input pixels behind the output pixels first..last - 1, and their weights: both (out, taps).
export function findTaps(size, scale, name, antialias, first, last) {
  const kernel = KERNELS[name];
  const stretch = antialias && scale < 1 && name !== "nearest" ? scale : 1;
  const width = kernel.width / stretch;
  const all = Math.ceil(width) + 2;
  const rows = last - first;
  const weights = new Float64Array(rows * all);
  const indices = new Int32Array(rows * all);
  const used = new Uint8Array(all);
  for (let row = 0; row < rows; row++) {
    const centre = (first + row + 1) / scale + 0.5 * (1 - 1 / scale);
    const left = Math.floor(centre - width / 2);
    const start = row * all;
    for (let k = 0; k < all; k++) {
      weights[start + k] = stretch * kernel.weight(stretch * (centre - (left + k)));
      indices[start + k] = Math.min(Math.max(left + k - 1, 0), size - 1);
    }
    const sum = pairwiseSum(weights, start, all);
    for (let k = 0; k < all; k++) {
      weights[start + k] /= sum;
      if (weights[start + k] !== 0) used[k] = 1;
    }
  }
  const kept = [...used.keys()].filter((k) => used[k]);
  const taps = kept.length;
  const result = { taps, indices: new Int32Array(rows * taps), weights: new Float64Array(rows * taps) };
  result.from = size;
  result.to = 0;
  for (let row = 0; row < rows; row++) {
    for (let k = 0; k < taps; k++) {
      const index = indices[row * all + kept[k]];
      result.indices[row * taps + k] = index;
      result.weights[row * taps + k] = weights[row * all + kept[k]];
      result.from = Math.min(result.from, index);
      result.to = Math.max(result.to, index + 1);
    }
  }
  return result;
}

// The box of the input that a box of the output is made from.
export function sourceBox(fullWidth, fullHeight, scale, kernel, antialias, target) {
  const rows = findTaps(fullHeight, scale, kernel, antialias, target.y, target.y + target.height);
  const columns = findTaps(fullWidth, scale, kernel, antialias, target.x, target.x + target.width);
  return {
    x: columns.from,
    y: rows.from,
    width: columns.to - columns.from,
    height: rows.to - rows.from,
  };
}

// Resize: first the rows, then the columns; whole numbers are rounded each time, half up.
export function resize(picture, scale, { kernel = "bicubic", antialias = true, target } = {}) {
  const { fullWidth, fullHeight, channels } = picture;
  const fullTarget = { width: resized(fullWidth, scale), height: resized(fullHeight, scale) };
  const out = target ?? { x: 0, y: 0, ...fullTarget };
  const rows = findTaps(fullHeight, scale, kernel, antialias, out.y, out.y + out.height);
  const columns = findTaps(fullWidth, scale, kernel, antialias, out.x, out.x + out.width);
  const between = resizeRows(picture, rows, columns.from, columns.to, out.height);
  const data = resizeColumns(between, columns, out, channels);
  return {
    ...out,
    data,
    channels,
    fullWidth: fullTarget.width,
    fullHeight: fullTarget.height,
  };
}

function resizeRows(picture, rows, left, right, height) {
  const { data, channels } = picture;
  const whole = data instanceof Uint8Array;
  const length = (right - left) * channels;
  const result = new data.constructor(length * height);
  const sums = whole ? new Float64Array(length) : new Float32Array(length);
  for (let row = 0; row < height; row++) {
    sums.fill(0);
    for (let k = 0; k < rows.taps; k++) {
      const weight = rows.weights[row * rows.taps + k];
      if (weight === 0) continue;
      const y = rows.indices[row * rows.taps + k] - picture.y;
      const start = (y * picture.width + left - picture.x) * channels;
      if (whole) {
        for (let i = 0; i < length; i++) sums[i] += weight * data[start + i];
      } else {
        const single = Math.fround(weight);
        for (let i = 0; i < length; i++) sums[i] += Math.fround(single * data[start + i]);
      }
    }
    const to = row * length;
    if (whole) for (let i = 0; i < length; i++) result[to + i] = toLevel(sums[i]);
    else result.set(sums, to);
  }
  return { data: result, left, length };
}

function resizeColumns(between, columns, out, channels) {
  const { data, left, length } = between;
  const whole = data instanceof Uint8Array;
  const result = new data.constructor(out.width * out.height * channels);
  const { taps, weights } = columns;
  const offsets = columns.indices.map((index) => (index - left) * channels);
  const singles = Float32Array.from(weights);
  for (let row = 0; row < out.height; row++) {
    const from = row * length;
    let to = row * out.width * channels;
    for (let x = 0; x < out.width; x++) {
      for (let c = 0; c < channels; c++, to++) {
        const start = from + c;
        const first = x * taps;
        if (whole) {
          let sum = 0;
          for (let k = first; k < first + taps; k++) sum += weights[k] * data[start + offsets[k]];
          result[to] = toLevel(sum);
        } else {
          let sum = 0;
          for (let k = first; k < first + taps; k++) {
            sum = Math.fround(sum + Math.fround(singles[k] * data[start + offsets[k]]));
          }
          result[to] = sum;
        }
      }
    }
  }
  return result;
}

// Rounded half up and clipped to 0..255.
export function toLevel(value) {
  const level = value + 0.5;
  return level <= 0 ? 0 : level >= 255 ? 255 : level | 0;
}
