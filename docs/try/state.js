// What the page shows, and how it stands in the address behind the "#", so that a link can lead to a
// setting: try/index.html#image=coffee&a=bicubic&b=srresnet_small_x4&jpeg=40
//
//   image     one of the course's photographs: coffee, chelsea, camera, coins, brick, damaged
//   a, b      left and right of the line: nearest, bilinear, bicubic, lanczos3, or a network's name,
//             such as srresnet_x4
//   scale     2, 3 or 4
//   strength  0 to 1, for networks that were trained on from another one
//   shrink    1: shrink the photograph first; 0: enlarge it as it is
//   kernel    that shrinks: bicubic, bicubic-plain (without antialiasing), bilinear, lanczos3, box,
//             nearest
//   blur      0 to 4, standard deviation in pixels of the original
//   noise     0 to 30, standard deviation in grey levels
//   jpeg      5 to 95, the quality; 0: no JPEG
//   zoom      1 to 8, pixels of the screen for a pixel of the result
//   x, y      0 to 1, the middle of what is seen
//   wipe      0 to 100, where the line is
//   show      picture or error
//
// What is missing is as in `standard`; what is unknown is left out.

import manifest from "./manifest.json";

export const INTERPOLATION = {
  nearest: "Nearest pixel",
  bilinear: "Bilinear",
  bicubic: "Bicubic",
  lanczos3: "Lanczos",
};
export const SCALES = [2, 3, 4];
const SHRINKING = ["bicubic", "bicubic-plain", "bilinear", "lanczos3", "box", "nearest"];

const number = (low, high) => (text) => {
  const value = Number(text);
  return text.trim() && Number.isFinite(value) ? Math.min(Math.max(value, low), high) : undefined;
};
const oneOf = (values) => (text) => (values.includes(text) ? text : undefined);

const method = oneOf([...Object.keys(INTERPOLATION), ...manifest.networks.map((one) => one.name)]);

const KEYS = {
  image: oneOf(manifest.photographs.map((photograph) => photograph.name)),
  scale: (text) => (SCALES.includes(Number(text)) ? Number(text) : undefined),
  a: method,
  b: method,
  strength: number(0, 1),
  shrink: (text) => ({ 0: false, 1: true })[text],
  kernel: oneOf(SHRINKING),
  blur: number(0, 4),
  noise: number(0, 30),
  jpeg: number(0, 95),
  zoom: (text) => number(1, 8)(text) && Math.round(number(1, 8)(text)),
  x: number(0, 1),
  y: number(0, 1),
  wipe: number(0, 100),
  show: oneOf(["picture", "error"]),
};

// What is known of a network, by its name; null for interpolation.
export function network(name) {
  return manifest.networks.find((one) => one.name === name) ?? null;
}

// Networks of a scale.
export function networksOf(scale) {
  return manifest.networks.filter((one) => one.scale === scale);
}

// The fastest network of a scale that stays with the facts.
export function defaultNetwork(scale) {
  const faithful = networksOf(scale).filter((one) => one.role === "faithful");
  return faithful.sort((p, q) => p.work - q.work)[0]?.name ?? "lanczos3";
}

export function standard(scale = 4) {
  const picture = { image: "coffee", scale, a: "bicubic", b: defaultNetwork(scale), strength: 1 };
  const damage = { shrink: true, kernel: "bicubic", blur: 0, noise: 0, jpeg: 0 };
  return { ...picture, ...damage, zoom: 2, x: 0.5, y: 0.5, wipe: 50, show: "picture" };
}

export function fromHash(hash) {
  const given = {};
  for (const [key, text] of new URLSearchParams(hash.replace(/^#/, ""))) {
    const value = KEYS[key]?.(text);
    if (value !== undefined) given[key] = value;
  }
  // A network belongs to a scale, so its name is enough.
  const scale = (network(given.a) ?? network(given.b))?.scale;
  return fitted({ ...standard(given.scale ?? scale), ...given });
}

export function toHash(state) {
  const usual = standard(state.scale);
  const parts = Object.keys(KEYS).filter((key) => key === "scale" || state[key] !== usual[key]);
  const values = parts.map((key) => [key, KEYS[key](short(state[key])) === undefined ? null : short(state[key])]);
  const kept = values.filter(([, text]) => text !== null);
  return kept.length > 1 || state.scale !== 4 ? `#${new URLSearchParams(kept)}` : "";
}

function short(value) {
  if (typeof value === "boolean") return value ? "1" : "0";
  return typeof value === "number" ? String(Math.round(value * 1000) / 1000) : value;
}

// Methods that exist at the state's scale: of a network, the most similar one.
export function fitted(state) {
  const result = { ...state };
  for (const side of ["a", "b"]) {
    const before = network(state[side]);
    if (!before || before.scale === state.scale) continue;
    const there = networksOf(state.scale);
    const alike = there.find((one) => one.role === before.role);
    result[side] = (alike ?? there.find((one) => one.role === "faithful"))?.name ?? "bicubic";
  }
  return result;
}
