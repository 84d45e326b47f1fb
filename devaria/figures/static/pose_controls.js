// The controls below the picture, and the list of parts. Names are set as text, never as HTML.

const PLAY = "Play (space)";
const PAUSE = "Pause (space)";

const SPEEDS = [0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 100];
const TRAILS_SEC = [0, 0.5, 1, 2, 5, 10, 30];

/** From this width on, the list of parts stands beside the picture. */
const WIDE = 720;

const STYLE = `
.dvp { position: relative; display: flex; box-sizing: border-box; overflow: hidden; background: white;
  color: #213547; font: 13px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
.dvp * { box-sizing: border-box; }
.dvp-main { flex: 1; min-width: 0; display: flex; flex-direction: column; }
.dvp-stage { position: relative; flex: 1 1 0; min-height: 120px; }
.dvp-graph { position: relative; flex: none; touch-action: pan-y pinch-zoom; }
.dvp-graph:focus-visible, .dvp button:focus-visible, .dvp input:focus-visible,
.dvp select:focus-visible, .dvp-notes:focus-visible { outline: 2px solid #1f6feb; outline-offset: 1px; }
.dvp canvas { position: absolute; inset: 0; width: 100%; height: 100%; }
.dvp-bar { display: flex; flex-wrap: wrap; align-items: center; gap: 4px 12px; padding: 4px 12px; }
.dvp-bar label { display: inline-flex; align-items: center; gap: 5px; white-space: nowrap; }
.dvp-time { flex: 1 1 160px; min-width: 120px; height: 28px; margin: 0; accent-color: #1f6feb; }
.dvp-now { min-width: 17em; font-variant-numeric: tabular-nums; }
.dvp button, .dvp select { height: 34px; min-width: 40px; padding: 2px 8px; font: inherit; color: inherit;
  background: #f6f8fa; border: 1px solid #8a939d; border-radius: 6px; cursor: pointer; }
.dvp button:hover, .dvp select:hover { border-color: #1f6feb; }
.dvp button.dvp-play { min-width: 56px; }
.dvp button svg { display: block; margin: auto; width: 18px; height: 18px; fill: currentColor; }
.dvp-confidence input { width: 110px; accent-color: #1f6feb; }
.dvp-confidence output { min-width: 2.6em; font-variant-numeric: tabular-nums; }
.dvp-notes { margin: 0; padding: 0 12px 4px; color: #57626d; font-size: 12px; max-height: 48px; overflow-y: auto; }
.dvp-parts { display: flex; flex-direction: column; padding: 8px 4px 8px 8px; border-left: 1px solid #ddd; }
.dvp-parts-head { display: flex; gap: 6px; align-items: center; padding: 6px 0; }
.dvp-parts .dvp-bar { padding: 0 4px 10px 0; gap: 6px 12px; border-bottom: 1px solid #ddd; }
.dvp-parts .dvp-confidence { flex-wrap: wrap; }
.dvp-parts h2 { flex: 1; margin: 0; font-size: 13px; }
.dvp-parts ul { list-style: none; margin: 0; padding: 0; overflow-y: auto; }
.dvp-parts li label { display: flex; align-items: center; gap: 6px; min-height: 26px; cursor: pointer; }
.dvp-parts li span { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.dvp-parts svg { flex: none; }
.dvp-wide .dvp-parts { flex: none; width: 212px; }
.dvp-wide .dvp-show-parts { display: none; }
.dvp-narrow .dvp-parts { position: absolute; z-index: 2; inset: 8px 8px auto auto; width: min(260px, 80%);
  max-height: 60%; background: white; border: 1px solid #8a939d; border-radius: 6px; box-shadow: 0 2px 10px #0003; }
.dvp-narrow .dvp-parts[hidden] { display: none; }
.dvp-narrow .dvp-bar { gap: 4px 8px; padding: 3px 8px; }
.dvp-error { position: absolute; inset: 8px 8px auto 8px; z-index: 3; padding: 6px 10px; background: #fff0f0;
  border: 1px solid #c00; border-radius: 4px; }
.dvp-error[hidden] { display: none; }
`;

