// The picture: the parts at the current time, with skeleton, trail and whole track.

const TEXT_COLOR = "#333";
const AXIS_COLOR = "#999";
const EDGE_COLOR = "#777";
const FONT = "12px system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif";

/** Opacity of points and lines whose confidence is under the threshold. */
const FAINT = 0.25;

const POINT_RADIUS = 5;
const LABEL_GAP = 9;
const LABEL_HEIGHT = 14;

/** Most points of a part's trail. Of a longer trail, every n-th frame is drawn. */
const TRAIL_POINTS = 150;

/** Up to so many frames between two samples of the track, a line between them is no lie. */
const LINE_STEP = 4;

/** How much larger than the range of positions the frame is, for the markers at its edge. */
const ROOM = 1.06;

const MARGIN = { left: 54, right: 12, top: 10, bottom: 34 };

/** Return round numbers between two values, about `wanted` of them. */
function niceTicks(low, high, wanted) {
  const span = high - low;
  if (!(span > 0)) return [];
  const power = 10 ** Math.floor(Math.log10(span / wanted));
  const step = [1, 2, 5, 10].map((each) => each * power).find((each) => span / each <= wanted);
  const ticks = [];
  for (let i = Math.ceil(low / step); i * step <= high; i++) ticks.push(i * step);
  return ticks;
}

/** Return a number in few characters. */
function shortNumber(value) {
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e6 || size < 1e-3) return value.toExponential(1);
  return String(Number(value.toPrecision(6)));
}

/** Add the outline of a marker to the path. The shapes tell apart parts of one colour. */
function traceMarker(context, shape, x, y, radius) {
  const corners = { 1: 4, 2: 3, 3: 4 }[shape % 4];
  if (!corners) {
    context.moveTo(x + radius, y);
    context.arc(x, y, radius, 0, 2 * Math.PI);
    return;
  }
  const turn = shape % 4 === 1 ? Math.PI / 4 : -Math.PI / 2;
  for (let i = 0; i <= corners; i++) {
    const angle = turn + (2 * Math.PI * i) / corners;
    const corner = [x + 1.25 * radius * Math.cos(angle), y + 1.25 * radius * Math.sin(angle)];
    if (i) context.lineTo(...corner);
    else context.moveTo(...corner);
  }
}

function boxAround(x, y, radius) {
  return { left: x - radius, top: y - radius, right: x + radius, bottom: y + radius };
}

function overlap(one, other) {
  return (
    one.left < other.right &&
    other.left < one.right &&
    one.top < other.bottom - 1 &&
    other.top < one.bottom - 1
  );
}

/** Draws the picture. `settings` is the figure's state: threshold, labels, trail, parts shown. */
class Picture {
  constructor(data, settings) {
    this.data = data;
    this.settings = settings;
    this.labelSides = data.parts.map(() => 0);
    this.labelWidths = new Map();
  }

  /** Set the size in CSS pixels. All other methods need it. */
  resize(width, height) {
    const [[left, right], [top, bottom]] = this.data.attrs.picture;
    const free = {
      width: Math.max(1, width - MARGIN.left - MARGIN.right),
      height: Math.max(1, height - MARGIN.top - MARGIN.bottom),
    };
    const span = { x: ROOM * (right - left), y: ROOM * (bottom - top) };
    this.scale = Math.min(free.width / span.x, free.height / span.y);
    // The frame: as large as what is shown, but not too thin for its axes.
    const frame = {
      width: Math.min(free.width, Math.max(span.x * this.scale, free.height / 2)),
      height: Math.min(free.height, Math.max(span.y * this.scale, free.width / 4)),
    };
    this.frame = {
      ...frame,
      left: MARGIN.left + (free.width - frame.width) / 2,
      top: MARGIN.top + (free.height - frame.height) / 2,
    };
    this.size = { width, height };
    this.center = { x: (left + right) / 2, y: (top + bottom) / 2 };
    this.middle = {
      x: this.frame.left + frame.width / 2,
      y: this.frame.top + frame.height / 2,
    };
  }

  x(value) {
    return this.middle.x + (value - this.center.x) * this.scale;
  }

  y(value) {
    const direction = this.settings.yUp ? -1 : 1;
    return this.middle.y + direction * (value - this.center.y) * this.scale;
  }

  /** Return the stored confidence under which a part is faint; 0 if it never is. */
  faintBelow(part) {
    const { threshold } = this.settings;
    const scale = part.scales[2];
    if (!threshold || !scale) return 0;
    if (!scale.step) return scale.offset < threshold ? Infinity : 1;
    return Math.max(1, (threshold - scale.offset) / scale.step);
  }

  /**
   * Draw what does not change with time: axes and the whole track.
   * Return whether all data for it were there.
   */
  drawBackground(context, maxSamples = Infinity) {
    this.drawAxes(context);
    this.clip(context);
    let complete = true;
    for (const part of this.data.parts) {
      const track = this.data.cache.get(part.clock.trackName, 0);
      complete = complete && Boolean(track);
      if (track && this.settings.shown[part.number]) {
        this.drawTrack(context, part, track, maxSamples);
      }
    }
    context.restore();
    return complete;
  }

