// Writes a PNG file (ISO/IEC 15948) from top to bottom, with memory for a few rows only. Rows have
// the filter Paeth, and the browser's own deflate compresses them.

const TABLE = Uint32Array.from({ length: 256 }, (_, n) => {
  let c = n;
  for (let k = 0; k < 8; k++) c = c & 1 ? 0xedb88320 ^ (c >>> 1) : c >>> 1;
  return c;
});
const COLOUR_TYPES = { 1: 0, 2: 4, 3: 2, 4: 6 };

function crc(bytes) {
  let c = 0xffffffff;
  for (let i = 0; i < bytes.length; i++) c = TABLE[(c ^ bytes[i]) & 255] ^ (c >>> 8);
  return (c ^ 0xffffffff) >>> 0;
}

function chunk(kind, body) {
  const bytes = new Uint8Array(body.length + 12);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, body.length);
  for (let i = 0; i < 4; i++) bytes[4 + i] = kind.charCodeAt(i);
  bytes.set(body, 8);
  view.setUint32(body.length + 8, crc(bytes.subarray(4, body.length + 8)));
  return bytes;
}

export class PngWriter {
  // 8 bits for each of 1 to 4 channels: grey, grey and alpha, RGB, RGB and alpha.
  constructor(width, height, channels) {
    this.channels = channels;
    this.length = width * channels;
    this.above = new Uint8Array(this.length);
    this.deflate = new CompressionStream("deflate");
    this.writer = this.deflate.writable.getWriter();
    const header = new Uint8Array(13);
    const view = new DataView(header.buffer);
    view.setUint32(0, width);
    view.setUint32(4, height);
    header.set([8, COLOUR_TYPES[channels], 0, 0, 0], 8);
    const signature = Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a);
    // Each part is a Blob of its own, which the browser may keep on disk.
    this.parts = [new Blob([signature, chunk("IHDR", header)])];
    this.collected = this.collect();
  }

  async collect() {
    const reader = this.deflate.readable.getReader();
    let waiting = [];
    let size = 0;
    const flush = () => {
      if (!size) return;
      const body = new Uint8Array(size);
      let at = 0;
      for (const part of waiting) {
        body.set(part, at);
        at += part.length;
      }
      this.parts.push(new Blob([chunk("IDAT", body)]));
      waiting = [];
      size = 0;
    };
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      waiting.push(value);
      size += value.length;
      if (size >= 2 ** 20) flush();
    }
    flush();
  }

  // Any number of whole rows, the channels of a pixel side by side.
  async write(rows) {
    const { length, channels } = this;
    const count = rows.length / length;
    const filtered = new Uint8Array((length + 1) * count);
    for (let row = 0; row < count; row++) {
      const to = row * (length + 1);
      const from = row * length;
      const above = row ? rows.subarray(from - length, from) : this.above;
      filtered[to] = 4;
      for (let i = 0; i < length; i++) {
        const a = i >= channels ? rows[from + i - channels] : 0;
        const b = above[i];
        const c = i >= channels ? above[i - channels] : 0;
        const pa = Math.abs(b - c);
        const pb = Math.abs(a - c);
        const pc = Math.abs(a + b - 2 * c);
        const predicted = pa <= pb && pa <= pc ? a : pb <= pc ? b : c;
        filtered[to + 1 + i] = rows[from + i] - predicted;
      }
    }
    this.above = rows.slice((count - 1) * length, count * length);
    await this.writer.ready;
    await this.writer.write(filtered);
  }

  // Returns the file.
  async finish() {
    await this.writer.close();
    await this.collected;
    this.parts.push(new Blob([chunk("IEND", new Uint8Array(0))]));
    return new Blob(this.parts, { type: "image/png" });
  }

  abort() {
    this.writer.abort().catch(() => {});
    this.collected.catch(() => {});
  }
}
