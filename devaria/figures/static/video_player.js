// A video element that shows single frames: which one, and when it is on the screen.

/** How long the frame of a seek may take to be presented, once it is found. */
const PRESENTED_WITHIN_SEC = 0.5;

/**
 * Plays a video whose frames all have the same length, and shows single ones.
 * `onFrame(index)` is called when a frame is on the screen, `onPlaying(isPlaying)` when playing
 * begins or ends.
 */
class FramePlayer {
  constructor(element, frameRate, numFrames, onFrame, onPlaying) {
    this.element = element;
    this.frameRate = frameRate;
    this.numFrames = numFrames;
    this.onFrame = onFrame;
    this.index = 0; // the frame on the screen
    this.wanted = null; // the frame that a seek is on its way to
    this.seekNumber = 0;
    element.addEventListener("seeked", () => this.seeked());
    element.addEventListener("play", () => {
      onPlaying(true);
      this.follow();
    });
    element.addEventListener("pause", () => {
      onPlaying(false);
      // The element may stand between two frames: stay on the one that was seen last.
      if (this.wanted === null) this.show(element.ended ? numFrames - 1 : this.index);
    });
  }

  get isPlaying() {
    return !this.element.paused;
  }

  /** Show a frame. While an earlier one is on its way, only the last call counts. */
  show(index) {
    const isOnItsWay = this.wanted !== null;
    this.wanted = Math.min(this.numFrames - 1, Math.max(0, index));
    if (!isOnItsWay) this.seek();
  }

  /** Pause, and show the frame that is so many frames later, or earlier if negative. */
  step(count) {
    this.element.pause();
    this.show((this.wanted === null ? this.index : this.wanted) + count);
  }

  /** Play, or pause. At the end, playing begins again at the first frame. */
  async toggle() {
    if (this.isPlaying) {
      this.element.pause();
      return;
    }
    if (this.index >= this.numFrames - 1) this.show(0);
    try {
      await this.element.play();
    } catch (error) {
      if (error.name !== "AbortError") throw error; // paused before it began
    }
  }

  seek() {
    this.seekNumber += 1;
    this.target = this.wanted;
    this.isSought = this.isPresented = false;
    const { seekNumber, target } = this;
    if (this.element.requestVideoFrameCallback) {
      this.element.requestVideoFrameCallback((_now, { mediaTime }) => {
        if (Math.round(mediaTime * this.frameRate) === target) this.presented(seekNumber);
      });
    }
    // The middle of a frame's time is in this frame, however times are rounded.
    this.element.currentTime = (target + 0.5) / this.frameRate;
  }

  seeked() {
    if (this.wanted === null) return;
    this.isSought = true;
    const { seekNumber } = this;
    // On a busy machine the frame may come after this event. But a frame that was there before the
    // seek is not presented again, so do not wait for ever.
    const sec = this.element.requestVideoFrameCallback ? PRESENTED_WITHIN_SEC : 0;
    setTimeout(() => this.presented(seekNumber), sec * 1000);
    this.settle();
  }

  presented(seekNumber) {
    if (seekNumber !== this.seekNumber) return; // of an earlier seek
    this.isPresented = true;
    this.settle();
  }

  /** End a seek whose frame is there; if another one is wanted meanwhile, seek that. */
  settle() {
    if (this.wanted === null || !this.isSought) return;
    if (this.wanted !== this.target) {
      this.seek();
    } else if (this.isPresented) {
      this.wanted = null;
      this.onScreen(this.target);
    }
  }

  /** Report the frames while the video plays. */
  follow() {
    if (!this.isPlaying) return;
    const next = (index) => {
      if (this.isPlaying && this.wanted === null) this.onScreen(index);
      this.follow();
    };
    if (this.element.requestVideoFrameCallback) {
      this.element.requestVideoFrameCallback((_now, { mediaTime }) =>
        next(Math.round(mediaTime * this.frameRate)),
      );
    } else {
      requestAnimationFrame(() => next(Math.floor(this.element.currentTime * this.frameRate)));
    }
  }

  onScreen(index) {
    this.index = Math.min(this.numFrames - 1, Math.max(0, index));
    this.onFrame(this.index);
  }
}

/** Fetch the video of a figure in pieces, and return it as a Blob. */
async function fetchVideo(zarrGroup, numBytes, pieceBytes, onProgress) {
  const pieces = [];
  for (let start = 0; start < numBytes; start += pieceBytes) {
    onProgress(start);
    const end = Math.min(numBytes, start + pieceBytes);
    pieces.push(await zarrGroup.getDatasetData("mp4", { slice: [[start, end]] }));
  }
  return new Blob(pieces, { type: "video/mp4" });
}