  /** Draw the parts at a time. Return whether all data for it were there. */
  drawForeground(context, time) {
    this.clip(context);
    let complete = true;
    const points = [];
    const frames = new Map(this.data.clocks.map((clock) => [clock, clock.frameAt(time)]));
    for (const part of this.data.parts) {
      const frame = frames.get(part.clock);
      if (!this.settings.shown[part.number]) continue;
      if (frame && frame.loading) complete = false;
      if (this.settings.trailSec > 0) this.drawTrail(context, part, time);
      points[part.number] = frame && frame.block ? this.pointOf(part, frame) : null;
    }
    this.drawEdges(context, points);
    const there = points.filter(Boolean);
    for (const point of there) this.drawPoint(context, point);
    context.restore();
    if (this.settings.labels) this.drawLabels(context, there);
    return complete;
  }

  /** Fetch what is needed to draw at a time. */
  load(time) {
    const start = time - this.settings.trailSec * this.data.perSec;
    return Promise.all(
      this.data.clocks.flatMap((clock) => [
        this.data.cache.load(clock.trackName, 0),
        clock.frames.load(start, time),
      ]),
    );
  }

  clip(context) {
    context.save();
    context.beginPath();
    context.rect(this.frame.left, this.frame.top, this.frame.width, this.frame.height);
    context.clip();
  }

  drawAxes(context) {
    const { left, top, width, height } = this.frame;
    context.save();
    context.strokeStyle = "#ccc";
    context.lineWidth = 1;
    context.strokeRect(left + 0.5, top + 0.5, width - 1, height - 1);
    context.fillStyle = TEXT_COLOR;
    context.strokeStyle = AXIS_COLOR;
    context.font = FONT;
    context.beginPath();
    context.textAlign = "center";
    context.textBaseline = "top";
    const half = { x: width / 2 / this.scale, y: height / 2 / this.scale };
    const { x: cx, y: cy } = this.center;
    for (const tick of niceTicks(cx - half.x, cx + half.x, Math.max(2, width / 90))) {
      const x = this.x(tick);
      context.moveTo(x, top + height);
      context.lineTo(x, top + height - 5);
      context.fillText(shortNumber(tick), x, top + height + 4);
    }
    context.textAlign = "right";
    context.textBaseline = "middle";
    for (const tick of niceTicks(cy - half.y, cy + half.y, Math.max(2, height / 60))) {
      const y = this.y(tick);
      context.moveTo(left, y);
      context.lineTo(left + 5, y);
      context.fillText(shortNumber(tick), left - 4, y);
    }
    context.stroke();
    const unit = this.data.attrs.unit;
    context.textAlign = "center";
    context.textBaseline = "bottom";
    context.fillText(unit ? `x (${unit})` : "x", left + width / 2, top + height + MARGIN.bottom - 1);
    context.save();
    context.translate(left - MARGIN.left + 2, top + height / 2);
    context.rotate(-Math.PI / 2);
    context.textBaseline = "top";
    context.fillText(unit ? `y (${unit})` : "y", 0, 0);
    context.restore();
    context.restore();
  }

  drawTrack(context, part, track, maxSamples) {
    const rows = ROW_NAMES.length;
    const numRows = rows * this.data.partsOf(part.clock).length;
    const samples = track.length / numRows;
    const row = (n) => track.subarray((part.place * rows + n) * samples).subarray(0, samples);
    const [xs, ys, confidences] = [row(0), row(1), row(2)];
    const step = Math.max(1, Math.ceil(samples / maxSamples));
    const faintBelow = this.faintBelow(part);
    const isLine = part.clock.trackStep * step <= LINE_STEP;
    context.save();
    context.globalAlpha = isLine ? 0.25 : 0.2;
    context.strokeStyle = part.color;
    context.fillStyle = part.color;
    context.lineWidth = 1;
    context.beginPath();
    let isDown = false;
    for (let i = 0; i < samples; i += step) {
      if (!xs[i] || !ys[i] || confidences[i] < faintBelow) {
        isDown = false;
        continue;
      }
      const { x, y } = this.place(part, xs[i], ys[i]);
      if (!isLine) context.rect(x - 0.75, y - 0.75, 1.5, 1.5);
      else if (isDown) context.lineTo(x, y);
      else context.moveTo(x, y);
      isDown = true;
    }
    if (isLine) context.stroke();
    else context.fill();
    context.restore();
  }

