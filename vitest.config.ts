import { defineConfig } from 'vitest/config';

export default defineConfig({
  // Packages resolve to their sources, so that what is tested is what is written and not what was built last.
  ssr: { resolve: { conditions: ['@holdfast/source'], externalConditions: ['@holdfast/source'] } },
  resolve: { conditions: ['@holdfast/source'] },
  test: {
    include: ['test/**/*.test.ts', 'packages/*/src/**/*.test.ts'],
    exclude: ['**/node_modules/**', '**/dist/**'],
    testTimeout: 30_000,
    hookTimeout: 60_000,
    // A busy machine is no defect: what is polled for comes, or the test fails by its own time limit.
    expect: { poll: { timeout: 20_000 } },
  },
});
