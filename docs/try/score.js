// PSNR and SSIM by the field's protocol, as srlib/metrics.py: luma in the studio range, as many
// pixels of border cut off as the scale, peak 255, 8-bit pictures.

const RADIUS = 5;
const SIGMA = 1.5;
const C1 = (0.01 * 255) ** 2;
const C2 = (0.03 * 255) ** 2;
// Of the brightest colour of the error map, in grey levels.
export const MOST_ERROR = 64;

// Luma of an RGB picture, Uint8Array, as Float64Array in 16..235.
export function luma(rgb) {
  const result = new Float64Array(rgb.length / 3);
  for (let i = 0, j = 0; i < result.length; i++, j += 3) {
    result[i] = 16 + (65.481 * rgb[j] + 128.553 * rgb[j + 1] + 24.966 * rgb[j + 2]) / 255;
  }
  return result;
}

function cropped(plane, width, height, border) {
  const inner = width - 2 * border;
  const result = new Float64Array(inner * (height - 2 * border));
  for (let y = border; y < height - border; y++) {
    const row = plane.subarray(y * width + border, (y + 1) * width - border);
    result.set(row, (y - border) * inner);
  }
  return result;
}

// Both are lumas of one size. Null where too few pixels are left.
export function psnr(sr, hr, width, height, border) {
  if (Math.min(width, height) <= 2 * border) return null;
  let sum = 0;
  for (let y = border; y < height - border; y++) {
    for (let i = y * width + border; i < (y + 1) * width - border; i++) sum += (sr[i] - hr[i]) ** 2;
  }
  return 10 * Math.log10(255 ** 2 / (sum / ((width - 2 * border) * (height - 2 * border))));
}

export function ssim(sr, hr, width, height, border) {
  const innerWidth = width - 2 * border;
  const innerHeight = height - 2 * border;
  if (Math.min(innerWidth, innerHeight) < 2 * RADIUS + 1) return null;
  const x = cropped(sr, width, height, border);
  const y = cropped(hr, width, height, border);
  const mean = (plane) => windowMean(plane, innerWidth, innerHeight);
  const [meanX, meanY] = [mean(x), mean(y)];
  const meanXX = mean(x.map((value) => value * value));
  const meanYY = mean(y.map((value) => value * value));
  const meanXY = mean(x.map((value, i) => value * y[i]));
  let sum = 0;
  for (let i = 0; i < meanX.length; i++) {
    const [a, b] = [meanX[i], meanY[i]];
    const luminance = (2 * a * b + C1) / (a * a + b * b + C1);
    const variances = meanXX[i] - a * a + (meanYY[i] - b * b);
    sum += (luminance * (2 * (meanXY[i] - a * b) + C2)) / (variances + C2);
  }
  return sum / meanX.length;
}

// Gaussian mean at all positions of an 11 x 11 window.
function windowMean(plane, width, height) {
  const window = Float64Array.from({ length: 2 * RADIUS + 1 }, (_, i) =>
    Math.exp(-((i - RADIUS) ** 2) / (2 * SIGMA ** 2)),
  );
  const total = window.reduce((a, b) => a + b);
  const weights = window.map((value) => value / total);
  const outHeight = height - 2 * RADIUS;
  const outWidth = width - 2 * RADIUS;
  const between = new Float64Array(width * outHeight);
  for (let k = 0; k < weights.length; k++) {
    const [weight, shift] = [weights[k], k * width];
    for (let i = 0; i < between.length; i++) between[i] += weight * plane[i + shift];
  }
  const result = new Float64Array(outWidth * outHeight);
  for (let y = 0; y < outHeight; y++) {
    for (let k = 0; k < weights.length; k++) {
      const [weight, from] = [weights[k], y * width + k];
      for (let i = 0; i < outWidth; i++) result[y * outWidth + i] += weight * between[from + i];
    }
  }
  return result;
}

// The magma colours of Matplotlib, from no error to MOST_ERROR and more.
const MAGMA = [
  [0, 0, 4], [28, 16, 68], [79, 18, 123], [129, 37, 129], [181, 54, 122],
  [229, 80, 100], [251, 135, 97], [254, 194, 135], [252, 253, 191],
];

// Errors of the luma as RGB.
export function errorMap(sr, hr) {
  const rgb = new Uint8Array(sr.length * 3);
  for (let i = 0; i < sr.length; i++) {
    const place = (Math.min(Math.abs(sr[i] - hr[i]) / MOST_ERROR, 1) * (MAGMA.length - 1));
    const low = Math.min(Math.floor(place), MAGMA.length - 2);
    for (let c = 0; c < 3; c++) {
      rgb[3 * i + c] = MAGMA[low][c] + (place - low) * (MAGMA[low + 1][c] - MAGMA[low][c]) + 0.5;
    }
  }
  return rgb;
}
