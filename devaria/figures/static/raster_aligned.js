// Spikes around events, of one unit at a time: its rate above, and a row for each event below.

const ALIGNED_STYLE = `
.devaria-aligned { display: flex; flex-direction: column; overflow: hidden; background: white;
  font: 13px sans-serif; color: #222; }
.devaria-aligned .row { display: flex; gap: 8px; align-items: center; padding: 6px 12px;
  border-top: 1px solid #ddd; background: #f7f8fa; }
.devaria-aligned .row button { padding: 4px 8px; line-height: 0; cursor: pointer; }
.devaria-aligned .row svg { width: 14px; height: 14px; }
.devaria-aligned .row select { max-width: 40%; padding: 3px; font: inherit; }
.devaria-aligned .stage { flex: 1; min-height: 0; position: relative; }
.devaria-aligned canvas { position: absolute; left: 0; top: 0; }
`;

const ALIGNED = { left: 60, right: 20, top: 24, bottom: 40, gap: 16, rateShare: 0.3 };

class AlignedView {
  constructor({ container, zarrGroup, width, height, onResize }) {
    this.group = zarrGroup;
    this.attrs = zarrGroup.attrs;
    this.spikes = null; // of the unit that is shown
    this.build();
    container.replaceChildren(this.root);
    this.resize(width, height);
    onResize((newWidth, newHeight) => this.resize(newWidth, newHeight));
    this.show(0);
  }

  build() {
    const { labels, event_name: name, num_events: count } = this.attrs;
    this.choice = element("select", { "aria-label": "Unit" });
    this.choice.append(
      ...labels.map((label, number) =>
        element("option", { value: number, textContent: `Unit ${label}` }),
      ),
    );
    this.choice.addEventListener("change", () => this.show(Number(this.choice.value)));
    this.canvas = element("canvas", { role: "img" });
    this.stage = element("div", { className: "stage" }, this.canvas);
    this.note = element("span", { role: "status" });
    this.caption = `${count.toLocaleString("en-US")} events (${name})`;
    this.root = element(
      "div",
      { className: "devaria-aligned", role: "group", "aria-label": `Spikes around ${name}` },
      element("style", { textContent: ALIGNED_STYLE }),
      this.stage,
      element(
        "div",
        { className: "row" },
        makeButton("back", "The unit before", () => this.step(-1)),
        this.choice,
        makeButton("forward", "The next unit", () => this.step(1)),
        this.note,
      ),
    );
  }

  step(by) {
    const number = Number(this.choice.value) + by;
    if (number >= 0 && number < this.attrs.labels.length) this.show(number);
  }

  /** Fetch a unit's spikes, and show them unless another unit was chosen meanwhile. */
  async show(number) {
    this.choice.value = number;
    const stops = this.attrs.unit_stops;
    const slice = [[number ? stops[number - 1] : 0, stops[number]]];
    const isEmpty = slice[0][0] === slice[0][1];
    this.note.textContent = "Loading…";
    try {
      const parts = isEmpty
        ? [[], []]
        : await Promise.all(
            ["times", "events"].map((name) => this.group.getDatasetData(name, { slice })),
          );
      if (Number(this.choice.value) !== number) return;
      this.spikes = { times: parts[0], events: parts[1] };
      const spikes = parts[0].length.toLocaleString("en-US");
      this.note.textContent = `${spikes} spikes around ${this.caption}`;
      this.canvas.setAttribute("aria-label", `Unit ${this.attrs.labels[number]}`);
      this.redraw();
    } catch (error) {
      this.note.textContent = `The spikes cannot be shown: ${error.message}`;
    }
  }

  resize(width, height) {
    this.root.style.width = `${width}px`;
    this.root.style.height = `${height}px`;
    this.redraw();
  }

  redraw() {
    const { clientWidth, clientHeight } = this.stage;
    const scale = window.devicePixelRatio || 1;
    this.canvas.width = Math.round(clientWidth * scale);
    this.canvas.height = Math.round(clientHeight * scale);
    this.canvas.style.width = `${clientWidth}px`;
    this.canvas.style.height = `${clientHeight}px`;
    const context = this.canvas.getContext("2d");
    context.scale(scale, scale);
    this.draw(context, clientWidth, clientHeight);
  }

