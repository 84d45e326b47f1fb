// The pose figure: it holds the state, plays, and draws when something has changed.

/** Least height of the graphs, and their share of the figure. */
const GRAPH_HEIGHT = { least: 130, share: 0.34 };

/** Least length of the trail at the start, in seconds and in frames. */
const FIRST_TRAIL = { sec: 2, frames: 10 };

/** How many seconds of playing are fetched ahead, in at most so many blocks. */
const AHEAD = { sec: 3, blocks: 4 };

/** A movement of the pointer under so many pixels is a click. */
const CLICK_PIXELS = 4;

/** The smallest span of time in the graphs, in frames. */
const LEAST_FRAMES = 4;

/** An exported figure is text: samples of all tracks in it, and entries of a line, at most. */
const EXPORTED = { samples: 20000, entries: 1000 };

/** Height of the line above the picture in an exported figure. */
const TITLE_HEIGHT = 18;

/**
 * Draw into figpack's context that makes an SVG. It lacks methods of a canvas, and it writes texts
 * into the SVG as they are, so they are escaped here: names come from a stranger's file.
 */
function drawingSvg(context, draw) {
  const short = (value) => Math.round(value * 100) / 100;
  const { moveTo, lineTo, rect, fillText } = context;
  const own = {
    moveTo: (x, y) => moveTo.call(context, short(x), short(y)),
    lineTo: (x, y) => lineTo.call(context, short(x), short(y)),
    rect: (...box) => rect.apply(context, box.map(short)),
    fillText: (text, x, y) => fillText.call(context, escaped(text), short(x), short(y)),
    strokeText: () => {},
    measureText: (text) => {
      const canvas = document.createElement("canvas").getContext("2d");
      canvas.font = context.font;
      return canvas.measureText(text);
    },
  };
  Object.assign(context, own);
  try {
    draw();
  } finally {
    for (const name of Object.keys(own)) delete context[name]; // those of its class are back
  }
}

/** A pair of canvases: what seldom changes, and what changes with the time. */
class Layers {
  constructor(parent, label) {
    this.parent = parent;
    this.background = element("canvas", { "aria-hidden": "true" });
    this.foreground = element("canvas", { role: "img", "aria-label": label });
    parent.append(this.background, this.foreground);
  }

  /** Fit the canvases to their parent. Return whether their size has changed. */
  fit() {
    const ratio = window.devicePixelRatio || 1;
    const { clientWidth: width, clientHeight: height } = this.parent;
    if (this.width === width && this.height === height && this.ratio === ratio) return false;
    Object.assign(this, { width, height, ratio });
    for (const canvas of [this.background, this.foreground]) {
      canvas.width = Math.max(1, Math.round(width * ratio));
      canvas.height = Math.max(1, Math.round(height * ratio));
    }
    return true;
  }

  /** Return a cleared context that takes CSS pixels. */
  cleared(canvas) {
    const context = canvas.getContext("2d");
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, canvas.width, canvas.height);
    context.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    return context;
  }
}

/** One figure on the page. */
class PoseFigure {
  constructor({ container, zarrGroup, contexts, setDrawForExport }, width, height) {
    this.data = new PoseData(
      zarrGroup,
      () => this.changed(!this.isComplete),
      (error) => this.failed(error),
    );
    const { data } = this;
    this.selection = contexts && contexts.timeseriesSelection;
    this.time = data.startTime;
    this.playing = false;
    const trailSec = TRAILS_SEC.find(
      (sec) => sec >= FIRST_TRAIL.sec && sec * data.perSec >= FIRST_TRAIL.frames * data.interval,
    );
    this.settings = {
      speed: 1,
      trailSec: trailSec === undefined ? TRAILS_SEC[TRAILS_SEC.length - 1] : trailSec,
      labels: true,
      yUp: data.attrs.y_up,
      threshold: 0,
      shown: data.parts.map(() => true),
    };
    this.controls = new Controls(data, this.settings, this.actions());
    this.picture = new Picture(data, this.settings);
    this.graph = new Graph(data, this.picture, this.settings);
    this.stageLayers = new Layers(this.controls.stage, "Positions of the parts at the current time");
    this.graphLayers = new Layers(this.controls.graph, "Positions of the parts over time");
    container.replaceChildren(this.controls.root);
    this.root = this.controls.root;
    this.listen();
    this.joinSelection();
    if (setDrawForExport) setDrawForExport((options) => this.drawForExport(options));
    this.resize(width, height);
  }

