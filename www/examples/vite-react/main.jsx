// A page with one question and one answer. VITE_MODEL, or the file `public/model.gguf`, is the model.

import { createRoot } from 'react-dom/client';
import { Ask } from './use-fanlight.jsx';

createRoot(document.getElementById('root')).render(<Ask url={import.meta.env.VITE_MODEL ?? '/model.gguf'} />);