  drawTrail(context, part, time) {
    const length = this.settings.trailSec * this.data.perSec;
    const start = time - length;
    const { blocks } = part.clock.frames.blocksBetween(start, time);
    const perFrame = part.clock.interval || 1;
    const faintBelow = this.faintBelow(part);
    const stride = Math.max(1, Math.ceil(length / perFrame / TRAIL_POINTS));
    context.save();
    context.globalAlpha = 0.6;
    context.strokeStyle = part.color;
    context.lineWidth = 1.75;
    context.lineJoin = "round";
    context.beginPath();
    let before = -Infinity;
    for (const block of blocks) {
      const [xs, ys, confidences] = [0, 1, 2].map((n) => block.level.rows(block, part, n)[0]);
      const from = Math.max(0, lastUpTo(block.times, start, block.count));
      const to = lastUpTo(block.times, time, block.count);
      for (let i = from; i <= to; i++) {
        // Always the same frames, so that the trail does not flicker; and the last one.
        if ((block.number * block.level.blockEntries + i) % stride && i !== to) continue;
        if (block.times[i] < start) continue;
        if (!xs[i] || !ys[i] || confidences[i] < faintBelow) {
          before = -Infinity;
          continue;
        }
        const { x, y } = this.place(part, xs[i], ys[i]);
        if (block.times[i] - before <= Math.max(part.clock.hold, 2 * stride * perFrame)) {
          context.lineTo(x, y);
        } else {
          context.moveTo(x, y);
        }
        before = block.times[i];
      }
    }
    context.stroke();
    context.restore();
  }

  place(part, storedX, storedY) {
    const [sx, sy] = part.scales;
    return {
      x: this.x(sx.offset + storedX * sx.step),
      y: this.y(sy.offset + storedY * sy.step),
    };
  }

  /** Return where a part is in a frame, or null if it was not seen. */
  pointOf(part, { block, index }) {
    const [x, y, confidence] = [0, 1, 2].map((n) => block.level.rows(block, part, n)[0][index]);
    if (x === MISSING || y === MISSING) return null;
    return { part, ...this.place(part, x, y), faint: confidence < this.faintBelow(part) };
  }

  drawEdges(context, points) {
    context.save();
    context.strokeStyle = EDGE_COLOR;
    context.lineWidth = 2;
    for (const [first, second] of this.data.edges) {
      const [a, b] = [points[first], points[second]];
      if (!a || !b) continue;
      context.globalAlpha = a.faint || b.faint ? FAINT : 0.85;
      context.beginPath();
      context.moveTo(a.x, a.y);
      context.lineTo(b.x, b.y);
      context.stroke();
    }
    context.restore();
  }

  drawPoint(context, { part, x, y, faint }) {
    context.save();
    context.globalAlpha = faint ? FAINT : 1;
    context.lineWidth = 1.5;
    context.fillStyle = part.color;
    context.strokeStyle = "white";
    context.beginPath();
    traceMarker(context, part.shape, x, y, POINT_RADIUS);
    context.fill();
    context.stroke();
    context.restore();
  }

  /** Write the names beside the points: on a side where they cover no name, and best no point. */
  drawLabels(context, points) {
    context.save();
    context.font = FONT;
    context.textBaseline = "middle";
    context.textAlign = "left";
    context.lineJoin = "round";
    context.lineWidth = 3;
    context.strokeStyle = "rgba(255, 255, 255, 0.85)";
    const markers = points.map(({ x, y }) => boxAround(x, y, POINT_RADIUS));
    const names = [];
    for (const point of points) {
      const box = this.labelBox(context, point, names, markers);
      if (!box) continue;
      names.push(box);
      context.globalAlpha = point.faint ? 2 * FAINT : 1;
      context.fillStyle = point.part.color;
      context.strokeText(point.part.label, box.left, box.top + LABEL_HEIGHT / 2);
      context.fillText(point.part.label, box.left, box.top + LABEL_HEIGHT / 2);
    }
    context.restore();
  }

  labelBox(context, { part, x, y }, names, markers) {
    const width = this.labelWidth(context, part.label);
    const sides = [
      [x + LABEL_GAP, y - LABEL_HEIGHT / 2],
      [x - LABEL_GAP - width, y - LABEL_HEIGHT / 2],
      [x - width / 2, y - LABEL_GAP - LABEL_HEIGHT + 2],
      [x - width / 2, y + LABEL_GAP - 2],
      [x + POINT_RADIUS, y - LABEL_GAP - LABEL_HEIGHT + 4],
      [x - POINT_RADIUS - width, y - LABEL_GAP - LABEL_HEIGHT + 4],
      [x + POINT_RADIUS, y + LABEL_GAP - 4],
      [x - POINT_RADIUS - width, y + LABEL_GAP - 4],
    ].map(([left, top]) => ({ left, top, right: left + width, bottom: top + LABEL_HEIGHT }));
    const isFree = (box, others) =>
      box.left >= 0 &&
      box.right <= this.size.width &&
      !others.some((other) => overlap(box, other));
    // The side of the frame before is tried first, so that names do not jump about.
    const last = this.labelSides[part.number];
    const order = [last, ...sides.keys()];
    const find = (others) => order.find((each) => isFree(sides[each], others));
    const side = find([...names, ...markers]) ?? find(names);
    if (side === undefined) return null;
    this.labelSides[part.number] = side;
    return sides[side];
  }

  labelWidth(context, label) {
    if (!this.labelWidths.has(label)) {
      this.labelWidths.set(label, context.measureText(label).width);
    }
    return this.labelWidths.get(label);
  }
}
