/** Why a browser cannot draw a scan. What segments is not the browser, so that there is a result all the same. */

export class CannotDrawError extends Error {
  constructor(message, hint = null) {
    super(message);
    this.hint = hint;
  }
}

/** The graphics card has been taken away, as when a driver starts again. */
export function graphicsGone() {
  return new CannotDrawError("The browser has stopped drawing", "Load this page again to see scans.");
}

/** The scan is longer than what the graphics card takes. */
export function tooLong(voxels, most) {
  return new CannotDrawError(`This scan is ${voxels} voxels long; this browser draws at most ${most}`);
}

export function noGraphics() {
  return new CannotDrawError("This browser cannot draw scans (WebGL2 is off)",
    "Switch on hardware acceleration, or use another browser, to see them.");
}
