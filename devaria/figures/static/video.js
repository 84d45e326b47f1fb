// The view of a video figure: the picture, its controls and its caption.

/** Shortest time between two reports of the current time to other views, while it plays. */
const REPORT_GAP_MS = 100;

class VideoView {
  constructor({ container, zarrGroup, width, height, onResize, contexts, setDrawForExport }) {
    this.attrs = zarrGroup.attrs;
    this.selection = this.attrs.has_times ? contexts.timeseriesSelection : null;
    this.speed = 1;
    this.reportedMs = -Infinity;
    this.build();
    container.replaceChildren(this.root);
    this.resize(width, height);
    onResize((newWidth, newHeight) => this.resize(newWidth, newHeight));
    // Also when the texts below need another line, and when the view is taken out of the page.
    this.observer = new ResizeObserver(() => {
      if (this.root.isConnected) this.fitPicture();
      else this.end();
    });
    this.observer.observe(this.stage);
    setDrawForExport(async (target) => this.player && this.drawForExport(target));
    this.load(zarrGroup).catch((error) => this.say(`The video cannot be shown: ${error.message}`));
  }

  build() {
    const { attrs } = this;
    this.video = element("video", { playsInline: true, muted: true, preload: "auto", tabIndex: -1 });
    // Browsers may leave an earlier frame of a paused video on the screen after some quick seeks.
    // So what is seen is a canvas, on which each frame is drawn.
    this.canvas = element("canvas", { width: attrs.width, height: attrs.height, role: "img" });
    this.badge = element("div", { className: "badge", textContent: this.speedText() });
    this.picture = element("div", { className: "picture" }, this.video, this.canvas, this.badge);
    this.message = element("div", { className: "message", role: "status" });
    this.stage = element("div", { className: "stage" }, this.picture, this.message);
    this.root = element(
      "div",
      { className: "devaria-video", role: "group", "aria-label": `Video of ${attrs.name}` },
      element("style", { textContent: STYLE }),
      this.stage,
      element("div", { className: "panel" }, this.makeSlider(), this.makeRow(), this.makeCaption()),
    );
    this.say("Loading the video…");
  }

  makeSlider() {
    this.slider = element("input", {
      type: "range",
      min: 0,
      max: this.attrs.num_frames - 1,
      step: 1,
      value: 0,
      "aria-label": "Frame",
    });
    this.slider.addEventListener("input", () => this.player?.show(Number(this.slider.value)));
    return this.slider;
  }

  makeRow() {
    this.playButton = makeButton("play", "Play (space)", () => this.player?.toggle());
    this.time = element("span", { className: "time" });
    this.frame = element("span", { className: "frame" });
    return element(
      "div",
      { className: "row" },
      makeButton("back", "One frame back (left arrow)", () => this.player?.step(-1)),
      this.playButton,
      makeButton("forward", "One frame on (right arrow)", () => this.player?.step(1)),
      makeSpeedChoice((value) => this.setSpeed(value)),
      this.time,
      this.frame,
    );
  }

  makeCaption() {
    const { name, caption } = this.attrs;
    return element(
      "div",
      { className: "caption", tabIndex: 0, role: "note", "aria-label": "About the video" },
      element("b", { textContent: name }),
      ` · ${caption.join(" · ")}`,
    );
  }

  async load(zarrGroup) {
    const { attrs } = this;
    this.times = await zarrGroup.getDatasetData("times", {});
    this.numbers = await zarrGroup.getDatasetData("frame_numbers", {});
    this.decimals = decimalsFor(this.times);
    const megabytes = withDecimals(attrs.num_bytes / 1e6, 1);
    const blob = await fetchVideo(zarrGroup, attrs.num_bytes, attrs.piece_bytes, (bytes) =>
      this.say(`Loading the video: ${withDecimals(bytes / 1e6, 1)} of ${megabytes} MB`),
    );
    if (!this.root.isConnected) return; // replaced meanwhile
    this.player = new FramePlayer(
      this.video,
      attrs.frame_rate,
      attrs.num_frames,
      (index) => this.showFrame(index),
      (isPlaying) => this.showPlaying(isPlaying),
    );
    this.video.addEventListener("error", () =>
      this.say("This browser cannot play the video (H.264 in MP4)."),
    );
    this.video.addEventListener("loadeddata", () => this.begin(), { once: true });
    this.url = URL.createObjectURL(blob);
    this.video.src = this.url;
  }

  /** Show the first frame, and follow the keys and the other views. */
  begin() {
    if (!this.root.isConnected) {
      this.end();
      return;
    }
    this.say("");
    this.canvas.addEventListener("click", () => this.player.toggle());
    this.onKey = (event) => this.pressed(event);
    document.addEventListener("keydown", this.onKey);
    if (this.selection) {
      const span = [this.times[0], this.times[this.times.length - 1]];
      this.selection.dispatch({
        type: "initializeTimeseries",
        startTimeSec: span[0],
        endTimeSec: span[1],
        initialVisibleStartTimeSec: span[0],
        initialVisibleEndTimeSec: span[1],
      });
      this.forget = this.selection.onChange((state) => this.followTime(state.currentTime));
    }
    const current = this.selection?.stateRef.current.currentTime;
    this.player.show(current === undefined ? 0 : this.frameAt(current));
  }

