/** Images on a canvas, and as files. */

/** Paints an image {channels, height, width, pixels} in its own size at a place of a canvas. */
export function paint(canvas, image, left = 0, top = 0) {
  canvas.getContext("2d").putImageData(toImageData(image), left, top);
}

/** Gives a canvas the size of one image, or of a grid of images; small ones are enlarged with sharp pixels. */
export function fit(canvas, shape, columns = 1, rows = columns) {
  canvas.width = shape.width * columns;
  canvas.height = shape.height * rows;
  canvas.classList.toggle("pixelated", Math.max(shape.width, shape.height) <= 96);
}

function toImageData({ channels, height, width, pixels }) {
  const plane = height * width;
  const found = new ImageData(width, height);
  for (let i = 0; i < plane; i++) {
    for (let c = 0; c < 3; c++) found.data[4 * i + c] = pixels[i + (channels === 1 ? 0 : c * plane)];
    found.data[4 * i + 3] = channels === 4 ? pixels[i + 3 * plane] : 255;
  }
  return found;
}

/** Offers a Blob as a download. */
export function download(blob, name) {
  const address = URL.createObjectURL(blob);
  const link = document.createElement("a");
  link.href = address;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}
