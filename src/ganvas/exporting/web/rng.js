/** Latents of seeds: the numbers that torch.randn gives with a generator on the CPU. */

const STATE = 624;
const MIDDLE = 397;
const SCALAR_BELOW = 16; // shorter latents are made one by one in double precision
const BLOCK = 16;
const TWO_PI = Math.fround(2 * Math.PI);

/** MT19937 (Matsumoto & Nishimura 1998), seeded as PyTorch does: by 32 bits. */
class MersenneTwister {
  constructor(seed) {
    const state = new Uint32Array(STATE);
    state[0] = seed;
    for (let i = 1; i < STATE; i++) {
      const before = state[i - 1] ^ (state[i - 1] >>> 30);
      state[i] = Math.imul(1812433253, before) + i;
    }
    this.state = state;
    this.next = STATE;
  }

  /** A whole number from 0 to 2³² − 1. */
  draw() {
    if (this.next === STATE) this.twist();
    let y = this.state[this.next++];
    y ^= y >>> 11;
    y ^= (y << 7) & 0x9d2c5680;
    y ^= (y << 15) & 0xefc60000;
    return (y ^ (y >>> 18)) >>> 0;
  }

  twist() {
    const state = this.state;
    for (let i = 0; i < STATE; i++) {
      const y = (state[i] & 0x80000000) | (state[(i + 1) % STATE] & 0x7fffffff);
      state[i] = state[(i + MIDDLE) % STATE] ^ (y >>> 1) ^ (y & 1 ? 0x9908b0df : 0);
    }
    this.next = 0;
  }

  /** A float32 from 0 to 1 in steps of 2⁻²⁴. */
  uniform() {
    return (this.draw() & 0xffffff) / 2 ** 24;
  }

  /** A double from 0 to 1 in steps of 2⁻⁵³. */
  uniformDouble() {
    const high = this.draw() & 0x1fffff;
    return (high * 2 ** 32 + this.draw()) / 2 ** 53;
  }
}

/** z of a seed, a BigInt from 0 to 2⁶³ − 1: Float32Array of `size` numbers from a standard normal distribution. */
export function latentOf(seed, size) {
  const random = new MersenneTwister(Number(generatorSeed(seed)));
  return size < SCALAR_BELOW ? oneByOne(random, size) : inBlocks(random, size);
}

/** A seed itself below 2³²; of larger ones all bits, mixed into 32 (SplitMix64), as in drawing.py. */
function generatorSeed(seed) {
  if (seed < 2n ** 32n) return seed;
  let x = BigInt.asUintN(64, (seed ^ (seed >> 30n)) * 0xbf58476d1ce4e5b9n);
  x = BigInt.asUintN(64, (x ^ (x >> 27n)) * 0x94d049bb133111ebn);
  return (x ^ (x >> 31n)) >> 32n;
}

/** Box–Muller: pairs of uniform numbers make pairs of normal ones. */
function oneByOne(random, size) {
  const z = new Float32Array(size);
  for (let i = 0; i < size; i += 2) {
    const u1 = random.uniformDouble();
    const radius = Math.sqrt(-2 * Math.log1p(-random.uniformDouble()));
    z[i] = radius * Math.cos(2 * Math.PI * u1);
    if (i + 1 < size) z[i + 1] = radius * Math.sin(2 * Math.PI * u1);
  }
  return z;
}

/** Box–Muller in place over blocks of 16 numbers; of a size that is no multiple, the last 16 are drawn anew. */
function inBlocks(random, size) {
  const z = new Float32Array(size);
  for (let i = 0; i < size; i++) z[i] = random.uniform();
  for (let i = 0; i + BLOCK <= size; i += BLOCK) transform(z, i);
  if (size % BLOCK) {
    const start = size - BLOCK;
    for (let i = start; i < size; i++) z[i] = random.uniform();
    transform(z, start);
  }
  return z;
}

function transform(z, start) {
  const half = BLOCK / 2;
  for (let i = start; i < start + half; i++) {
    const radius = Math.fround(Math.sqrt(Math.fround(-2 * Math.fround(Math.log(1 - z[i])))));
    const angle = Math.fround(TWO_PI * z[i + half]);
    z[i] = radius * Math.fround(Math.cos(angle));
    z[i + half] = radius * Math.fround(Math.sin(angle));
  }
}