  /** What the controls can do. */
  actions() {
    const set = (name) => (value) => {
      this.settings[name] = value;
      this.changed(true);
    };
    return {
      togglePlay: () => this.togglePlay(),
      seek: (time) => this.seek(time),
      step: (direction) => this.step(direction),
      zoom: (factor) => this.zoom(factor, this.time),
      setSpeed: set("speed"),
      setTrail: set("trailSec"),
      setLabels: set("labels"),
      setYUp: set("yUp"),
      setThreshold: set("threshold"),
      setShown: (number, shown) => {
        this.settings.shown[number] = shown;
        this.changed(true);
      },
      setAllShown: (shown) => {
        this.settings.shown.fill(shown);
        this.changed(true);
      },
    };
  }

  // --- time ---------------------------------------------------------------------------------

  /** Share time and view with the other views of the figure. */
  joinSelection() {
    const { startTime, endTime } = this.data;
    this.wholeSpan = endTime > startTime ? [startTime, endTime] : [startTime - 0.5, endTime + 0.5];
    if (!this.selection) return;
    const [start, end] = this.wholeSpan;
    this.selection.dispatch({
      type: "initializeTimeseries",
      startTimeSec: start,
      endTimeSec: end,
      initialVisibleStartTimeSec: start,
      initialVisibleEndTimeSec: end,
    });
    const { currentTime } = this.selection.stateRef.current;
    if (currentTime !== undefined) this.time = this.clamped(currentTime);
    this.leaveSelection = this.selection.onChange((state) => {
      if (!this.isAlive()) return;
      if (state.currentTime !== undefined && state.currentTime !== this.time) {
        this.time = this.clamped(state.currentTime);
      }
      this.changed(false);
    });
  }

  /** Return the span of time in the graphs. */
  span() {
    const state = this.selection ? this.selection.stateRef.current : {};
    const { visibleStartTimeSec: start, visibleEndTimeSec: end } = state;
    return end > start ? [start, end] : this.ownSpan || this.wholeSpan;
  }

  setSpan(start, end) {
    this.ownSpan = [start, end];
    if (this.selection) {
      this.selection.dispatch({
        type: "setVisibleTimeRange",
        visibleStartTimeSec: start,
        visibleEndTimeSec: end,
      });
    }
    this.changed(false);
  }

  /** Show a span that is `factor` times as long, with one time staying where it is. */
  zoom(factor, fixed) {
    const [wholeStart, wholeEnd] = this.wholeSpan;
    const [start, end] = this.span();
    const interval = this.data.interval || 1;
    const whole = wholeEnd - wholeStart;
    const length = Math.max(Math.min((end - start) * factor, whole), LEAST_FRAMES * interval);
    if (length >= whole) {
      this.setSpan(wholeStart, wholeEnd);
      return;
    }
    const anchor = fixed >= start && fixed <= end ? fixed : (start + end) / 2;
    this.pan(anchor - ((anchor - start) / (end - start)) * length, length);
  }

  /** Show a span of that start and length, or as near to it as there are data. */
  pan(start, length) {
    const [wholeStart, wholeEnd] = this.wholeSpan;
    const from = Math.max(wholeStart, Math.min(start, wholeEnd - length));
    this.setSpan(from, Math.min(from + length, wholeEnd));
  }

  clamped(time) {
    return Math.min(this.data.endTime, Math.max(this.data.startTime, time));
  }

  /** Go to a time. The graphs follow if it is not in view. */
  seek(time) {
    this.time = this.clamped(time);
    if (this.selection) {
      this.selection.dispatch({
        type: "setCurrentTime",
        currentTime: this.time,
        ensureVisible: true,
      });
    }
    this.changed(false);
  }

  async step(direction) {
    this.playing = false;
    const shown = this.data.parts.filter((part) => this.settings.shown[part.number]);
    const parts = shown.length ? shown : this.data.parts;
    const from = this.time;
    const time = await this.data.neighbourOf(from, direction, parts).catch(() => undefined);
    if (time !== undefined && this.time === from) this.seek(time);
    else this.changed(false);
  }

