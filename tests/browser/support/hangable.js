// The package's worker, which hangs when it is told to: as far as anybody can see, it goes on for ever.

import '/pkg/dist/worker.js';

addEventListener('message', ({ data }) => {
  while (data.hang);
});
