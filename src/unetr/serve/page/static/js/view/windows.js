/** Windows of grey values that have names: those of Hounsfield units, for scans that are in them. */

/** Centre and width in Hounsfield units. */
const HOUNSFIELD = {
  "soft tissue": [50, 400],
  lung: [-600, 1500],
  bone: [400, 1800],
  brain: [40, 80],
  liver: [60, 160],
  vessels: [200, 600],
};
/** In Hounsfield units only air and lung lie below this. */
const AIR = -500;
const MOST_LOOKED_AT = 1_000_000;

export const HOUNSFIELD_NAMES = Object.keys(HOUNSFIELD);

/** The range of values from black to white; null where the name is none of Hounsfield units. @returns {number[] | null} */
export function rangeOf(name) {
  if (!(name in HOUNSFIELD)) return null;
  const [centre, width] = HOUNSFIELD[name];
  return [centre - width / 2, centre + width / 2];
}

/**
 * Whether values are in Hounsfield units: "yes", "perhaps" or "no". DICOM says what made a picture, and that counts
 * whatever the values are. NIfTI, NRRD and MHA do not say it: there, air among the values speaks for CT, and only with a
 * model for CT is it taken for one without asking.
 * @param {{modality: string | null, channel: string | null, least: number}} told modality of the series, channel of the
 *   model, least of the values
 */
export function inHounsfield({ modality, channel, least }) {
  if (modality) return modality === "CT" ? "yes" : "no";
  if (!(least < AIR)) return "no";
  return /\bct\b/i.test(channel ?? "") ? "yes" : "perhaps";
}

/** The least value of a channel of a niivue volume, among about a million of its voxels. */
export function leastOf({ img, hdr }, channel) {
  const count = hdr.dims[1] * hdr.dims[2] * hdr.dims[3];
  let least = Infinity;
  for (let i = channel * count; i < (channel + 1) * count; i += Math.ceil(count / MOST_LOOKED_AT)) least = Math.min(least, img[i]);
  return least * (hdr.scl_slope || 1) + (hdr.scl_inter || 0);
}