  togglePlay() {
    this.playing = !this.playing;
    if (this.playing && this.time >= this.data.endTime) this.seek(this.data.startTime);
    this.lastTick = undefined;
    this.changed(false);
  }

  /** Move the time on, by what has passed since the last picture. It waits for missing data. */
  advance(now) {
    const passed = this.lastTick === undefined ? 0 : Math.min(0.25, (now - this.lastTick) / 1000);
    this.lastTick = now;
    if (this.waiting) return;
    const perSec = this.settings.speed * this.data.perSec;
    this.seek(this.time + passed * perSec);
    if (this.time >= this.data.endTime) this.playing = false;
    for (const { frames } of this.data.clocks) {
      const next = frames.blockAt(this.time) + 1;
      const last = Math.min(next + AHEAD.blocks - 1, frames.blockAt(this.time + AHEAD.sec * perSec));
      for (let number = next; number <= last; number++) frames.block(number);
    }
  }

  // --- drawing ------------------------------------------------------------------------------

  /** Draw soon. `inBackground`: also what does not change with the time. */
  changed(inBackground) {
    this.isStale = this.isStale || inBackground;
    if (this.requested || !this.root) return;
    this.requested = true;
    requestAnimationFrame((now) => {
      this.requested = false;
      if (!this.isAlive()) return;
      if (this.playing) this.advance(now);
      this.draw();
      if (this.playing) this.changed(false);
    });
  }

  draw() {
    const stage = this.stageLayers;
    const graph = this.graphLayers;
    const span = this.span();
    const resized = [stage.fit(), graph.fit()].some(Boolean);
    if (resized || this.isStale || String(span) !== this.drawnSpan) {
      this.picture.resize(stage.width, stage.height);
      this.graph.resize(graph.width, graph.height, span);
      if (resized || this.isStale) {
        this.hasTracks = this.picture.drawBackground(stage.cleared(stage.background));
      }
      const hasLines = this.graph.drawBackground(graph.cleared(graph.background));
      this.isComplete = this.hasTracks && hasLines;
      this.drawnSpan = String(span);
      this.isStale = false;
    }
    const complete = this.picture.drawForeground(stage.cleared(stage.foreground), this.time);
    this.graph.drawForeground(graph.cleared(graph.foreground), this.time);
    this.waiting = !complete && !this.hasFailed;
    this.controls.show(this.time, this.playing, this.waiting, this.frameText());
  }

  /** Return which frame of the file is shown, where its place tells it, for all parts the same. */
  frameText() {
    const { clocks, inFrames, attrs } = this.data;
    if (clocks.length > 1 || inFrames || !attrs.is_in_file_order) return "";
    const { frames } = clocks[0];
    const frame = clocks[0].frameAt(this.time);
    if (!frame || frame.loading) return "";
    const number = (frame.block.number * frames.blockEntries + frame.index) * attrs.frame_step;
    return ` · frame ${number.toLocaleString("en")}`;
  }

  /** Draw into a context that makes an SVG: the current frame over the graphs. */
  async drawForExport({ context, width, height }) {
    const graphHeight = Math.round(height * GRAPH_HEIGHT.share);
    const picture = new Picture(this.data, this.settings);
    const graph = new Graph(this.data, picture, this.settings, EXPORTED.entries);
    const { time } = this;
    const title = this.controls.timeText(time) + this.frameText();
    picture.resize(width, height - graphHeight - TITLE_HEIGHT);
    graph.resize(width, graphHeight, this.span());
    await Promise.all([graph.load(), picture.load(time)]);
    drawingSvg(context, () => {
      context.fillStyle = "white";
      context.fillRect(0, 0, width, height);
      context.fillStyle = TEXT_COLOR;
      context.font = FONT;
      context.textAlign = "left";
      context.textBaseline = "top";
      context.fillText(title, MARGIN.left, 4);
      context.save();
      context.translate(0, TITLE_HEIGHT);
      picture.drawBackground(context, Math.ceil(EXPORTED.samples / this.data.parts.length));
      picture.drawForeground(context, time);
      context.restore();
      context.save();
      context.translate(0, height - graphHeight);
      graph.drawBackground(context);
      graph.drawForeground(context, time);
      context.restore();
    });
  }

