// Networks see a few pixels far. So a picture is cut into tiles, and each goes through the network
// with a margin of that width: the result is that of the whole picture, with memory for one tile.

// Multiply-adds that a tile should take with its margin, a second or so on one slow core; and a side
// below which nearly all of a tile would be margin.
const WORK = 4e9;
const LEAST_SIDE = 64;

// Of a tile, in pixels of the small picture, without its margin.
export function tileSide({ work, radius, grid }) {
  const side = Math.floor(Math.sqrt(WORK / work)) - 2 * radius;
  return Math.ceil(Math.max(LEAST_SIDE, side) / grid) * grid;
}

// The tiles that a box of the small picture touches; a picture is always cut at the same places.
export function tilesOf(method, full, box) {
  const side = tileSide(method);
  const fits = full.width * full.height * method.work <= 2 * WORK;
  const [width, height] = fits ? [full.width, full.height] : [side, side];
  const result = [];
  const first = (start, step) => Math.floor(start / step) * step;
  for (let y = first(box.y, height); y < box.y + box.height; y += height) {
    for (let x = first(box.x, width); x < box.x + box.width; x += width) {
      const right = Math.min(x + width, full.width);
      const bottom = Math.min(y + height, full.height);
      result.push({ x, y, width: right - x, height: bottom - y });
    }
  }
  return result;
}

// The part of the small picture that a tile of the output depends on.
export function networkWindow({ radius, grid }, tile, { width, height }) {
  const low = (start) => Math.floor(Math.max(0, start - radius) / grid) * grid;
  const high = (end, size) => Math.min(size, Math.ceil((end + radius) / grid) * grid);
  const [x, y] = [low(tile.x), low(tile.y)];
  return {
    x,
    y,
    width: high(tile.x + tile.width, width) - x,
    height: high(tile.y + tile.height, height) - y,
  };
}

export function distance(box, point) {
  return Math.hypot(box.x + box.width / 2 - point.x, box.y + box.height / 2 - point.y);
}
