/** The plane of the lab: D's output as shades with its gradient as arrows, the distribution's points, G's points. */

import { h } from "../dom.js";
import { t } from "../i18n.js";

const SIDE = 45;
const ARROWS = 15;
const EDGE = 1.2;
const UNIT = 2 ** 15 / 4;
const STEP = 0.05;

/** Two hues that every eye tells apart, by lightness too: blue is "fake", amber "real"; between them the paper. */
const SHADES = {
  light: { low: [56, 108, 176], middle: [247, 245, 241], high: [222, 154, 40], real: "#1e1b18", fake: "#7a1fa2", halo: "#ffffff", arrow: "rgb(30 27 24 / 55%)" },
  dark: { low: [52, 104, 178], middle: [29, 27, 25], high: [176, 112, 16], real: "#f1ede6", fake: "#e39bff", halo: "#141311", arrow: "rgb(241 237 230 / 50%)" },
};

const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
const points = (text) => new Int16Array(bytes(text).buffer);

/** The theme that is shown. */
function theme() {
  const chosen = document.documentElement.dataset.theme;
  return chosen ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
}

/**
 * @param {(x: number, y: number) => void} onPoint  a place in [-1, 1]² was chosen, by the pointer or by keys
 */
export function createPlane({ onPoint }) {
  const canvas = h("canvas", { class: "lab-canvas", width: 720, height: 720, tabindex: 0, role: "img", "aria-describedby": "lab-now" });
  const shades = document.createElement("canvas");
  shades.width = shades.height = SIDE;
  const state = { frame: null, real: null, drawing: false, at: [0, 0], focus: false, arrows: true };

  const place = (value, turn = 1) => ((turn * value + EDGE) / (2 * EDGE)) * canvas.width;

  function draw() {
    const { frame, real } = state;
    const pen = canvas.getContext("2d");
    const look = SHADES[theme()];
    pen.clearRect(0, 0, canvas.width, canvas.height);
    if (!frame) return;
    drawSurface(pen, bytes(frame.surface), look);
    if (state.arrows) drawArrows(pen, new Int8Array(bytes(frame.arrows).buffer), look);
    drawRings(pen, real, look);
    drawDiscs(pen, points(frame.fake), look);
    if (state.drawing && state.focus) drawCross(pen, look);
  }

  function drawSurface(pen, values, look) {
    const image = new ImageData(SIDE, SIDE);
    values.forEach((value, i) => {
      const part = (value - 127.5) / 127.5;
      const end = part < 0 ? look.low : look.high;
      for (let c = 0; c < 3; c++) image.data[4 * i + c] = look.middle[c] + Math.abs(part) * (end[c] - look.middle[c]);
      image.data[4 * i + 3] = 255;
    });
    shades.getContext("2d").putImageData(image, 0, 0);
    pen.imageSmoothingEnabled = true;
    pen.drawImage(shades, 0, 0, canvas.width, canvas.height);
  }

  function drawArrows(pen, values, look) {
    const cell = canvas.width / ARROWS;
    pen.strokeStyle = look.arrow;
    pen.lineWidth = 1.5;
    pen.beginPath();
    for (let i = 0; i < ARROWS * ARROWS; i++) {
      const [dx, dy] = [values[2 * i] / 127, -values[2 * i + 1] / 127];
      const size = Math.hypot(dx, dy);
      if (size < 0.02) continue;
      const length = cell * 0.8 * Math.sqrt(size); // √: weak gradients are seen too
      const [ux, uy] = [dx / size, dy / size];
      const [x, y] = [((i % ARROWS) + 0.5) * cell, (Math.floor(i / ARROWS) + 0.5) * cell];
      const [x0, y0, x1, y1] = [x - (ux * length) / 2, y - (uy * length) / 2, x + (ux * length) / 2, y + (uy * length) / 2];
      const head = Math.min(6, length / 2);
      pen.moveTo(x0, y0);
      pen.lineTo(x1, y1);
      pen.lineTo(x1 - head * (ux - uy / 2), y1 - head * (uy + ux / 2));
      pen.moveTo(x1, y1);
      pen.lineTo(x1 - head * (ux + uy / 2), y1 - head * (uy - ux / 2));
    }
    pen.stroke();
  }

  function drawRings(pen, real, look) {
    if (!real) return;
    pen.strokeStyle = look.real;
    pen.lineWidth = 1.25;
    for (let i = 0; i < real.length; i += 2) {
      pen.beginPath();
      pen.arc(place(real[i] / UNIT), place(real[i + 1] / UNIT, -1), 3, 0, 2 * Math.PI);
      pen.stroke();
    }
  }

  function drawDiscs(pen, fake, look) {
    pen.fillStyle = look.fake;
    pen.strokeStyle = look.halo;
    pen.lineWidth = 1.5;
    for (let i = 0; i < fake.length; i += 2) {
      const [x, y] = [place(fake[i] / UNIT), place(fake[i + 1] / UNIT, -1)];
      pen.beginPath();
      if (Math.max(Math.abs(fake[i]), Math.abs(fake[i + 1])) > EDGE * UNIT) drawPointer(pen, x, y);
      else pen.arc(x, y, 5, 0, 2 * Math.PI);
      pen.fill();
      pen.stroke();
    }
  }

  /** A triangle at the edge, towards a place outside. */
  function drawPointer(pen, x, y) {
    const [x0, y0] = [x, y].map((one) => Math.min(canvas.width - 14, Math.max(14, one)));
    const angle = Math.atan2(y - y0, x - x0);
    for (const turn of [0, 2.4, -2.4]) pen.lineTo(x0 + 11 * Math.cos(angle + turn), y0 + 11 * Math.sin(angle + turn));
    pen.closePath();
  }

  function drawCross(pen, look) {
    const [x, y] = [place(state.at[0]), place(state.at[1], -1)];
    pen.strokeStyle = look.real;
    pen.lineWidth = 2;
    pen.beginPath();
    pen.moveTo(x - 12, y);
    pen.lineTo(x + 12, y);
    pen.moveTo(x, y - 12);
    pen.lineTo(x, y + 12);
    pen.stroke();
  }

  let last = null;
  const choose = (event) => {
    const box = canvas.getBoundingClientRect();
    const at = [((event.clientX - box.left) / box.width) * 2 * EDGE - EDGE, EDGE - ((event.clientY - box.top) / box.height) * 2 * EDGE];
    if (last && Math.hypot(at[0] - last[0], at[1] - last[1]) < STEP) return;
    last = at;
    onPoint(...at.map((one) => Math.min(1, Math.max(-1, one))));
  };
  canvas.addEventListener("pointerdown", (event) => {
    if (!state.drawing || event.button) return;
    canvas.setPointerCapture(event.pointerId);
    last = null;
    choose(event);
  });
  canvas.addEventListener("pointermove", (event) => state.drawing && event.buttons && last && choose(event));
  canvas.addEventListener("pointerup", () => (last = null));
  canvas.addEventListener("focus", () => { state.focus = true; draw(); });
  canvas.addEventListener("blur", () => { state.focus = false; draw(); });
  canvas.addEventListener("keydown", (event) => {
    if (!state.drawing) return;
    const move = { ArrowLeft: [-STEP, 0], ArrowRight: [STEP, 0], ArrowUp: [0, STEP], ArrowDown: [0, -STEP] }[event.key];
    if (move) state.at = state.at.map((one, i) => Math.min(1, Math.max(-1, one + move[i])));
    else if (event.key === "Enter") onPoint(...state.at);
    else return;
    event.preventDefault();
    draw();
  });
  const scheme = matchMedia("(prefers-color-scheme: dark)");
  scheme.addEventListener("change", draw);
  const themes = new MutationObserver(draw);
  themes.observe(document.documentElement, { attributes: true, attributeFilter: ["data-theme"] });

  return {
    element: canvas,
    show(frame) {
      state.frame = frame;
      if (frame.real) state.real = points(frame.real);
      draw();
    },
    /** How many of G's points lie outside the picture. */
    countOutside() {
      const fake = state.frame ? points(state.frame.fake) : [];
      let n = 0;
      for (let i = 0; i < fake.length; i += 2) n += Math.max(Math.abs(fake[i]), Math.abs(fake[i + 1])) > EDGE * UNIT;
      return n;
    },
    /** Whether places can be chosen. */
    setDrawing(drawing) {
      state.drawing = drawing;
      canvas.classList.toggle("drawing", drawing);
      canvas.setAttribute("role", drawing ? "application" : "img");
      canvas.setAttribute("aria-label", drawing ? t("lab.plane.draw") : t("lab.plane"));
      draw();
    },
    setArrows(shown) {
      state.arrows = shown;
      draw();
    },
    close() {
      scheme.removeEventListener("change", draw);
      themes.disconnect();
    },
  };
}

const DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz";

/** A place in [-1, 1]² as the server reads it: two digits in base 36 for each coordinate. */
export const encode = (...values) => values.map((value) => Math.round(((value + 1) / 2) * 1295)).map((whole) => DIGITS[Math.floor(whole / 36)] + DIGITS[whole % 36]).join("");