  resize(width, height) {
    this.controls.resize(width, height);
    const graphHeight = Math.max(GRAPH_HEIGHT.least, Math.round(height * GRAPH_HEIGHT.share));
    this.controls.graph.style.height = `${graphHeight}px`;
    this.changed(true);
  }

  failed(error) {
    this.hasFailed = true;
    this.playing = false;
    this.controls.error.hidden = false;
    this.controls.error.textContent = `Some data could not be loaded: ${error.message}`;
    this.changed(false);
  }

  // --- what the reader does -----------------------------------------------------------------

  /** Whether the figure is still on the page: figpack may draw it anew. */
  isAlive() {
    if (this.root.isConnected) return true;
    if (this.leaveSelection) this.leaveSelection();
    document.removeEventListener("keydown", this.onKey);
    this.observer.disconnect();
    return false;
  }

  listen() {
    this.onKey = (event) => {
      if (this.isAlive()) this.pressed(event);
    };
    document.addEventListener("keydown", this.onKey);
    this.observer = new ResizeObserver(() => this.changed(false));
    this.observer.observe(this.controls.stage);
    this.observer.observe(this.controls.graph);
    // After a click, space and arrow keys are the player's again, not the clicked control's.
    for (const type of ["click", "change"]) {
      this.root.addEventListener(type, ({ target }) => {
        if (target.matches("button, input, select") && !target.matches(":focus-visible")) {
          if (type === "change" || target.tagName === "BUTTON") target.blur();
        }
      });
    }
    const { graph } = this.controls;
    graph.addEventListener("pointerdown", (event) => this.graphPressed(event));
    graph.addEventListener("wheel", (event) => this.graphWheeled(event), { passive: false });
  }

  pressed(event) {
    if (event.defaultPrevented) return; // another view of the page has taken it
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const { target, key } = event;
    const inFigure = target === document.body || this.root.contains(target);
    if (!inFigure || target.tagName === "SELECT") return;
    const isOtherSlider = target.type === "range" && target !== this.controls.slider;
    const isButton = target.tagName === "BUTTON" || target.type === "checkbox";
    if (key === "ArrowLeft" || key === "ArrowRight") {
      if (isOtherSlider) return;
      this.step(key === "ArrowLeft" ? -1 : 1);
    } else if (key === " ") {
      if (isButton) return; // the browser presses it
      this.togglePlay();
    } else if (target === this.controls.graph && (key === "+" || key === "=" || key === "-")) {
      this.zoom(key === "-" ? 2 : 0.5, this.time);
    } else {
      return;
    }
    event.preventDefault();
  }

  /** A click goes to a time, a drag moves the span in view. */
  graphPressed(event) {
    const { graph } = this.controls;
    const left = graph.getBoundingClientRect().left;
    const [start, end] = this.span();
    const perPixel = (end - start) / this.graph.innerWidth;
    let moved = false;
    graph.setPointerCapture(event.pointerId);
    const move = (next) => {
      const pixels = next.clientX - event.clientX;
      moved = moved || Math.abs(pixels) >= CLICK_PIXELS;
      if (moved) this.pan(start - pixels * perPixel, end - start);
    };
    const stop = (next) => {
      graph.removeEventListener("pointermove", move);
      graph.removeEventListener("pointerup", stop);
      graph.removeEventListener("pointercancel", stop);
      if (next.type === "pointerup" && !moved) this.seek(this.graph.timeAt(next.clientX - left));
    };
    graph.addEventListener("pointermove", move);
    graph.addEventListener("pointerup", stop);
    graph.addEventListener("pointercancel", stop);
  }

  /** The wheel zooms once the graphs were clicked; before, it scrolls the page. */
  graphWheeled(event) {
    if (document.activeElement !== this.controls.graph || !event.deltaY) return;
    event.preventDefault();
    const left = this.controls.graph.getBoundingClientRect().left;
    this.zoom(event.deltaY > 0 ? 1.25 : 0.8, this.graph.timeAt(event.clientX - left));
  }
}

window.figpack_p1.registerFPViewComponent({
  name: "devaria.Pose",
  render: (options) => {
    const figure = new PoseFigure(options, options.width, options.height);
    options.onResize((width, height) => figure.resize(width, height));
  },
});
window.figpack_p1.registerFPExtension({ name: "devaria-pose" });
