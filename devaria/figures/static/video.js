// The view of a video figure: the picture, its controls and its caption.

/** Shortest time between two reports of the current time to other views, while it plays. */
const REPORT_GAP_MS = 100;

/** A picture is shown with sharp pixels from this magnification on. */
const SHARP_SCALE = 3;

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
    setDrawForExport((target) => this.drawForExport(target));
    this.load(zarrGroup).catch((error) => this.say(`The video cannot be shown: ${error.message}`));
  }

  build() {
    const { attrs } = this;
    this.root = make("div", "devaria-video", {
      role: "group",
      "aria-label": `Video of ${attrs.name}`,
    });
    const style = make("style", "");
    style.textContent = STYLE;
    this.stage = make("div", "stage");
    this.picture = make("div", "picture");
    this.video = make("video", "", { playsinline: "", preload: "auto" });
    this.video.muted = true;
    this.badge = make("div", "badge");
    this.message = make("div", "message", { role: "status" });
    this.picture.append(this.video, this.badge);
    this.stage.append(this.picture, this.message);
    this.root.append(style, this.stage, this.buildPanel());
    this.showSpeed();
    this.say("Loading the video…");
  }

  buildPanel() {
    const { attrs } = this;
    const panel = make("div", "panel");
    this.slider = make("input", "", { type: "range", min: 0, step: 1, "aria-label": "Frame" });
    this.slider.max = attrs.num_frames - 1;
    this.slider.value = 0;
    this.slider.addEventListener("input", () => this.player?.show(Number(this.slider.value)));
    const row = make("div", "row");
    this.playButton = makeButton("play", "Play (space)", () => this.player?.toggle());
    const speed = makeSpeedChoice((value) => this.setSpeed(value));
    this.time = make("span", "time");
    this.frame = make("span", "frame");
    row.append(
      makeButton("back", "One frame back (left arrow)", () => this.player?.step(-1)),
      this.playButton,
      makeButton("forward", "One frame on (right arrow)", () => this.player?.step(1)),
      speed,
      this.time,
      this.frame,
    );
    const caption = make("div", "caption", { tabindex: 0, "aria-label": "About the video" });
    const name = make("b", "");
    name.textContent = attrs.name;
    caption.append(name, ` · ${attrs.caption.join(" · ")}`);
    panel.append(this.slider, row, caption);
    return panel;
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
    this.video.src = URL.createObjectURL(blob);
  }

  /** Show the first frame, and follow the keys and the other views. */
  begin() {
    this.say("");
    this.video.addEventListener("click", () => this.player.toggle());
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

  /** Stop following: figpack has put something else in this view's place. */
  end() {
    document.removeEventListener("keydown", this.onKey);
    this.forget?.();
    this.video.pause();
  }

  pressed(event) {
    if (!this.root.isConnected) {
      this.end();
      return;
    }
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
    this.showSpeed();
  }

  showSpeed() {
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
    const seconds = (value) => `${withDecimals(value, this.decimals)} s`;
    return attrs.has_times ? seconds(times[index]) : "time unknown";
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
    const { clientWidth, clientHeight } = this.stage;
    const scale = Math.min(clientWidth / this.attrs.width, clientHeight / this.attrs.height);
    const size = [this.attrs.width * scale, this.attrs.height * scale];
    Object.assign(this.picture.style, {
      width: `${size[0]}px`,
      height: `${size[1]}px`,
      left: `${(clientWidth - size[0]) / 2}px`,
      top: `${(clientHeight - size[1]) / 2}px`,
    });
    this.video.style.imageRendering = scale >= SHARP_SCALE ? "pixelated" : "auto";
  }

  /** Draw the frame on the screen, and what is to be known about it, for the export as SVG. */
  async drawForExport({ context, width, height }) {
    context.fillStyle = "white";
    context.fillRect(0, 0, width, height);
    if (!this.player) return;
    const line = 18;
    const scale = Math.min(width / this.attrs.width, (height - 3 * line) / this.attrs.height);
    const canvas = document.createElement("canvas");
    canvas.width = Math.max(1, Math.round(this.attrs.width * scale));
    canvas.height = Math.max(1, Math.round(this.attrs.height * scale));
    const picture = canvas.getContext("2d");
    picture.imageSmoothingEnabled = scale < SHARP_SCALE;
    picture.drawImage(this.video, 0, 0, canvas.width, canvas.height);
    const image = picture.getImageData(0, 0, canvas.width, canvas.height);
    context.putImageData(image, Math.round((width - canvas.width) / 2), 0);
    context.fillStyle = "black";
    context.font = "13px sans-serif";
    const texts = [
      `${this.attrs.name} · ${this.timeText()} · ${this.frameText()} · ${this.speedText()}`,
      this.attrs.caption.join(" · "),
    ];
    texts.forEach((text, number) => {
      context.fillText(escaped(text), 8, canvas.height + line * (number + 1));
    });
  }
}

/** Return how many decimals tell the times of neighbouring frames apart. */
function decimalsFor(times) {
  if (times.length < 2) return 3;
  const stepSec = (times[times.length - 1] - times[0]) / (times.length - 1);
  if (!(stepSec > 0)) return 3;
  return Math.min(9, Math.max(0, 1 - Math.floor(Math.log10(stepSec))));
}

/** Escape a text for SVG: figpack writes it into the file as it is. */
function escaped(text) {
  const names = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" };
  return text.replace(/[&<>"']/g, (character) => names[character]);
}

window.figpack_p1.registerFPViewComponent({
  name: "devaria.Video",
  render: (params) => {
    new VideoView(params);
  },
});
window.figpack_p1.registerFPExtension({ name: "devaria-video" });
