// Text from images, by tesseract.js. It is loaded when the first image comes, from this site, and nothing is sent anywhere.

/** @typedef {{ recognize(image: Blob): Promise<{ data: { text: string } }> }} Reader */

const FOLDER = new URL('vendor/ocr/', document.baseURI);
/** Pixels of the longer side: more makes it slower, not better. */
const MOST_PIXELS = 2400;

/** @type {Promise<Reader> | undefined} */
let reader;
let tell = (/** @type {number} */ _share) => {};

/**
 * The text in an image.
 * @param {Blob} image
 * @param {(share: number) => void} onProgress from 0 to 1
 */
export async function readImage(image, onProgress) {
  tell = onProgress;
  reader ??= open();
  reader.catch(() => (reader = undefined));
  const { data } = await (await reader).recognize(await sized(image));
  return data.text.trim();
}

/** @returns {Promise<Reader>} */
async function open() {
  const { default: tesseract } = await import(new URL('tesseract.js', FOLDER).href);
  const onlyLstm = 1;
  return tesseract.createWorker('eng', onlyLstm, {
    workerPath: new URL('worker.js', FOLDER).href,
    corePath: FOLDER.href.replace(/\/$/, ''),
    langPath: FOLDER.href.replace(/\/$/, ''),
    workerBlobURL: false,
    cacheMethod: 'none', // the service worker keeps it
    gzip: false,
    logger: (/** @type {{ status: string, progress: number }} */ { status, progress }) => {
      if (status === 'recognizing text') tell(progress);
    },
    errorHandler: () => {}, // the promise rejects as well
  });
}

/** An image of a size that is good to read, upright. @param {Blob} image */
async function sized(image) {
  const picture = await createImageBitmap(image);
  const scale = Math.min(1, MOST_PIXELS / Math.max(picture.width, picture.height));
  const canvas = document.createElement('canvas');
  [canvas.width, canvas.height] = [Math.round(picture.width * scale), Math.round(picture.height * scale)];
  const paper = canvas.getContext('2d');
  if (!paper) return image;
  paper.fillStyle = 'white'; // behind what is transparent
  paper.fillRect(0, 0, canvas.width, canvas.height);
  paper.drawImage(picture, 0, 0, canvas.width, canvas.height);
  picture.close();
  return new Promise((resolve) => canvas.toBlob((blob) => resolve(blob ?? image), 'image/png'));
}
