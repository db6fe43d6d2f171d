/** Files by drop or by choice: single files, several channels, a zip, or a folder with all that is in it. */

/** Files that a folder has besides the scan. */
const NOISE = /^(\.|thumbs\.db$|desktop\.ini$|dicomdir$)/i;

/**
 * Watches the whole window.
 * @param {HTMLElement} veil shown while files are over the window @param {(files: Promise<File[]>) => void} take told at once, as a large folder takes
 *   its time to be looked through, and something else may be dropped meanwhile
 */
export function watchDrops(veil, take) {
  let depth = 0;
  const listen = (type, call) => window.addEventListener(type, call, { capture: true });
  const hasFiles = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
  const leave = () => {
    depth = 0;
    veil.hidden = true;
  };
  listen("dragenter", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    depth += 1;
    veil.hidden = false;
  });
  listen("dragover", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    event.dataTransfer.dropEffect = "copy";
  });
  listen("dragleave", (event) => {
    if (hasFiles(event) && (depth -= 1) <= 0) leave();
  });
  listen("drop", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    event.stopPropagation();
    leave();
    take(dropped(event.dataTransfer).catch(() => []));
  });
}

/** The files of a drop, folders opened. Names in order, so that channels come as they are named. */
async function dropped(transfer) {
  // Entries must be taken before the first wait: a browser empties the list after it.
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (entries.length === 0) return wanted([...transfer.files]);
  const found = await Promise.all(entries.map(inside));
  return wanted(found.flat());
}

/** All files in an entry. A folder is read until it gives nothing more: it gives at most 100 at a time. */
async function inside(entry) {
  if (entry.isFile) return [await new Promise((resolve, reject) => entry.file(resolve, reject))];
  const reader = entry.createReader();
  const files = [];
  for (;;) {
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (some.length === 0) return files;
    for (const one of some) files.push(...(await inside(one)));
  }
}

/** Without what is no scan, in the order of names. */
export function wanted(files) {
  return files
    .filter((file) => file.size > 0 && !NOISE.test(file.name))
    .sort((a, b) => a.name.localeCompare(b.name, "en", { numeric: true }));
}
