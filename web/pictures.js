// Resizes large pictures before they are sent, because models use only a few hundred pixels per side.

// Files of up to this size are sent unchanged, and larger ones are reduced to this size.
export const SMALL_BYTES = 300_000;

// The shorter side in pixels and the JPEG quality, tried in this order. The gateway's default is a shorter side of 256;
// the first steps allow for models with larger inputs.
const STEPS = [
  { side: 640, quality: 0.86 },
  { side: 512, quality: 0.82 },
  { side: 384, quality: 0.78 },
  { side: 256, quality: 0.72 },
];

/**
 * The blob to send for a file: the file itself, or a smaller, upright JPEG of the picture.
 *
 * A file that the browser cannot decode is sent unchanged: the gateway supports more formats than browsers do.
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

/** Whether a file can be read: dropped folders and deleted files cannot. */
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
    // Apply the EXIF orientation, because a canvas has none.
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
  // JPEG has no transparency; the gateway uses a white background too.
  context.fillStyle = "#fff";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  const blob = await new Promise((done) => canvas.toBlob(done, "image/jpeg", quality));
  // Release the memory now: some browsers do so only at garbage collection, which can be too late on a phone.
  canvas.width = canvas.height = 0;
  return blob;
}
