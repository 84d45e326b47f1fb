// The parts of the page of a video figure.

const STYLE = `
.devaria-video { display: flex; flex-direction: column; box-sizing: border-box; overflow: hidden;
  background: #fff; color: #213547; font: 14px/1.4 system-ui, sans-serif; }
.devaria-video * { box-sizing: border-box; }
.devaria-video .stage { flex: 1 1 0; min-height: 0; position: relative; background: #16181d; }
.devaria-video .picture { position: absolute; }
.devaria-video .picture > :is(video, canvas) { position: absolute; inset: 0; width: 100%; height: 100%; }
.devaria-video canvas { cursor: pointer; }
.devaria-video .badge { position: absolute; left: 8px; top: 8px; padding: 2px 8px;
  border-radius: 4px; background: rgba(0, 0, 0, 0.65); color: #fff; font-weight: 600;
  pointer-events: none; font-variant-numeric: tabular-nums; }
.devaria-video .message { position: absolute; inset: 0; display: flex; align-items: center;
  justify-content: center; padding: 16px; color: #d8dde3; text-align: center; }
.devaria-video .panel { flex: none; padding: 6px 12px 8px; border-top: 1px solid #d5dae0; }
.devaria-video .row { display: flex; flex-wrap: wrap; align-items: center; gap: 4px 10px; }
.devaria-video input[type="range"] { display: block; width: 100%; height: 24px; margin: 0;
  accent-color: #1f6feb; cursor: pointer; touch-action: none; }
.devaria-video button, .devaria-video select { height: 36px; margin: 0; padding: 0 6px;
  border: 1px solid #c3cad2; border-radius: 6px; background: #f6f8fa; color: inherit;
  font: inherit; cursor: pointer; }
.devaria-video button { min-width: 42px; display: inline-flex; align-items: center;
  justify-content: center; }
.devaria-video button:hover, .devaria-video select:hover { border-color: #1f6feb; }
.devaria-video :focus-visible { outline: 2px solid #1f6feb; outline-offset: 1px; }
.devaria-video svg { width: 18px; height: 18px; fill: currentColor; }
.devaria-video .time { font-size: 16px; font-weight: 600; font-variant-numeric: tabular-nums; }
.devaria-video .frame { color: #57626d; font-variant-numeric: tabular-nums; }
.devaria-video .caption { margin-top: 4px; max-height: 5.7em; overflow: auto; color: #57626d;
  font-size: 12.5px; overflow-wrap: anywhere; }
.devaria-video .caption b { color: #213547; }
`;

/** Speeds to choose from, as multiples of the speed at which the video was made to play. */
const SPEEDS = [0.1, 0.25, 0.5, 1, 2, 4];

/** Make the choice of speeds. */
function makeSpeedChoice(onChange) {
  const options = SPEEDS.map((speed) =>
    element("option", { value: speed, textContent: `Speed ${speed}×` }),
  );
  const select = element("select", { "aria-label": "Speed", title: "Speed" }, ...options);
  select.value = 1;
  select.addEventListener("change", () => onChange(Number(select.value)));
  return select;
}

/** Write a number with thousands separators and so many decimals. */
function withDecimals(value, decimals) {
  return value.toLocaleString("en-US", {
    minimumFractionDigits: decimals,
    maximumFractionDigits: decimals,
  });
}
