// A React hook for a model in the page, and a component that uses it. For Vite, and for whatever else understands
// `new URL('…', import.meta.url)`.

import { Fanlight } from 'fanlight';
import { useEffect, useRef, useState } from 'react';

/** The model of this address: how far it is, and a function that asks it. It goes when the component goes. */
export function useFanlight(url) {
  const model = useRef(undefined);
  const [state, setState] = useState({ ready: false, share: 0, error: undefined });

  useEffect(() => {
    const abort = new AbortController();
    setState({ ready: false, share: 0, error: undefined });
    const onProgress = ({ loaded, total }) => setState((now) => ({ ...now, share: total ? loaded / total : 0 }));
    Fanlight.load(url, { signal: abort.signal, onProgress }).then(
      (loaded) => {
        if (abort.signal.aborted) return loaded.dispose();
        model.current = loaded;
        setState({ ready: true, share: 1, error: undefined });
      },
      (error) => abort.signal.aborted || setState({ ready: false, share: 0, error }),
    );
    return () => {
      abort.abort();
      void model.current?.dispose();
      model.current = undefined;
    };
  }, [url]);

  /** Calls `onText` with the answer as it grows. */
  async function ask(messages, onText) {
    let text = '';
    for await (const { choices } of await model.current.chat.completions.create({ messages, stream: true })) {
      text += choices[0]?.delta.content ?? '';
      onText(text);
    }
  }
  return { ...state, ask };
}

export function Ask({ url }) {
  const { ready, share, error, ask } = useFanlight(url);
  const [answer, setAnswer] = useState('');
  const onSubmit = (event) => {
    event.preventDefault();
    const content = new FormData(event.target).get('question');
    ask([{ role: 'user', content }], setAnswer).catch(({ message }) => setAnswer(message));
  };
  if (error) return <p role="alert">{error.message}</p>;
  if (!ready) return <progress value={share} aria-label="Loading the model" />;
  return (
    <form onSubmit={onSubmit}>
      <input name="question" aria-label="Question" /> <button>Ask</button>
      <p aria-live="polite">{answer}</p>
    </form>
  );
}