function select(label, options, chosen, onChange) {
  const made = element("select", { "aria-label": label });
  for (const [value, text] of options) {
    made.append(element("option", { value: String(value), textContent: text }));
  }
  made.value = String(chosen);
  made.addEventListener("change", () => onChange(Number(made.value)));
  return made;
}

function checkbox(text, checked, onChange) {
  const box = element("input", { type: "checkbox", checked });
  box.addEventListener("change", () => onChange(box.checked));
  return element("label", {}, box, text);
}

/** The colour and the shape of a part's marker, as an image. */
function swatch(part) {
  const made = element("canvas", { width: 28, height: 28 });
  made.style.cssText = "position: static; width: 14px; height: 14px; flex: none";
  const context = made.getContext("2d");
  context.fillStyle = part.color;
  traceMarker(context, part.shape, 14, 14, 9);
  context.fill();
  return made;
}

/** Builds the controls, and keeps them as the figure's state is. */
class Controls {
  /** `act` has a function for each thing that a reader can do. */
  constructor(data, settings, act) {
    this.data = data;
    this.stage = element("div", { className: "dvp-stage" });
    this.graph = element("div", {
      className: "dvp-graph",
      tabIndex: 0,
      role: "group",
      "aria-label": "Graphs over time. Click to go to a time. Plus and minus keys zoom.",
    });
    this.error = element("div", { className: "dvp-error", role: "alert", hidden: true });
    this.parts = this.partsPanel(settings, act);
    this.settingsBar = this.makeSettingsBar(settings, act);
    this.timeBar = this.makeTimeBar(act);
    const main = element(
      "div",
      { className: "dvp-main" },
      this.stage,
      this.timeBar,
      this.notes(),
      this.graph,
    );
    const style = element("style", { textContent: STYLE });
    this.root = element("div", { className: "dvp" }, style, main, this.parts, this.error);
  }

  makeTimeBar(act) {
    this.play = makeButton("play", PLAY, act.togglePlay);
    this.play.classList.add("dvp-play");
    this.slider = element("input", {
      type: "range",
      className: "dvp-time",
      "aria-label": "Time",
      min: this.data.startTime,
      max: this.data.endTime,
      step: "any",
    });
    this.slider.addEventListener("input", () => act.seek(Number(this.slider.value)));
    this.now = element("span", { className: "dvp-now" }); // an output would be read out at each frame
    return element(
      "div",
      { className: "dvp-bar" },
      makeButton("back", "Previous frame (left arrow)", () => act.step(-1)),
      this.play,
      makeButton("forward", "Next frame (right arrow)", () => act.step(1)),
      this.slider,
      this.now,
    );
  }

  makeSettingsBar(settings, act) {
    const unit = this.data.inFrames ? "frames" : "s";
    const speeds = SPEEDS.map((each) => [each, `${each}×`]);
    const trails = TRAILS_SEC.map((each) => [each, each ? `${each * this.data.perSec} ${unit}` : "off"]);
    const zoom = (text, label, factorOfSpan) => {
      const made = element("button", { type: "button", textContent: text, "aria-label": label });
      made.title = label;
      made.addEventListener("click", () => act.zoom(factorOfSpan));
      return made;
    };
    const showParts = element("button", {
      type: "button",
      className: "dvp-show-parts",
      textContent: "Parts",
      "aria-expanded": "false",
    });
    showParts.addEventListener("click", () => {
      this.parts.hidden = !this.parts.hidden;
      showParts.setAttribute("aria-expanded", String(!this.parts.hidden));
    });
    const bar = element(
      "div",
      { className: "dvp-bar" },
      element("label", {}, "Speed", select("Speed", speeds, settings.speed, act.setSpeed)),
      element("label", {}, "Trail", select("Trail", trails, settings.trailSec, act.setTrail)),
      checkbox("Names", settings.labels, act.setLabels),
      checkbox("y upwards", settings.yUp, act.setYUp),
    );
    if (this.data.hasConfidence) bar.append(this.thresholdControl(act));
    bar.append(
      showParts,
      element(
        "span",
        { className: "dvp-zoom" },
        "Graphs ",
        zoom("+", "Zoom into the graphs", 0.5),
        " ",
        zoom("−", "Zoom out of the graphs", 2),
        " ",
        zoom("All", "Show the whole recording in the graphs", Infinity),
      ),
    );
    return bar;
  }

