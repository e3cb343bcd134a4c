/** Where images lie: a point is a Float32Array [layers · k], z itself or the style of each layer. */

/** A point moved along directions [k], the same in every layer, by amounts in standard deviations. */
export function move(point, directions, amounts) {
  const moved = Float32Array.from(point);
  directions.forEach((direction, j) => {
    const amount = Math.fround(amounts[j]);
    for (let i = 0; i < moved.length; i++) moved[i] += Math.fround(amount * direction[i % direction.length]);
  });
  return moved;
}

/** From one point to another, t from 0 to 1: in z along a great circle, elsewhere along a straight line. */
export function between(a, b, t, inZ) {
  return inZ ? slerp(a, b, t) : a.map((value, i) => value + t * (b[i] - value));
}

/** Spherical interpolation (White 2016); lengths are interpolated linearly, so that both ends are reached exactly. */
function slerp(a, b, t) {
  const [long, other] = [length(a), length(b)];
  const cosine = long * other ? dot(a, b) / (long * other) : 1;
  const angle = Math.acos(Math.min(1, Math.max(-1, cosine)));
  if (Math.sin(angle) < 1e-4) return a.map((value, i) => (1 - t) * value + t * b[i]);
  const scale = ((1 - t) * long + t * other) / Math.sin(angle);
  const [first, second] = [(scale * Math.sin((1 - t) * angle)) / long, (scale * Math.sin(t * angle)) / other];
  return a.map((value, i) => first * value + second * b[i]);
}

function dot(a, b) {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i] * b[i];
  return sum;
}

function length(a) {
  return Math.sqrt(dot(a, a));
}

/** The part of the way that is done at t from 0 to 1: slow at both ends. */
export function smooth(t) {
  return (1 - Math.cos(Math.PI * t)) / 2;
}
