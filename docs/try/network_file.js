// A trained network's file. tools/build_try.py ships an ONNX file without its weights, and the
// weights as float16 (exactly as they were stored). Together they make the ONNX file that
// srlib.onnx_files.export_onnx writes.

// `header` is {skeleton: bytes, rows: [[offset in the ONNX file, count, bytes a number]]}.
export function unpack({ skeleton, rows }, bytes) {
  let at = skeleton;
  const weights = rows.map(([, count, size]) => {
    const part = bytes.slice(at, (at += count * size));
    return size === 2 ? halves(new Uint16Array(part.buffer)) : new Float32Array(part.buffer);
  });
  return { skeleton: bytes.subarray(0, skeleton), offsets: rows.map(([offset]) => offset), weights };
}

export function onnxFile({ skeleton, offsets, weights }) {
  const total = weights.reduce((sum, part) => sum + part.byteLength, skeleton.length);
  const file = new Uint8Array(total);
  let [from, to] = [0, 0];
  weights.forEach((part, i) => {
    const before = offsets[i] - to;
    file.set(skeleton.subarray(from, from + before), to);
    file.set(new Uint8Array(part.buffer), offsets[i]);
    from += before;
    to = offsets[i] + part.byteLength;
  });
  file.set(skeleton.subarray(from), to);
  return file;
}

// (1 - share) of the first network's weights plus share of the second's, as srlib.models.blend.
export function blended(first, second, share) {
  const weight = Math.fround(share);
  const mix = (a, b) => {
    const difference = Math.fround(b - a);
    if (weight < 0.5) return Math.fround(a + Math.fround(weight * difference));
    return Math.fround(b - Math.fround(difference * Math.fround(1 - weight)));
  };
  const weights = first.weights.map((part, i) => part.map((a, j) => mix(a, second.weights[i][j])));
  return { ...second, weights };
}

// float16 to float32.
function halves(values) {
  return Float32Array.from(values, (half) => {
    const sign = half & 0x8000 ? -1 : 1;
    const exponent = (half >> 10) & 31;
    const fraction = half & 1023;
    if (exponent === 0) return sign * fraction * 2 ** -24;
    if (exponent === 31) return fraction ? NaN : sign * Infinity;
    return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
  });
}
