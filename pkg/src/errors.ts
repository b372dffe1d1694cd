/** The one error of the package: a stable code for programs, a message for people. */

/**
 * What went wrong. Codes are stable; messages may change.
 *
 * | code | meaning |
 * | --- | --- |
 * | `unsupported-browser` | the browser lacks something that Fanlight cannot do without |
 * | `unsupported-architecture` | the file's model family is not one that the engine has |
 * | `unsupported-quantization` | a tensor has a type that the engine does not know |
 * | `malformed-file` | a GGUF file, and something in it is wrong or missing |
 * | `not-a-gguf` | not a GGUF file at all: an HTML page, say, or an empty file |
 * | `network` | the server refused, or could not be reached, or kept breaking off |
 * | `changed-file` | the file changed while it was being read |
 * | `integrity` | bytes arrived, and they are not the ones that were promised |
 * | `quota` | browser storage has no room |
 * | `out-of-memory` | memory for weights, cache or buffers could not be had |
 * | `context-full` | the prompt does not fit in the context |
 * | `template` | the chat template is invalid, or refused the messages |
 * | `schema` | a schema cannot be used as a constraint |
 * | `aborted` | the caller's signal, or the end of its loop, stopped it |
 * | `worker-crashed` | a worker died; load the model again |
 * | `closed` | the model was disposed |
 * | `invalid-argument` | an option or argument makes no sense; the message names it |
 */
export type FanlightErrorCode = (typeof CODES)[number];

const CODES = [
  'unsupported-browser',
  'unsupported-architecture',
  'unsupported-quantization',
  'malformed-file',
  'not-a-gguf',
  'network',
  'changed-file',
  'integrity',
  'quota',
  'out-of-memory',
  'context-full',
  'template',
  'schema',
  'aborted',
  'worker-crashed',
  'closed',
  'invalid-argument',
] as const;

/** Everything that Fanlight throws or rejects with. */
export class FanlightError extends Error {
  override readonly name = 'FanlightError';
  /** What went wrong, for programs. */
  readonly code: FanlightErrorCode;

  constructor(code: FanlightErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.code = code;
  }
}

/** An error on its way between a worker and the page. */
export interface ErrorRecord {
  readonly code: FanlightErrorCode;
  readonly message: string;
}

/** The error as it crosses. What carries no code of ours is a fault of the program: the worker counts as crashed. */
export function toRecord(error: unknown): ErrorRecord {
  return { code: codeOf(error) ?? unforeseen(error), message: messageOf(error) };
}

/** The error as it arrives. */
export function fromRecord(record: ErrorRecord): FanlightError {
  return new FanlightError(record.code, record.message);
}

/** The same error when it is one of ours already, also as the engine throws it; otherwise one with `code` and the first as its cause. */
export function asFanlightError(error: unknown, code: FanlightErrorCode, context: string): FanlightError {
  if (error instanceof FanlightError) return error;
  const known = codeOf(error);
  if (known) return new FanlightError(known, messageOf(error), { cause: error });
  return new FanlightError(code, `${context}: ${messageOf(error)}`, { cause: error });
}

/** The error of a caller that changed its mind. */
export function aborted(reason?: unknown): FanlightError {
  return new FanlightError('aborted', 'Stopped by the caller.', reason === undefined ? undefined : { cause: reason });
}

/** The error for an option or argument that makes no sense: `name` says which. */
export function invalidArgument(name: string, found: unknown, expected: string): FanlightError {
  return new FanlightError('invalid-argument', `${name}: expected ${expected}, found ${describe(found)}.`);
}

/** A value in few characters, for a message. */
export function describe(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value.length > 40 ? `${value.slice(0, 40)}…` : value);
  if (typeof value === 'function') return 'a function';
  if (Array.isArray(value)) return `an array of ${value.length}`;
  if (typeof value === 'object' && value !== null) return value.constructor?.name ?? 'an object';
  return String(value);
}

/** The message of anything thrown. */
export function messageOf(error: unknown): string {
  if (typeof error === 'object' && error !== null && 'message' in error) return String(error.message);
  return String(error);
}

function codeOf(error: unknown): FanlightErrorCode | undefined {
  if (typeof error !== 'object' || error === null || !('code' in error)) return undefined;
  const { code } = error;
  return CODES.find((known) => known === code);
}

function unforeseen(error: unknown): FanlightErrorCode {
  // A memory that cannot be made or grown is a RangeError in every engine; so is a stack that ran out.
  return error instanceof RangeError && /memory|alloc|buffer/i.test(error.message) ? 'out-of-memory' : 'worker-crashed';
}