  /** Return the number of the frame that is shown at a time of the recording. */
  frameAt(timeSec) {
    let low = 0;
    let high = this.times.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.times[middle] <= timeSec) low = middle + 1;
      else high = middle;
    }
    return Math.max(0, low - 1);
  }

  followTime(timeSec) {
    if (!this.root.isConnected) {
      this.end();
    } else if (timeSec !== undefined && timeSec !== this.reportedSec) {
      this.reportedSec = timeSec;
      this.player.show(this.frameAt(timeSec));
    }
  }

  /** Stop following, and free the video: figpack has put something else in this view's place. */
  end() {
    this.observer.disconnect();
    document.removeEventListener("keydown", this.onKey);
    this.forget?.();
    this.video.pause();
    this.video.removeAttribute("src");
    this.video.load();
    if (this.url) URL.revokeObjectURL(this.url);
  }

  pressed(event) {
    if (!this.root.isConnected) {
      this.end();
      return;
    }
    if (event.defaultPrevented) return; // another view of the figure has taken it
    const { target } = event;
    const isElsewhere = target !== document.body && !this.root.contains(target);
    if (isElsewhere || event.altKey || event.ctrlKey || event.metaKey) return;
    const isChoice = target instanceof HTMLSelectElement;
    if (isChoice || (event.key === " " && target instanceof HTMLButtonElement)) return;
    if (event.key === "ArrowLeft") this.player.step(-1);
    else if (event.key === "ArrowRight") this.player.step(1);
    else if (event.key === " ") this.player.toggle();
    else return;
    event.preventDefault();
  }

  setSpeed(speed) {
    this.speed = speed;
    this.video.defaultPlaybackRate = speed;
    this.video.playbackRate = speed;
    this.badge.textContent = this.speedText();
  }

  /** Say how the video's time passes, compared to the recording's. */
  speedText() {
    const { attrs } = this;
    if (attrs.num_frames === 1) return "one frame";
    if (attrs.speed_up === null) return attrs.has_times ? "speed unknown" : "times unknown";
    const factor = Number((attrs.speed_up * this.speed).toPrecision(3));
    const about = attrs.speed_is_exact ? "" : "about ";
    return factor === 1 ? `${about}real time` : `${about}${factor.toLocaleString("en-US")}× real time`;
  }

  /** Return the time of the frame on the screen, in words. */
  timeText() {
    const { attrs, times } = this;
    const { index } = this.player;
    return attrs.has_times ? `${withDecimals(times[index], this.decimals)} s` : "time unknown";
  }

  frameText() {
    const { attrs } = this;
    const count = (value) => withDecimals(value, 0);
    const { index } = this.player;
    return (
      `frame ${count(index + 1)} of ${count(attrs.num_frames)} · ` +
      `data[${this.numbers[index]}] of ${count(attrs.frames_in_file)}`
    );
  }

  showFrame(index) {
    const { width, height } = this.canvas;
    this.canvas.getContext("2d").drawImage(this.video, 0, 0, width, height);
    this.canvas.setAttribute("aria-label", `Frame ${index + 1}`);
    this.slider.value = index;
    this.time.textContent = this.timeText();
    this.frame.textContent = this.frameText();
    this.slider.setAttribute("aria-valuetext", `${this.timeText()}, ${this.frameText()}`);
    const isDue = performance.now() - this.reportedMs >= REPORT_GAP_MS;
    if (this.selection && (isDue || !this.player.isPlaying)) this.report(this.times[index]);
  }

  /** Tell the other views which time is shown, unless they asked for this very frame. */
  report(timeSec) {
    const asked = this.selection.stateRef.current.currentTime;
    if (asked !== undefined && this.frameAt(asked) === this.frameAt(timeSec)) return;
    this.reportedMs = performance.now();
    this.reportedSec = timeSec;
    this.selection.dispatch({
      type: "setCurrentTime",
      currentTime: timeSec,
      ensureVisible: true,
    });
  }

  showPlaying(isPlaying) {
    if (isPlaying) setIcon(this.playButton, "pause", "Pause (space)");
    else setIcon(this.playButton, "play", "Play (space)");
  }

  /** Show a message in place of the picture; "" shows the picture. */
  say(text) {
    this.message.textContent = text;
    this.message.style.display = text ? "" : "none";
    this.picture.style.visibility = text ? "hidden" : "";
  }

  resize(width, height) {
    this.root.style.width = `${width}px`;
    this.root.style.height = `${height}px`;
  }

  /** Make the picture as large as its stage allows. */
  fitPicture() {
    const { clientWidth, clientHeight } = this.stage;
    const scale = Math.min(clientWidth / this.attrs.width, clientHeight / this.attrs.height);
    const size = [this.attrs.width * scale, this.attrs.height * scale];
    Object.assign(this.picture.style, {
      width: `${size[0]}px`,
      height: `${size[1]}px`,
      left: `${(clientWidth - size[0]) / 2}px`,
      top: `${(clientHeight - size[1]) / 2}px`,
    });
    this.canvas.style.imageRendering = scale >= SHARP_SCALE ? "pixelated" : "auto";
  }

  /** Draw the frame on the screen, and what is to be known about it, for the export as SVG. */
  drawForExport({ context, width, height }) {
    const texts = [
      this.attrs.name,
      `${this.timeText()} · ${this.frameText()} · ${this.speedText()}`,
      this.attrs.caption.join(" · "),
    ];
    drawPictureWithTexts(context, width, height, this.canvas, texts);
  }
}

/** Return how many decimals tell the times of neighbouring frames apart. */
function decimalsFor(times) {
  if (times.length < 2) return 3;
  const stepSec = (times[times.length - 1] - times[0]) / (times.length - 1);
  if (!(stepSec > 0)) return 3;
  return Math.min(9, Math.max(0, 1 - Math.floor(Math.log10(stepSec))));
}

window.figpack_p1.registerFPViewComponent({
  name: "devaria.Video",
  render: (params) => {
    new VideoView(params);
  },
});
window.figpack_p1.registerFPExtension({ name: "devaria-video" });
