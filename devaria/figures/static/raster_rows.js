// What figpack's raster plot calls in place of parts of its own: see raster_script.py.

/** The height of the lowest rows with labels, in pixels. The text is as high as its row, at most 12. */
const MIN_LABEL_PIXELS = 6;

/** How the id of a row starts that is no unit, but the name of the group below it. */
const GROUP_MARK = "\u2063";

/** The lightest shade of a count in rows lower than a pixel; 0 is black. */
const LIGHTEST = 230;

/** What figpack makes of the smallest count, where the largest one is much larger. */
const FIGPACKS_LIGHTEST = 179;

/**
 * Draw one count. In rows lower than a pixel, a pixel shows the largest count of its units, and the
 * shade goes with the square root: else one unit that fires much would make all others alike.
 */
function drawCount(context, color, left, top, width, rowHeight) {
  context.fillStyle = color;
  if (rowHeight >= 1) {
    context.fillRect(left, top, width, rowHeight);
    return;
  }
  const shade = parseInt(color.slice("rgb(".length), 10);
  if (shade === 255) return; // no spikes
  const level = Math.round(LIGHTEST * (1 - Math.sqrt(1 - shade / FIGPACKS_LIGHTEST)));
  context.globalCompositeOperation = "darken";
  context.fillStyle = `rgb(${level}, ${level}, ${level})`;
  context.fillRect(left, top, width, 1);
  context.globalCompositeOperation = "source-over";
}

/** Return half the height of a spike. A line that is lower than a pixel is faint. */
function halfTick(rowHeight) {
  return Math.max(0.5, rowHeight * 0.4);
}

/** Name the units left of their rows, the first at the bottom, and their groups in the picture. */
function drawLabels(context, ids, rowHeight, margins, colorOf) {
  context.globalAlpha = 1;
  context.textBaseline = "middle";
  ids.forEach((id, number) => {
    const middle = margins.top + (ids.length - 0.5 - number) * rowHeight;
    if (id.startsWith(GROUP_MARK)) {
      drawGroupName(context, id.slice(GROUP_MARK.length), margins.left + 4, middle);
    } else if (rowHeight >= MIN_LABEL_PIXELS) {
      context.font = `${Math.min(12, rowHeight)}px Arial`;
      context.fillStyle = colorOf(id);
      context.textAlign = "right";
      context.fillText(drawable(`Unit ${id}`, context), margins.left - 5, middle);
    }
  });
}

/** Write a name on white: in low rows, it covers some spikes. */
function drawGroupName(context, name, left, middle) {
  context.font = "bold 11px Arial";
  context.textAlign = "left";
  context.fillStyle = "rgba(255, 255, 255, 0.85)";
  context.fillRect(left - 2, middle - 6, context.measureText(name).width + 4, 12);
  context.fillStyle = "black";
  context.fillText(drawable(name, context), left, middle);
}

/** Name the time axis, below the labels of its ticks. */
function drawTimeAxisName(context, margins, axisHeight, width) {
  context.fillStyle = "gray";
  context.textAlign = "center";
  context.textBaseline = "top";
  const middle = (margins.left + width - margins.right) / 2;
  context.fillText(TIME_AXIS, middle, axisHeight + 18);
}

/** Escape a text for the export as SVG. */
function drawable(text, context) {
  return context instanceof CanvasRenderingContext2D ? text : escaped(text);
}

window.devariaRaster = { drawCount, halfTick, drawLabels, drawTimeAxisName };
