// The two pictures on top of each other, the line between them, and moving about.
//
// Result pixels are placed on the screen by {zoom, x, y}: x and y, 0 to 1, are what stands in the
// middle. Moving the line only changes what is covered, so nothing is computed.

const STEP = 48; // pixels of the screen that an arrow key moves

export class View {
  // `changed(values)` is called with x, y or wipe when the person at the screen changes them.
  constructor(stage, changed) {
    this.stage = stage;
    this.changed = changed;
    this.handle = stage.querySelector("#wipe");
    this.overview = stage.querySelector("#overview");
    this.layers = {};
    for (const side of ["a", "b"]) {
      const layer = stage.querySelector(`#layer-${side}`);
      this.layers[side] = { layer, canvas: layer.querySelector("canvas"), box: null };
    }
    this.size = null; // of the whole result
    this.state = { zoom: 1, x: 0.5, y: 0.5, wipe: 50 };
    this.listen();
    new ResizeObserver(() => this.changed({})).observe(stage);
  }

  // The box of the result that is seen, in whole pixels.
  seen() {
    const { left, top, width, height } = this.corner();
    const [x, y] = [Math.floor(left), Math.floor(top)];
    return { x, y, width: Math.ceil(left + width) - x, height: Math.ceil(top + height) - y };
  }

  // Where the stage's corner is in the result, and how much of it the stage holds.
  corner(size = this.size) {
    const { clientWidth, clientHeight } = this.stage;
    const { zoom, x, y } = this.state;
    const [width, height] = [clientWidth / zoom, clientHeight / zoom];
    if (!size) return { left: 0, top: 0, width, height };
    const along = (middle, full, part) =>
      full <= part ? (full - part) / 2 : Math.min(Math.max(middle * full - part / 2, 0), full - part);
    return { left: along(x, size.width, width), top: along(y, size.height, height), width, height };
  }

  update(state) {
    Object.assign(this.state, state);
    this.place();
  }

  // A picture of a box of the result, or a part of one that is there already.
  draw(side, box, rgba, size) {
    const layer = this.layers[side];
    const { canvas } = layer;
    if (size) {
      this.size = size;
      layer.box = box;
      if (canvas.width !== box.width) canvas.width = box.width;
      if (canvas.height !== box.height) canvas.height = box.height;
    }
    const picture = new ImageData(rgba, box.width, box.height);
    canvas.getContext("2d").putImageData(picture, box.x - layer.box.x, box.y - layer.box.y);
    if (size) this.place();
  }

  place() {
    const { zoom, wipe } = this.state;
    const { left, top, width, height } = this.corner();
    for (const { canvas, box } of Object.values(this.layers)) {
      if (!box) continue;
      canvas.style.left = `${(box.x - left) * zoom}px`;
      canvas.style.top = `${(box.y - top) * zoom}px`;
      canvas.style.width = `${box.width * zoom}px`;
      canvas.style.height = `${box.height * zoom}px`;
    }
    this.layers.b.layer.style.clipPath = `inset(0 0 0 ${wipe}%)`;
    this.layers.a.layer.style.clipPath = `inset(0 ${100 - wipe}% 0 0)`;
    this.handle.style.left = `${wipe}%`;
    this.handle.setAttribute("aria-valuenow", Math.round(wipe));
    this.handle.setAttribute("aria-valuetext", `${Math.round(wipe)} percent from the left`);
    const fits = !this.size || (this.size.width <= width + 1 && this.size.height <= height + 1);
    this.overview.hidden = fits || !this.thumbnail;
    this.stage.classList.toggle("movable", !fits);
    if (!this.overview.hidden) this.drawOverview({ left, top, width, height });
  }

  // A small picture of the whole photograph: {width, height, rgba}.
  setOverview({ width, height, rgba }) {
    this.thumbnail = new ImageData(rgba, width, height);
    this.overview.width = width;
    this.overview.height = height;
    this.place();
  }

  drawOverview({ left, top, width, height }) {
    const context = this.overview.getContext("2d");
    context.putImageData(this.thumbnail, 0, 0);
    const share = this.overview.width / this.size.width;
    const frame = [left, top, Math.min(width, this.size.width), Math.min(height, this.size.height)];
    const [x, y, w, h] = frame.map((value) => value * share);
    const inside = [Math.max(x, 0) + 1, Math.max(y, 0) + 1, Math.max(w - 2, 3), Math.max(h - 2, 3)];
    context.lineWidth = 3;
    context.strokeStyle = "black";
    context.strokeRect(...inside);
    context.lineWidth = 1.5;
    context.strokeStyle = "white";
    context.strokeRect(...inside);
  }

  moveBy(dx, dy) {
    if (!this.size) return;
    const { left, top, width, height } = this.corner();
    const { zoom } = this.state;
    const middle = (start, part, shift, full) =>
      full <= part ? 0.5 : Math.min(Math.max((start + shift / zoom + part / 2) / full, 0), 1);
    this.changed({
      x: middle(left, width, dx, this.size.width),
      y: middle(top, height, dy, this.size.height),
    });
  }

  wipeTo(percent) {
    this.changed({ wipe: Math.min(Math.max(percent, 0), 100) });
  }

  listen() {
    const { stage, handle, overview } = this;
    const drag = (element, move) => {
      element.addEventListener("pointerdown", (event) => {
        if (event.button !== 0) return;
        event.stopPropagation();
        element.setPointerCapture(event.pointerId);
        let [x, y] = [event.clientX, event.clientY];
        move(event, 0, 0);
        const moved = (next) => {
          move(next, next.clientX - x, next.clientY - y);
          [x, y] = [next.clientX, next.clientY];
        };
        const end = () => {
          element.removeEventListener("pointermove", moved);
          element.removeEventListener("pointerup", end);
          element.removeEventListener("pointercancel", end);
        };
        element.addEventListener("pointermove", moved);
        element.addEventListener("pointerup", end);
        element.addEventListener("pointercancel", end);
      });
    };
    drag(handle, (event, dx) => {
      const { left, width } = stage.getBoundingClientRect();
      if (dx) this.wipeTo(((event.clientX - left) / width) * 100);
    });
    drag(overview, (event) => {
      const { left, top, width, height } = overview.getBoundingClientRect();
      const share = (value) => Math.min(Math.max(value, 0), 1);
      const [x, y] = [(event.clientX - left) / width, (event.clientY - top) / height];
      this.changed({ x: share(x), y: share(y) });
    });
    drag(stage, (event, dx, dy) => {
      if (dx || dy) this.moveBy(-dx, -dy);
    });
    handle.addEventListener("keydown", (event) => {
      const { wipe } = this.state;
      const step = event.shiftKey ? 10 : 2;
      const places = {
        ArrowLeft: wipe - step,
        ArrowDown: wipe - step,
        ArrowRight: wipe + step,
        ArrowUp: wipe + step,
        PageDown: wipe - 10,
        PageUp: wipe + 10,
        Home: 0,
        End: 100,
      };
      if (!(event.key in places)) return;
      event.preventDefault();
      event.stopPropagation();
      this.wipeTo(places[event.key]);
    });
    stage.addEventListener("keydown", (event) => {
      const moves = {
        ArrowLeft: [-STEP, 0],
        ArrowRight: [STEP, 0],
        ArrowUp: [0, -STEP],
        ArrowDown: [0, STEP],
      };
      if (!(event.key in moves)) return;
      event.preventDefault();
      this.moveBy(...moves[event.key]);
    });
  }
}
