// The graphs of x, y and confidence over time.

/** Most entries of a line in view. Beyond it, a coarser overview is drawn. */
const MAX_ENTRIES = 6000;

const GRAPH_MARGIN = { left: 54, right: 12, top: 6, bottom: 22 };
const ROW_GAP = 8;

/** A lower row has no room for numbers beside it. */
const LEAST_TICKED = 28;

/** Share of the height of x, y and confidence. */
const ROW_SHARES = [2, 2, 1];

/** Steps between the marks of the time axis, in seconds. */
const TIME_STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600];

/** Return a time for people: in seconds, or with minutes and hours. */
function shownTime(seconds, digits) {
  const size = Math.abs(seconds);
  if (size < 120 || size >= 1e7) return `${seconds.toFixed(digits)} s`;
  const total = Number(size.toFixed(digits));
  const two = (value) => String(Math.floor(value)).padStart(2, "0");
  const rest = (total % 60).toFixed(digits).padStart(digits ? digits + 3 : 2, "0");
  const minutes = Math.floor(total / 60);
  const sign = seconds < 0 ? "−" : "";
  if (minutes < 60) return `${sign}${minutes}:${rest}`;
  return `${sign}${Math.floor(minutes / 60)}:${two(minutes % 60)}:${rest}`;
}

/** Return where the time axis has marks, and how each is written. */
function timeTicks(start, end, wanted, inFrames) {
  const span = end - start;
  const step = span / wanted > 1 && TIME_STEPS.find((each) => span / each <= wanted);
  if (inFrames || !step || end >= 1e7) {
    const ticks = niceTicks(start, end, wanted);
    const unit = inFrames ? "" : " s";
    return ticks.map((time) => ({ time, text: `${Number(time.toPrecision(12))}${unit}` }));
  }
  const first = Math.ceil(start / step);
  const count = Math.floor(end / step) - first + 1;
  return Array.from({ length: Math.max(0, count) }, (_, i) => {
    const time = (first + i) * step;
    return { time, text: shownTime(time, 0) };
  });
}

/** Return a range with a little room at its ends, so that a line there is seen. */
function withRoom([low, high]) {
  const room = (high - low) / 25;
  return [low - room, high + room];
}

/** Draws the graphs. */
class Graph {
  constructor(data, picture, settings, maxEntries = MAX_ENTRIES) {
    this.data = data;
    this.maxEntries = maxEntries;
    this.picture = picture;
    this.settings = settings;
    const { picture: ranges } = data.attrs;
    const tops = data.parts.filter((part) => part.confidence).map((part) => part.confidence[1]);
    this.quantities = [
      { name: "x", range: withRoom(ranges[0]) },
      { name: "y", range: withRoom(ranges[1]) },
      { name: "confidence", range: [0, Math.max(1, ...tops)] },
    ].slice(0, data.hasConfidence ? 3 : 2);
  }

  /** Set size in CSS pixels and the span of time in view. */
  resize(width, height, [start, end]) {
    const inner = height - GRAPH_MARGIN.top - GRAPH_MARGIN.bottom;
    const gaps = ROW_GAP * (this.quantities.length - 1);
    const shares = ROW_SHARES.slice(0, this.quantities.length);
    const unit = Math.max(1, inner - gaps) / shares.reduce((a, b) => a + b);
    let top = GRAPH_MARGIN.top;
    this.rows = this.quantities.map((quantity, number) => {
      const row = { ...quantity, number, top, height: unit * shares[number] };
      top += row.height + ROW_GAP;
      return row;
    });
    this.size = { width, height };
    this.span = [start, end];
    this.innerWidth = Math.max(1, width - GRAPH_MARGIN.left - GRAPH_MARGIN.right);
  }

  levelOf(clock) {
    return clock.levelFor(...this.span, this.maxEntries);
  }

  /** Fetch what `drawBackground` needs. */
  load() {
    return Promise.all(this.data.clocks.map((clock) => this.levelOf(clock).load(...this.span)));
  }

  x(time) {
    const [start, end] = this.span;
    return GRAPH_MARGIN.left + ((time - start) / (end - start)) * this.innerWidth;
  }

  /** Return the time at a horizontal position. */
  timeAt(x) {
    const [start, end] = this.span;
    return start + ((x - GRAPH_MARGIN.left) / this.innerWidth) * (end - start);
  }

  y(row, value) {
    const [low, high] = row.range;
    const share = (value - low) / (high - low);
    const downwards = row.number === 1 && !this.settings.yUp; // as in the picture
    return row.top + row.height * (downwards ? share : 1 - share);
  }

  /** Draw all but the current time. Return whether all data for it were there. */
  drawBackground(context) {
    let complete = true;
    for (const row of this.rows) {
      this.drawFrame(context, row);
      context.save();
      context.beginPath();
      context.rect(GRAPH_MARGIN.left, row.top, this.innerWidth, row.height);
      context.clip();
      for (const part of this.data.parts) {
        if (this.settings.shown[part.number] && part.scales[row.number]) {
          complete = this.drawLine(context, row, part) && complete;
        }
      }
      if (row.number === 2) this.drawThreshold(context, row);
      context.restore();
    }
    this.drawTimeAxis(context);
    return complete;
  }

  /** Draw the current time. */
  drawForeground(context, time) {
    const x = this.x(time);
    if (x < GRAPH_MARGIN.left - 1 || x > GRAPH_MARGIN.left + this.innerWidth + 1) return;
    context.save();
    context.strokeStyle = "#d00000";
    context.lineWidth = 1.5;
    context.beginPath();
    context.moveTo(x, this.rows[0].top);
    context.lineTo(x, this.size.height - GRAPH_MARGIN.bottom);
    context.stroke();
    context.restore();
  }

