/** Pictures that change in place: the old one stays until the new one is decoded. */

/** Shows the picture of an address in an <img>, without a blank between; a newer call wins. */
export function showImage(image, address) {
  if (image.dataset.wanted === address) return;
  image.dataset.wanted = address;
  if (!image.getAttribute("src")) {
    image.src = address;
    return;
  }
  const next = new Image();
  next.src = address;
  next.decode().then(
    () => {
      if (image.dataset.wanted === address) image.src = address;
    },
    () => {}, // a picture that is just being written or gone: the old one stays
  );
}

/** Small pictures are shown with sharp pixels, large ones smoothly. */
export function sharpenSmall(image) {
  const sharpen = () => image.classList.toggle("pixelated", image.naturalWidth < image.clientWidth * devicePixelRatio * 1.2);
  image.addEventListener("load", sharpen);
  return image;
}

/** Keeps decoded pictures of a film, the ones used last. */
export class ImageCache {
  /** @param {number} capacity  pictures kept at most */
  constructor(capacity) {
    this.capacity = capacity;
    this.kept = new Map();
  }

  /** A promise of the decoded <img> of an address. */
  load(address) {
    let entry = this.kept.get(address);
    if (entry) this.kept.delete(address);
    else {
      const image = new Image();
      image.src = address;
      entry = image.decode().then(() => image);
      entry.catch(() => this.kept.delete(address));
    }
    this.kept.set(address, entry);
    while (this.kept.size > this.capacity) this.kept.delete(this.kept.keys().next().value);
    return entry;
  }
}
