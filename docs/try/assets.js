// A worker's way to what the page has beside it: networks, runtimes, photographs. The page loads the
// script with that content, see page.js, because a worker in a folder can load nothing.

const waiting = new Map();
const asked = new Map();

// Returns the bytes of, for instance, "networks/srresnet_x2"; they are loaded once.
export function asset(place) {
  if (!asked.has(place)) {
    const answer = new Promise((resolve, reject) => waiting.set(place, { resolve, reject }));
    const bytes = answer.then(unzip);
    bytes.catch(() => asked.delete(place)); // to be tried again
    asked.set(place, bytes);
    self.postMessage({ type: "need", place });
  }
  return asked.get(place);
}

export function listenForAssets() {
  self.addEventListener("message", ({ data }) => {
    if (data.type !== "asset") return;
    const { resolve, reject } = waiting.get(data.place);
    waiting.delete(data.place);
    if (data.text) resolve(data.text);
    else reject(new Error(`${data.place} could not be loaded`));
  });
}

async function unzip(text) {
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}