  thresholdControl(act) {
    const tops = this.data.parts.map((part) => (part.confidence ? part.confidence[1] : 0));
    const slider = element("input", {
      type: "range",
      "aria-label": "Confidence under which points are faint",
      min: 0,
      max: Math.max(1, ...tops),
      step: 0.01,
      value: 0,
    });
    const shown = element("output", { textContent: "0.00" });
    slider.addEventListener("input", () => {
      shown.textContent = Number(slider.value).toFixed(2);
      act.setThreshold(Number(slider.value));
    });
    return element(
      "label",
      { className: "dvp-confidence", title: "Points with less confidence are faint" },
      "Confidence ≥",
      slider,
      shown,
    );
  }

  notes() {
    const textContent = this.data.attrs.notes.join(" · ");
    return element("p", { className: "dvp-notes", textContent, tabIndex: textContent ? 0 : -1 });
  }

  partsPanel(settings, act) {
    const boxes = [];
    const list = element("ul");
    for (const part of this.data.parts) {
      const box = element("input", { type: "checkbox", checked: settings.shown[part.number] });
      box.addEventListener("change", () => act.setShown(part.number, box.checked));
      boxes.push(box);
      const name = element("span", { textContent: part.name, title: part.name });
      list.append(element("li", {}, element("label", {}, box, swatch(part), name)));
    }
    const all = (text, label, checked) => {
      const made = element("button", { type: "button", textContent: text, "aria-label": label });
      made.addEventListener("click", () => {
        for (const box of boxes) box.checked = checked;
        act.setAllShown(checked);
      });
      return made;
    };
    const head = element(
      "div",
      { className: "dvp-parts-head" },
      element("h2", { textContent: `${boxes.length} ${boxes.length === 1 ? "part" : "parts"}` }),
      all("All", "Show all parts", true),
      all("None", "Hide all parts", false),
    );
    return element("section", { className: "dvp-parts", "aria-label": "Parts" }, head, list);
  }

  /** Arrange for a size in CSS pixels. */
  resize(width, height) {
    const isWide = width >= WIDE;
    this.root.style.width = `${width}px`;
    this.root.style.height = `${height}px`;
    if (this.isWide === isWide) return;
    this.isWide = isWide;
    this.root.classList.toggle("dvp-wide", isWide);
    this.root.classList.toggle("dvp-narrow", !isWide);
    this.parts.hidden = !isWide;
    if (isWide) this.parts.prepend(this.settingsBar);
    else this.timeBar.after(this.settingsBar);
  }

  /** Show the time, and whether it plays. */
  show(time, playing, waiting, frameText) {
    this.slider.value = String(time);
    const shown = this.timeText(time);
    this.now.textContent = `${shown}${frameText}${waiting ? " · loading…" : ""}`;
    this.slider.setAttribute("aria-valuetext", shown);
    if (this.isPlaying === playing) return;
    this.isPlaying = playing;
    setIcon(this.play, playing ? "pause" : "play", playing ? PAUSE : PLAY);
  }

  timeText(time) {
    const { inFrames, endTime } = this.data;
    if (inFrames) return `frame ${time.toFixed(0)} of ${endTime.toFixed(0)}`;
    return `${shownTime(time, 3)} of ${shownTime(endTime, 3)}`;
  }
}
