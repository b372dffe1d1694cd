export default {
  // The package finds its workers and its engine beside its own modules, so Vite's development server must leave these where they are.
  optimizeDeps: { exclude: ['fanlight'] },
  build: { target: 'es2022' },
};
