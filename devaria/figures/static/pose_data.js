// The data of a pose figure. devaria/figures/pose_arrays.py describes the arrays.

/** What stands for "no value" in the arrays, and into how many steps a range is divided. */
const MISSING = 0;
const STEPS = 65534;

/** Rows of a part: in a block of frames, and in a block of an overview (smallest, largest). */
const ROW_NAMES = ["x", "y", "confidence"];

/**
 * Blocks that are kept here: at most so many bytes, the most recently used ones. These are copies:
 * figpack itself keeps each chunk that it has decoded as long as the page is open. So what bounds
 * memory is this and the figure: 225 MB of positions and confidence and 8 bytes for each time, both
 * with their overviews 2/7 and 1/7 more, if a reader goes through all of it.
 */
const KEPT_BYTES = 96 * 2 ** 20;

/** Fetches at a time. More would delay what is needed now: after each, needs are looked at anew. */
const MAX_FETCHES = 6;

/** How fast recordings without times play at speed 1. */
const FRAMES_PER_SEC = 30;

/** Longer names are cut where they are drawn. */
const MAX_LABEL = 32;

/** Return the position of the last of `count` ascending values that is at most `value`, or -1. */
function lastUpTo(values, value, count) {
  let low = 0;
  let high = count;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (values[middle] <= value) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

/** Fetches blocks of the figure's arrays, and keeps those that were used last. */
class BlockCache {
  constructor(zarrGroup, onLoaded, onError) {
    this.zarrGroup = zarrGroup;
    this.onLoaded = onLoaded;
    this.onError = onError;
    this.blocks = new Map();
    this.promises = new Map();
    this.bytes = 0;
    this.fetches = 0;
  }

  /** Return a block, or undefined; then it is fetched, now or when it is asked for again. */
  get(name, number) {
    const key = `${name}/${number}`;
    const block = this.blocks.get(key);
    if (block === undefined) {
      if (this.fetches < MAX_FETCHES) this.load(name, number).catch(() => {});
      return undefined;
    }
    this.blocks.delete(key); // and put it at the end: a Map keeps the order
    this.blocks.set(key, block);
    return block;
  }

  /** Return a promise of a block. */
  load(name, number) {
    const key = `${name}/${number}`;
    if (this.blocks.has(key)) return Promise.resolve(this.blocks.get(key));
    if (!this.promises.has(key)) this.promises.set(key, this.fetched(key, name, number));
    return this.promises.get(key);
  }

  async fetched(key, name, number) {
    let block;
    this.fetches += 1;
    try {
      block = await this.zarrGroup.getDatasetData(name, { slice: [[number, number + 1]] });
    } catch (error) {
      this.onError(error); // the promise stays: figpack would not fetch it again either
      throw error;
    } finally {
      this.fetches -= 1;
    }
    this.promises.delete(key);
    this.blocks.set(key, block);
    this.bytes += block.byteLength;
    for (const [oldest, old] of this.blocks) {
      if (this.bytes <= KEPT_BYTES || oldest === key) break;
      this.blocks.delete(oldest);
      this.bytes -= old.byteLength;
    }
    this.onLoaded();
    return block;
  }
}

/** All frames of some parts, or an overview of them, in blocks of time. */
class Level {
  constructor(cache, clock, attributes) {
    this.cache = cache;
    this.step = attributes.step;
    this.numEntries = attributes.num_entries;
    this.blockEntries = attributes.block_entries;
    this.blockTimes = attributes.block_times;
    this.timesName = `times_${clock}_${this.step}`;
    this.valuesName = `values_${clock}_${this.step}`;
  }

  /** Return how many entries of a block are no filling. */
  count(number) {
    return Math.min(this.blockEntries, this.numEntries - number * this.blockEntries);
  }

  /** Return the number of the block in which a time lies, or -1 before the first. */
  blockAt(time) {
    return lastUpTo(this.blockTimes, time, this.blockTimes.length);
  }

  /** Return a block with its times and values, or undefined while it is being fetched. */
  block(number) {
    const times = this.cache.get(this.timesName, number);
    const values = this.cache.get(this.valuesName, number);
    if (!times || !values) return undefined;
    return { number, times, values, count: this.count(number), level: this };
  }

  /** Fetch the blocks that reach into a span of time. */
  load(start, end) {
    const first = Math.max(0, this.blockAt(start));
    const count = Math.max(0, this.blockAt(end) - first + 1);
    const names = [this.timesName, this.valuesName];
    return Promise.all(
      Array.from({ length: count }, (_, i) => i + first).flatMap((number) =>
        names.map((name) => this.cache.load(name, number)),
      ),
    );
  }

  /** Return a promise of the times of a block. */
  loadTimes(number) {
    return this.cache.load(this.timesName, number);
  }

  /** Return the blocks that reach into a span of time. Missing ones are being fetched. */
  blocksBetween(start, end) {
    const first = Math.max(0, this.blockAt(start));
    const last = this.blockAt(end);
    const blocks = [];
    let complete = true;
    for (let number = first; number <= last; number++) {
      const block = this.block(number);
      if (block) blocks.push(block);
      else complete = false;
    }
    return { blocks, complete };
  }

  /** Return the rows of one quantity of a part: one row of frames, or two of an overview. */
  rows(block, part, quantity) {
    const perQuantity = this.step === 1 ? 1 : 2;
    const first = (part.place * ROW_NAMES.length + quantity) * perQuantity;
    const row = (number) =>
      block.values.subarray(number * this.blockEntries, (number + 1) * this.blockEntries);
    return perQuantity === 1 ? [row(first), row(first)] : [row(first), row(first + 1)];
  }
}

/** The parts whose frames have the same times. */
class Clock {
  constructor(cache, number, attributes) {
    this.levels = attributes.levels.map((each) => new Level(cache, number, each));
    this.frames = this.levels[0];
    this.interval = attributes.interval;
    this.spacing = attributes.spacing;
    this.trackStep = attributes.track_step;
    this.trackName = `track_${number}`;
    this.cache = cache;
    this.hold = Infinity;
  }

  /** Return the finest level with at most `most` entries in a span of time. */
  levelFor(start, end, most) {
    const fitting = this.levels.find((level) => {
      const perBlock = level.blockEntries;
      const blocks = level.blockAt(end) - Math.max(0, level.blockAt(start)) + 1;
      const share = this.interval ? (end - start) / (this.interval * level.step) : Infinity;
      // Where times repeat, there may be more than the share: all blocks but two are in the span.
      return Math.max((blocks - 2) * perBlock, Math.min(blocks * perBlock, share)) <= most;
    });
    return fitting || this.levels[this.levels.length - 1];
  }

  /**
   * Find the frame at a time: the last one before it that is not too long ago.
   * Returns { loading: true } while it is being fetched, and null if there is none.
   */
  frameAt(time) {
    const number = this.frames.blockAt(time);
    if (number < 0) return null;
    const block = this.frames.block(number);
    if (!block) return { loading: true };
    const index = lastUpTo(block.times, time, block.count);
    if (time - block.times[index] > this.hold) return null;
    return { block, index };
  }

  /** Return the time of the first frame after a time; undefined if there is none. */
  async timeAfter(time) {
    const { frames } = this;
    for (let n = Math.max(0, frames.blockAt(time)); n < frames.blockTimes.length; n++) {
      const times = await frames.loadTimes(n);
      const next = lastUpTo(times, time, frames.count(n)) + 1;
      if (next < frames.count(n)) return times[next];
    }
    return undefined;
  }

  /** Return the time of the last frame up to a time, or before it; undefined if there is none. */
  async timeUpTo(time, isBefore) {
    const { frames } = this;
    for (let n = frames.blockAt(time); n >= 0; n--) {
      const times = await frames.loadTimes(n);
      let index = lastUpTo(times, time, frames.count(n));
      while (isBefore && index >= 0 && times[index] === time) index--;
      if (index >= 0) return times[index];
    }
    return undefined;
  }
}

/** All data of a figure. */
class PoseData {
  constructor(zarrGroup, onLoaded, onError) {
    const { attrs } = zarrGroup;
    this.attrs = attrs;
    this.cache = new BlockCache(zarrGroup, onLoaded, onError);
    this.clocks = attrs.clocks.map((each, number) => new Clock(this.cache, number, each));
    this.parts = attrs.parts.map((part, number) => ({
      ...part,
      number,
      label: part.name.length > MAX_LABEL ? `${part.name.slice(0, MAX_LABEL)}…` : part.name,
      clock: this.clocks[part.clock],
      scales: ROW_NAMES.map((name) => part[name] && scaleOf(part[name])),
    }));
    this.edges = attrs.edges;
    this.startTime = attrs.start_time;
    this.endTime = attrs.end_time;
    this.hasConfidence = this.parts.some((part) => part.confidence);
    this.inFrames = attrs.time_unit === "frame";
    this.perSec = this.inFrames ? FRAMES_PER_SEC : 1;
    this.interval = Math.max(...this.clocks.map((clock) => clock.interval));
    const spacing = Math.max(...this.clocks.map((clock) => clock.spacing));
    for (const clock of this.clocks) {
      // A tracker may skip frames, but in a longer pause nothing is known.
      clock.hold = 10 * (clock.spacing || spacing) || Infinity;
    }
  }

  /** Return which parts use a clock. */
  partsOf(clock) {
    return this.parts.filter((part) => part.clock === clock);
  }

  /** Return the time of the next frame of the given parts, or of the one before the shown one. */
  async neighbourOf(time, direction, parts) {
    const clocks = [...new Set(parts.map((part) => part.clock))];
    const found = async (ask) => {
      const times = await Promise.all(clocks.map(ask));
      return times.filter((each) => each !== undefined);
    };
    if (direction > 0) return smallest(await found((clock) => clock.timeAfter(time)));
    const shown = largest(await found((clock) => clock.timeUpTo(time, false)));
    return largest(await found((clock) => clock.timeUpTo(shown, true)));
  }
}

function smallest(values) {
  return values.length ? Math.min(...values) : undefined;
}

function largest(values) {
  return values.length ? Math.max(...values) : undefined;
}

/** Return how to turn a stored number above 0 into a value: offset + number * step. */
function scaleOf([low, high]) {
  const step = (high - low) / STEPS;
  return { offset: low - step, step };
}
