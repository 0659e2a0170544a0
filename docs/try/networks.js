// The worker that runs networks, with ONNX Runtime. It starts with WebAssembly. Where there is a
// graphics processor, it is tried when the person at the screen asks for more than the first picture.

import { asset } from "./assets.js";
import { blended, onnxFile, unpack } from "./network_file.js";
import { chooseRuntime } from "./runtime.js";
import { toLevel } from "./resize.js";

const MOST_SESSIONS = 4;
const RACE_SIDE = 64; // LR pixels of the tile that is timed
const PATIENCE = 20_000; // milliseconds for the first tile on a graphics processor

const sessions = new Map(); // the last used one is the last
let runtime = null;
let gpuTried = false;

async function loadRuntime(name) {
  const bytes = await asset(`runtimes/${name}`);
  const { header, rest } = unpackHeader(bytes);
  const address = (from, to) =>
    URL.createObjectURL(new Blob([rest.subarray(from, to)], { type: "text/javascript" }));
  const { library, glue } = header;
  importScripts(address(0, library));
  const ort = self.ort;
  const threads = self.crossOriginIsolated ? Math.min(navigator.hardwareConcurrency || 1, 8) : 1;
  Object.assign(ort.env.wasm, {
    numThreads: threads,
    wasmBinary: rest.slice(library + glue).buffer,
    wasmPaths: { mjs: address(library, library + glue) },
  });
  const gpu = name === "webgpu";
  const words = threads > 1 ? `${threads} threads` : "one thread";
  return {
    ort,
    provider: gpu ? "webgpu" : "wasm",
    text: gpu ? "graphics processor (WebGPU)" : `processor (WebAssembly, ${words})`,
  };
}

export function unpackHeader(bytes) {
  const length = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(4, 4 + length)));
  return { header, rest: bytes.subarray(4 + length) };
}

async function weightsOf(name) {
  const { header, rest } = unpackHeader(await asset(`networks/${name}`));
  return unpack(header, rest);
}

// `network` is {file, start, strength}: start is the file that it was trained on from, or null.
async function sessionFor({ file, start, strength }, on) {
  const key = JSON.stringify([file, strength, on.provider]);
  let session = sessions.get(key);
  if (!session) {
    let parts = await weightsOf(file);
    if (start && strength < 1) parts = blended(await weightsOf(start), parts, strength);
    const options = { executionProviders: [on.provider], logSeverityLevel: 3 };
    session = await on.ort.InferenceSession.create(onnxFile(parts), options);
    while (sessions.size >= MOST_SESSIONS) {
      const [oldest, old] = sessions.entries().next().value;
      sessions.delete(oldest);
      await old.release();
    }
  }
  sessions.delete(key);
  sessions.set(key, session);
  return session;
}

// `lr` is {data, width, height}, RGB in 0..255; returns RGB in 0..1, one channel after the other.
async function run(network, lr, on) {
  const session = await sessionFor(network, on);
  const { data, width, height } = lr;
  const size = width * height;
  const planes = new Float32Array(3 * size);
  for (let i = 0; i < size; i++) {
    for (let c = 0; c < 3; c++) planes[c * size + i] = data[3 * i + c] / 255;
  }
  const input = new on.ort.Tensor("float32", planes, [1, 3, height, width]);
  const { sr } = await session.run({ lr: input });
  const [, , outHeight, outWidth] = sr.dims;
  return { planes: await sr.getData(), width: outWidth, height: outHeight };
}

// Cut a box out of the output and round it; a grey picture gets the mean of the channels.
export function toPixels({ planes, width, height }, box, grey) {
  const size = width * height;
  const rgb = new Uint8Array(box.width * box.height * 3);
  let to = 0;
  for (let y = box.y; y < box.y + box.height; y++) {
    for (let x = box.x; x < box.x + box.width; x++, to += 3) {
      const at = y * width + x;
      if (grey) {
        const sum = Math.fround(planes[at] + planes[size + at]);
        rgb.fill(level(Math.fround(Math.fround(sum + planes[2 * size + at]) / 3)), to, to + 3);
      } else {
        for (let c = 0; c < 3; c++) rgb[to + c] = level(planes[c * size + at]);
      }
    }
  }
  return rgb;
}

function level(value) {
  return toLevel(Math.fround(value * 255));
}

async function tile({ network, lr, box, grey }) {
  if (!runtime) {
    if (typeof WebAssembly === "undefined") throw new Error("there is no WebAssembly");
    use(await loadRuntime("wasm"));
  }
  return toPixels(await run(network, lr, runtime), box, grey);
}

function use(chosen) {
  runtime = chosen;
  self.postMessage({ type: "runtime", text: chosen.text });
}

// Time a tile on the graphics processor and on what is used now, and keep the faster one.
async function tryGpu(network) {
  if (gpuTried || !runtime) return;
  gpuTried = true;
  const adapter = await navigator.gpu?.requestAdapter().catch(() => null);
  // One that a program imitates on the processor cannot win.
  if (!adapter || adapter.info?.isFallbackAdapter || adapter.isFallbackAdapter) return;
  self.postMessage({ type: "runtime", text: "finding out whether the graphics processor is faster" });
  const before = runtime;
  try {
    const data = Uint8Array.from({ length: 3 * RACE_SIDE ** 2 }, (_, i) => (i * 2654435761) >>> 24);
    const lr = { data, width: RACE_SIDE, height: RACE_SIDE };
    const expected = await run(network, lr, before);
    const race = async (candidate) => {
      const found = await within(PATIENCE, run(network, lr, candidate)); // being prepared, too
      if (found.planes.some((value, i) => !(Math.abs(value - expected.planes[i]) < 1 / 255))) {
        throw new Error(`${candidate.text} computes something else`);
      }
      const start = performance.now();
      await run(network, lr, candidate);
      return performance.now() - start;
    };
    use(await chooseRuntime([before, await loadRuntime("webgpu")], race));
  } catch (error) {
    console.info(`WebGPU is not used: ${error.message}`);
    use(before);
  }
}

function within(milliseconds, promise) {
  const late = new Promise((_, reject) => {
    setTimeout(() => reject(new Error("it takes too long")), milliseconds);
  });
  return Promise.race([promise, late]);
}

export function startNetworks() {
  let queue = Promise.resolve(); // one after the other
  self.addEventListener("message", ({ data }) => {
    if (data.type === "try-gpu") queue = queue.then(() => tryGpu(data.network));
    if (data.type !== "connect") return;
    const { port } = data;
    port.onmessage = ({ data: request }) => {
      queue = queue.then(async () => {
        try {
          const pixels = await tile(request);
          port.postMessage({ id: request.id, pixels }, [pixels.buffer]);
        } catch (error) {
          port.postMessage({ id: request.id, error: error.message || String(error) });
        }
      });
    };
  });
}