  /** Return the unit's rate in each bin, in spikes a second. */
  rates() {
    const { window_sec: [first, last], bin_sec: bin, num_events: count } = this.attrs;
    const rates = new Array(Math.round((last - first) / bin)).fill(0);
    for (const time of this.spikes.times) {
      const number = Math.min(rates.length - 1, Math.floor((time - first) / bin));
      rates[Math.max(0, number)] += 1 / (count * bin);
    }
    return rates;
  }

  draw(context, width, height) {
    if (!this.spikes || width < 100 || height < 100) return;
    const { left, right, top, bottom, gap, rateShare } = ALIGNED;
    const inner = { left, width: width - left - right };
    const rateHeight = (height - top - bottom - gap) * rateShare;
    const rate = { ...inner, top, height: rateHeight };
    const rows = { ...inner, top: top + rateHeight + gap };
    rows.height = height - bottom - rows.top;
    context.fillStyle = "white";
    context.fillRect(0, 0, width, height);
    this.drawTimeAxis(context, rate, rows);
    this.drawRate(context, rate);
    this.drawRows(context, rows);
    context.textAlign = "left";
    context.textBaseline = "top";
    context.font = "bold 13px sans-serif";
    context.fillText(`Unit ${this.attrs.labels[Number(this.choice.value)]}`, left, 5);
  }

  x(area, time) {
    const [first, last] = this.attrs.window_sec;
    return area.left + ((time - first) / (last - first)) * area.width;
  }

  drawTimeAxis(context, rate, rows) {
    const [first, last] = this.attrs.window_sec;
    const end = rows.top + rows.height;
    context.font = "11px sans-serif";
    context.textAlign = "center";
    context.textBaseline = "top";
    for (let time = first; time <= last + 1e-9; time += 0.5) {
      context.fillStyle = time === 0 ? "#d33" : "#ddd";
      context.fillRect(this.x(rate, time) - 0.5, rate.top, 1, end - rate.top);
      context.fillStyle = "#444";
      context.fillText(`${time}`, this.x(rate, time), end + 5);
    }
    const middle = rows.left + rows.width / 2;
    context.fillText(`Time from ${this.attrs.event_name} (s)`, middle, end + 21);
  }

  drawRate(context, area) {
    const rates = this.rates();
    const most = Math.max(...rates) || 1;
    const { window_sec: [first], bin_sec: bin } = this.attrs;
    context.fillStyle = "#556";
    rates.forEach((value, number) => {
      const [start, stop] = [number, number + 1].map((edge) => this.x(area, first + edge * bin));
      const height = (value / most) * area.height;
      context.fillRect(start, area.top + area.height - height, stop - start - 0.5, height);
    });
    this.drawSide(context, area, [`${Number(most.toPrecision(2))}`, "0"], "Spikes/s");
  }

  /** Draw a row for each event, the first on top. */
  drawRows(context, area) {
    const count = this.attrs.num_events;
    const step = area.height / count;
    const tick = Math.max(1, step * 0.8);
    const { times, events } = this.spikes;
    context.fillStyle = "#124";
    for (let number = 0; number < times.length; number++) {
      const middle = area.top + (events[number] + 0.5) * step;
      context.fillRect(this.x(area, times[number]) - 0.5, middle - tick / 2, 1, tick);
    }
    this.drawSide(context, area, ["1", `${count}`], "Event");
  }

  /** Draw the two ends of an axis at the left side, and its name. */
  drawSide(context, area, [upper, lower], name) {
    context.fillStyle = "#444";
    context.fillRect(area.left - 0.5, area.top, 1, area.height);
    context.font = "11px sans-serif";
    context.textAlign = "right";
    context.textBaseline = "middle";
    context.fillText(upper, area.left - 5, area.top + 5);
    context.fillText(lower, area.left - 5, area.top + area.height - 5);
    if (area.height > 50) context.fillText(name, area.left - 5, area.top + area.height / 2);
  }
}

window.figpack_p1.registerFPViewComponent({
  name: "devaria.Aligned",
  render: (params) => {
    new AlignedView(params);
  },
});
window.figpack_p1.registerFPExtension({ name: "devaria-aligned" });
