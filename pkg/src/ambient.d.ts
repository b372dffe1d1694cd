/** What the type checker cannot find by itself. */

/** The generated glue, as long as it has not been built. Once it has, its own types are read instead. */
declare module '*/fanlight.js' {
  const init: import('./engine.js').EngineModule['default'];
  export default init;
  export const Engine: import('./engine.js').EngineModule['Engine'];
  export const Digest: import('./engine.js').EngineModule['Digest'];
  export const estimate: import('./engine.js').EngineModule['estimate'];
  export const blockSum: import('./engine.js').EngineModule['blockSum'];
}

/** The same of the module of constraints. */
declare module '*/constraints.js' {
  const init: import('./engine.js').ConstraintsModule['default'];
  export default init;
  export const Constraints: import('./engine.js').ConstraintsModule['Constraints'];
}

/** Several readers of one file: in the specification, and not yet in TypeScript's library. */
interface FileSystemFileHandle {
  createSyncAccessHandle(options: { mode: 'read-only' }): Promise<FileSystemSyncAccessHandle>;
}
