/** Conversations side by side in one model, each with a memory of its own that can be copied, saved and taken back. */

import type { Crew, Host } from './client.js';
import { FanlightError, invalidArgument } from './errors.js';
import { type ChatCompletions, type Completions, Model, type ModelInfo } from './model.js';
import type { ChatCompletionParams, CompletionParams } from './openai.js';
import { checkChat, checkCompletion, isObject, known } from './params.js';
import type { MemoryAction } from './protocol.js';

/** Something that answers requests: the workers of a model, in one of its memories, or another tab's. */
export type Answering = Host;

/** What a session was saved as: what `save()` gave, or where it was put. */
export type SavedSession = Blob | ArrayBuffer | Uint8Array | string | URL;

/** Numbers of memories. 0 is that of the model itself. */
let memories = 0;

/** The workers of a model, with their memory for one session. */
class Room implements Answering {
  memory = ++memories;
  closed: FanlightError | undefined;
  readonly #crew: Crew;

  constructor(crew: Crew) {
    this.#crew = crew;
  }

  get leader(): Host['leader'] {
    return this.#crew.leader;
  }

  get ended(): FanlightError | undefined {
    return this.closed ?? this.#crew.ended;
  }

  generate(...[request, options]: Parameters<Crew['generate']>): ReturnType<Crew['generate']> {
    if (this.closed) return Promise.reject(this.closed);
    return this.#crew.generate(request, { ...options, memory: () => this.#number() });
  }

  end(reason: FanlightError): void {
    this.closed = reason;
  }

  /** The memory, if the session was not disposed while it waited. */
  #number(): number {
    if (this.closed) throw this.closed;
    return this.memory;
  }

  /** The model tells those who watch it. */
  onEnd(): void {}
}

/**
 * A conversation of its own: what was said in it stays in memory while others go on, so that its next turn begins at once.
 * Requests of all sessions of a model are answered one after the other.
 */
export class Session {
  /** Conversations, in the shape of the OpenAI API. */
  readonly chat: { readonly completions: ChatCompletions };
  /** Plain text, in the shape of the OpenAI API. */
  readonly completions: Completions;
  readonly #crew: Crew;
  readonly #info: ModelInfo;
  readonly #room: Room;

  private constructor(crew: Crew, info: ModelInfo, room: Room) {
    this.#crew = crew;
    this.#info = info;
    this.#room = room;
    const model = new Model(room, info);
    this.chat = model.chat;
    this.completions = model.completions;
  }

  /** @internal */
  static async open(crew: Crew, info: ModelInfo, from: SavedSession | undefined): Promise<Session> {
    const bytes = from === undefined ? undefined : await contentOf(from);
    const room = new Room(crew);
    await crew.memory(({ all }) => fill(all, room.memory, bytes));
    return new Session(crew, info, room);
  }

  /**
   * Computes the beginning of later requests now: a chat up to the end of its last message, or a text. Resolves with the
   * number of its tokens.
   */
  async prefill(params: ChatCompletionParams | CompletionParams, options?: { signal?: AbortSignal }): Promise<number> {
    const chat = isObject(params) && 'messages' in params;
    const { request, signal } = chat ? checkChat(params, options) : checkCompletion(params, options);
    let tokens = 0;
    await this.#room.generate(
      { ...request, promptOnly: true },
      {
        signal,
        onEvent(event) {
          if (event.kind === 'output') tokens = event.output.promptTokens ?? tokens;
        },
      },
    );
    return tokens;
  }

  /** Another session that remembers the same, and goes on apart. */
  async clone(): Promise<Session> {
    const room = new Room(this.#crew);
    await this.#crew.memory(async ({ plan, all }) => {
      const id = this.#open();
      const like = await plan(id);
      try {
        await all({ do: 'copy', id, to: room.memory, plan: like });
      } catch (error) {
        await all({ do: 'drop', id: room.memory }).catch(() => {}); // where there was memory for it
        throw error;
      }
    });
    return new Session(this.#crew, this.#info, room);
  }

  /** All that is remembered, for `restore` or `model.session({ from })`: for this model, in this version of the package. */
  async save(): Promise<Blob> {
    return this.#crew.memory(async ({ plan, all }) => {
      const id = this.#open();
      const parts = await all({ do: 'save', id, plan: await plan(id) });
      return new Blob(parts.flatMap((part) => (part ? [new Uint8Array(part)] : [])));
    });
  }

  /**
   * Forgets what is remembered, and remembers what was saved. Rejects with `malformed-file`, `integrity` (damaged) or
   * `invalid-argument` (of another model, version or build), and is then as before.
   */
  async restore(saved: SavedSession): Promise<void> {
    const bytes = await contentOf(saved);
    await this.#crew.memory(async ({ all }) => {
      const before = this.#open();
      const after = ++memories;
      await fill(all, after, bytes);
      this.#room.memory = after;
      await all({ do: 'drop', id: before });
    });
  }

  /** Forgets everything, and frees its memory. */
  async dispose(): Promise<void> {
    if (this.#room.ended) return;
    await this.#crew.memory(async ({ all }) => {
      if (this.#room.ended) return;
      this.#room.end(new FanlightError('closed', 'The session was disposed.'));
      await all({ do: 'drop', id: this.#room.memory });
    });
  }

  /** The number of its memory. */
  #open(): number {
    if (this.#room.ended) throw this.#room.ended;
    return this.#room.memory;
  }
}

/** Checks the options of `model.session`. */
export function checkSession(options: unknown): SavedSession | undefined {
  const { from } = known('session', options ?? {}, new Set(['from']));
  return from === undefined ? undefined : checkSaved('from', from);
}

function checkSaved(name: string, saved: unknown): SavedSession {
  if (saved instanceof Blob || saved instanceof ArrayBuffer || saved instanceof Uint8Array) return saved;
  if (typeof saved === 'string' || saved instanceof URL) return saved;
  throw invalidArgument(name, saved, 'a Blob, bytes, or an address');
}

/** Makes a memory on all shards: a new one, or from bytes. Where that fails for one, none has it. */
async function fill(
  all: (action: MemoryAction, transfer?: Transferable[]) => Promise<unknown>,
  id: number,
  content: Content | undefined,
): Promise<void> {
  try {
    await (content ? all({ do: 'load', id, bytes: content.bytes }, content.transfer) : all({ do: 'new', id }));
  } catch (error) {
    await all({ do: 'drop', id }).catch(() => {}); // those that have none refuse, and that is well
    throw error;
  }
}

/** What was saved, and what of it nobody else needs. */
interface Content {
  readonly bytes: Uint8Array | Blob;
  readonly transfer: Transferable[];
}

async function contentOf(saved: SavedSession): Promise<Content> {
  const source = checkSaved('saved', saved);
  if (source instanceof Uint8Array || source instanceof Blob) return { bytes: source, transfer: [] };
  if (source instanceof ArrayBuffer) return { bytes: new Uint8Array(source), transfer: [] };
  let response: Response;
  try {
    response = await fetch(source);
    if (response.ok) {
      const buffer = await response.arrayBuffer();
      return { bytes: new Uint8Array(buffer), transfer: [buffer] };
    }
  } catch (cause) {
    throw new FanlightError('network', `The saved session at ${source} could not be fetched.`, { cause });
  }
  throw new FanlightError('network', `The server answered ${response.status} to ${source}, where a saved session was expected.`);
}
