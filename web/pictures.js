// Pictures on their way out: large ones are made smaller here, since the model sees a few hundred pixels a side.

// What is no larger goes as it is, and what is made smaller ends up below.
export const SMALL_BYTES = 300_000;

// The shorter side in pixels and JPEG's quality, tried in this order. The gateway's own default is a shorter side of
// 256: the first has room for models that see more.
const STEPS = [
  { side: 640, quality: 0.86 },
  { side: 512, quality: 0.82 },
  { side: 384, quality: 0.78 },
  { side: 256, quality: 0.72 },
];

/**
 * The blob to send for a file: itself, or a smaller JPEG of the same picture, upright.
 *
 * A file that this browser cannot decode goes as it is: the gateway reads more formats than any browser.
 */
export async function prepare(file) {
  if (file.size <= SMALL_BYTES) return file;
  const bitmap = await decode(file);
  if (!bitmap) return file;
  try {
    const smaller = await shrink(bitmap);
    return smaller && smaller.size < file.size ? smaller : file;
  } finally {
    bitmap.close();
  }
}

/** Whether a file can be read at all: a folder that was dropped cannot, nor a file that is gone. */
export async function readable(file) {
  try {
    await file.slice(0, 1).arrayBuffer();
    return true;
  } catch {
    return false;
  }
}

async function decode(file) {
  try {
    // Upright, as the camera's note of its orientation wants it: a canvas keeps no such note.
    return await createImageBitmap(file, { imageOrientation: "from-image" });
  } catch {
    return null;
  }
}

async function shrink(bitmap) {
  let smallest = null;
  for (const { side, quality } of STEPS) {
    smallest = await encode(bitmap, side, quality);
    if (!smallest || smallest.size <= SMALL_BYTES) break;
  }
  return smallest;
}

async function encode(bitmap, side, quality) {
  const scale = Math.min(1, side / Math.min(bitmap.width, bitmap.height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(bitmap.width * scale));
  canvas.height = Math.max(1, Math.round(bitmap.height * scale));
  const context = canvas.getContext("2d");
  if (!context) return null;
  // JPEG has no transparency; white is what the gateway lays under it too.
  context.fillStyle = "#fff";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  const blob = await new Promise((done) => canvas.toBlob(done, "image/jpeg", quality));
  // Some browsers hold the memory of a canvas until it is collected, which on a phone can be too late.
  canvas.width = canvas.height = 0;
  return blob;
}
