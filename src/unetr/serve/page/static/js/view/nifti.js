/** A NIfTI-1 file of labels: read voxel by voxel, and written back with the header that it came with. */

const READERS = {
  2: [Uint8Array, 1, "getUint8", "setUint8"],
  4: [Int16Array, 2, "getInt16", "setInt16"],
  8: [Int32Array, 4, "getInt32", "setInt32"],
  256: [Int8Array, 1, "getInt8", "setInt8"],
  512: [Uint16Array, 2, "getUint16", "setUint16"],
  768: [Uint32Array, 4, "getUint32", "setUint32"],
};
const HEADER = 348;

/**
 * @typedef {{header: Uint8Array, dims: number[], affine: number[][] | null, voxelMl: number, voxels: any,
 *   datatype: number, little: boolean}} Labels affine: three rows, where the file has them; null where it has a qform alone
 * @param {ArrayBuffer} bytes a .nii or .nii.gz @returns {Promise<Labels>}
 */
export async function readLabels(bytes) {
  const whole = await unpacked(bytes);
  const view = new DataView(whole);
  const little = view.getInt32(0, true) === HEADER;
  if (!little && view.getInt32(0, false) !== HEADER) throw new Error("The labels are no NIfTI-1 file.");
  const datatype = view.getInt16(70, little);
  const slope = view.getFloat32(112, little);
  const intercept = view.getFloat32(116, little);
  if (!READERS[datatype] || (slope !== 0 && slope !== 1 && !Number.isNaN(slope)) || (slope && intercept)) {
    throw new Error("The labels are not stored as whole numbers.");
  }
  const dims = [1, 2, 3].map((axis) => Math.max(1, view.getInt16(40 + 2 * axis, little)));
  const pixels = [1, 2, 3].map((axis) => Math.abs(view.getFloat32(76 + 4 * axis, little)));
  const start = view.getFloat32(108, little);
  const count = dims[0] * dims[1] * dims[2];
  const [Kind, size, get] = READERS[datatype];
  if (whole.byteLength < start + count * size) throw new Error("The file of labels is cut off.");
  const voxels = new Kind(count);
  for (let i = 0; i < count; i += 1) voxels[i] = view[get](start + i * size, little);
  const header = new Uint8Array(whole.slice(0, start));
  const row = (at) => [0, 4, 8, 12].map((more) => view.getFloat32(at + more, little));
  const affine = view.getInt16(254, little) > 0 ? [280, 296, 312].map(row) : null;
  return { header, dims, affine, voxelMl: (pixels[0] * pixels[1] * pixels[2]) / 1000, voxels, datatype, little };
}

/** Voxels along the longest axis of a NIfTI-1 file. @param {ArrayBuffer} bytes a .nii */
export function longestSide(bytes) {
  const view = new DataView(bytes);
  const little = view.getInt32(0, true) === HEADER;
  return Math.max(...[42, 44, 46].map((at) => view.getInt16(at, little)));
}

/** The file with other voxels, in the same order. @param {Labels} labels @returns {Uint8Array} */
export function labelBytes(labels, voxels) {
  const [, size, , set] = READERS[labels.datatype];
  const made = new Uint8Array(labels.header.length + voxels.length * size);
  made.set(labels.header);
  const view = new DataView(made.buffer, labels.header.length);
  for (let i = 0; i < voxels.length; i += 1) view[set](i * size, voxels[i], labels.little);
  return made;
}

async function unpacked(bytes) {
  const start = new Uint8Array(bytes, 0, 2);
  if (start[0] !== 0x1f || start[1] !== 0x8b) return bytes;
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
}
