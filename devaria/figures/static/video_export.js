// A video figure as SVG: the picture, and below it some lines of text.

/** A picture is shown with sharp pixels from this magnification on. */
const SHARP_SCALE = 3;

/** The texts below an exported picture. */
const EXPORT = { font: "13px sans-serif", lineHeight: 18, characterWidth: 7, margin: 8 };

/** Draw a canvas as large as there is room, and texts below it, into a context of figpack's. */
function drawPictureWithTexts(context, width, height, canvas, texts) {
  const perLine = Math.floor((width - 2 * EXPORT.margin) / EXPORT.characterWidth);
  const lines = texts.flatMap((text) => inLines(text, perLine));
  const room = Math.max(1, height - EXPORT.margin - EXPORT.lineHeight * lines.length);
  const image = magnified(canvas, Math.min(width / canvas.width, room / canvas.height));
  context.fillStyle = "white";
  context.fillRect(0, 0, width, height);
  context.putImageData(image, Math.round((width - image.width) / 2), 0);
  context.fillStyle = "black";
  context.font = EXPORT.font;
  lines.forEach((line, number) => {
    const bottom = image.height + EXPORT.lineHeight * (number + 1);
    context.fillText(escaped(line), EXPORT.margin, bottom);
  });
}

/** Return the pixels of a canvas, so many times as large. */
function magnified(canvas, scale) {
  const large = element("canvas", {
    width: Math.max(1, Math.round(canvas.width * scale)),
    height: Math.max(1, Math.round(canvas.height * scale)),
  });
  const context = large.getContext("2d");
  context.imageSmoothingEnabled = scale < SHARP_SCALE;
  context.drawImage(canvas, 0, 0, large.width, large.height);
  return context.getImageData(0, 0, large.width, large.height);
}

/** Break a text into lines of at most so many characters, between words where that is possible. */
function inLines(text, most) {
  const lines = [];
  let rest = text;
  while (rest.length > most) {
    const space = rest.lastIndexOf(" ", most);
    const end = space > most / 2 ? space : most;
    lines.push(rest.slice(0, end));
    rest = rest.slice(end).trimStart();
  }
  return [...lines, rest];
}
