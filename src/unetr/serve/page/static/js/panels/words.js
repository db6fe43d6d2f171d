/** Errors and settings in words for people. */

/** What a hint of the engine asks for, as it is called on this page. */
const HINTS = {
  assume_affine: "If you know how the scan lies, tick “Scan without orientation” in the settings, and segment again.",
  series: "Choose a series in the list, and segment again.",
  strict: "Untick what refuses unusual scans, and segment again.",
};

/** A sentence with a capital and a full stop. */
export function sentence(text) {
  const whole = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(whole) ? whole : `${whole}.`;
}

/** @param {{message: string, hint?: string | null}} error of the engine or of a job */
export function errorInWords(error) {
  const hint = error.hint ? (HINTS[error.hint] ?? (error.hint.includes(" ") ? error.hint : "")) : "";
  return [sentence(error.message || "Something went wrong."), hint].filter(Boolean).join(" ");
}

/** A series in a list: "MR, 124 slices, 1 × 1 × 1.2 mm". */
export function seriesInWords(series, index) {
  const spacing = series.spacing_mm?.map((mm) => Number(mm.toPrecision(3))).join(" × ");
  const known = [series.modality, series.count ? `${series.count} images` : null, spacing ? `${spacing} mm` : null];
  return `${index + 1}: ${known.filter(Boolean).join(", ")}`;
}