  drawFrame(context, row) {
    const { left } = GRAPH_MARGIN;
    context.save();
    context.strokeStyle = "#ccc";
    context.lineWidth = 1;
    context.strokeRect(left + 0.5, row.top + 0.5, this.innerWidth - 1, row.height - 1);
    context.font = FONT;
    context.fillStyle = TEXT_COLOR;
    context.strokeStyle = "#eee";
    context.textAlign = "right";
    context.textBaseline = "middle";
    context.beginPath();
    const wanted = row.height < LEAST_TICKED ? 0 : Math.max(1, row.height / 30);
    for (const tick of wanted ? niceTicks(...row.range, wanted) : []) {
      const y = this.y(row, tick);
      context.moveTo(left, y);
      context.lineTo(left + this.innerWidth, y);
      const textY = Math.min(Math.max(y, row.top + 5), row.top + row.height - 5);
      context.fillText(shortNumber(tick), left - 4, textY);
    }
    context.stroke();
    context.translate(2, row.top + row.height / 2);
    context.rotate(-Math.PI / 2);
    context.textAlign = "center";
    context.textBaseline = "top";
    context.fillText(row.number === 2 && row.height < 70 ? "conf." : row.name, 0, 0);
    context.restore();
  }

  drawTimeAxis(context) {
    const bottom = this.size.height - GRAPH_MARGIN.bottom;
    context.save();
    context.font = FONT;
    context.fillStyle = TEXT_COLOR;
    context.strokeStyle = AXIS_COLOR;
    context.textAlign = "center";
    context.textBaseline = "top";
    context.beginPath();
    const wanted = Math.max(2, this.innerWidth / (this.span[1] < 1e6 ? 90 : 160));
    for (const { time, text } of timeTicks(...this.span, wanted, this.data.inFrames)) {
      const x = this.x(time);
      context.moveTo(x, bottom);
      context.lineTo(x, bottom + 4);
      context.fillText(text, Math.min(x, this.size.width - 22), bottom + 6);
    }
    if (this.data.inFrames) {
      context.textAlign = "left";
      context.fillText("frame", 2, bottom + 6);
    }
    context.stroke();
    context.restore();
  }

  drawThreshold(context, row) {
    if (!this.settings.threshold) return;
    const y = this.y(row, this.settings.threshold);
    context.strokeStyle = "#333";
    context.lineWidth = 1;
    context.setLineDash([4, 4]);
    context.beginPath();
    context.moveTo(GRAPH_MARGIN.left, y);
    context.lineTo(GRAPH_MARGIN.left + this.innerWidth, y);
    context.stroke();
    context.setLineDash([]);
  }

  drawLine(context, row, part) {
    const [start, end] = this.span;
    const { blocks, complete } = this.levelOf(part.clock).blocksBetween(start, end);
    context.strokeStyle = part.color;
    context.lineWidth = 1;
    context.lineJoin = "bevel"; // mitres of narrow spikes would reach far
    for (const faint of this.settings.threshold ? [true, false] : [false]) {
      context.globalAlpha = faint ? FAINT : 0.9;
      context.beginPath();
      this.traceLine(context, row, part, blocks, faint);
      context.stroke();
    }
    context.globalAlpha = 1;
    return complete;
  }

  /** Add a line to the path: those of its pieces that are faint, or the others. */
  traceLine(context, row, part, blocks, wantFaint) {
    const [start, end] = this.span;
    const { offset, step } = part.scales[row.number];
    // The confidence itself is drawn in full: its threshold is a line.
    const faintBelow = row.number === 2 ? 0 : this.picture.faintBelow(part);
    let last = null;
    let isDown = false;
    for (const block of blocks) {
      const { level, times } = block;
      const longest = part.clock.hold + 2 * level.step * part.clock.interval;
      const [lows, highs] = level.rows(block, part, row.number);
      const confidences = level.rows(block, part, 2)[1];
      const from = Math.max(0, lastUpTo(times, start, block.count));
      const to = Math.min(block.count - 1, lastUpTo(times, end, block.count) + 1);
      for (let i = from; i <= to; i++) {
        if (lows[i] === MISSING) {
          this.endDot(context, last, isDown, wantFaint);
          last = null;
          isDown = false;
          continue;
        }
        const now = {
          time: times[i],
          x: this.x(times[i]),
          low: this.y(row, offset + lows[i] * step),
          high: this.y(row, offset + highs[i] * step),
          faint: confidences[i] < faintBelow,
        };
        const joins = last && now.time - last.time <= longest;
        if (!joins) {
          this.endDot(context, last, isDown, wantFaint);
          isDown = false;
        }
        if (joins && (now.faint || last.faint) === wantFaint) {
          if (!isDown) context.moveTo(last.x, last.high);
          context.lineTo(now.x, now.low);
          if (now.high !== now.low) context.lineTo(now.x, now.high);
          isDown = true;
        } else if (joins) {
          isDown = false;
        }
        now.alone = !joins;
        last = now;
      }
    }
    this.endDot(context, last, isDown, wantFaint);
  }

  /** A frame between two gaps is a dot. */
  endDot(context, last, isDown, wantFaint) {
    if (!last || isDown || !last.alone || last.faint !== wantFaint) return;
    context.moveTo(last.x - 1, last.low);
    context.lineTo(last.x + 1, last.high);
  }}
