// What `npm test` runs: one step after the other, up to the first that fails. The last line is `N passed, N failed, N skipped`.
// Arguments go to vitest, and then only the tests run, after the build that some of them need: `npm test -- test/rfc`.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const temporary = mkdtempSync(join(tmpdir(), 'holdfast test '));
process.on('exit', () => rmSync(temporary, { recursive: true, force: true }));
const report = join(temporary, 'vitest.json');
const chosen = process.argv.slice(2);

const build = { headline: 'build', bin: ['typescript', 'tsc'], args: ['-b'] };
const checks = [
  { headline: 'types that must and must not compile', bin: ['typescript', 'tsc'], args: ['-p', 'test/types'] },
  { headline: 'types of the tests', bin: ['typescript', 'tsc'], args: ['-p', 'test'] },
  { headline: 'lint', bin: ['oxlint', 'oxlint'], args: ['--type-aware', '--deny-warnings'] },
  { headline: 'format', bin: ['@biomejs/biome', 'biome'], args: ['format', '.'], fix: 'npm run format' },
  { headline: 'unused code and dependencies', bin: ['knip', 'knip'], args: [] },
];
const tests = {
  headline: 'tests',
  shown: ['run', ...chosen],
  bin: ['vitest', 'vitest'],
  args: ['run', '--reporter=default', '--reporter=./.ci/skip-reasons.mjs', '--reporter=json', `--outputFile.json=${report}`, ...chosen],
};

const steps = chosen.length > 0 ? [build, tests] : [build, ...checks, tests];
for (const [index, step] of steps.entries()) {
  console.log(`\n[${index + 1}/${steps.length}] ${step.headline}: ${[step.bin[1], ...(step.shown ?? step.args)].join(' ')}`);
  const start = performance.now();
  const failure = run(step);
  const seconds = ((performance.now() - start) / 1000).toFixed(1);
  if (step === tests) {
    finish(failure);
  } else if (failure === undefined) {
    console.log(`    passed in ${seconds} s`);
  } else {
    const fix = step.fix === undefined ? '' : ` It may be mended by: ${step.fix}.`;
    console.log(`\nStopped at step ${index + 1}, ${step.headline}, after ${seconds} s: ${failure}.${fix} No test has run.`);
    console.log('0 passed, 1 failed, 0 skipped');
    process.exit(1);
  }
}

/** Runs a tool of the workspace with this Node, and says what went wrong. */
function run({ bin: [name, command], args }) {
  const folder = join(root, 'node_modules', name);
  const { bin } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
  // Some tools colour their output in CI whether or not anybody sees it.
  const { FORCE_COLOR, ...environment } = process.env;
  const env = process.stdout.isTTY || FORCE_COLOR !== undefined ? process.env : { ...environment, NO_COLOR: '1' };
  const { status, signal, error } = spawnSync(process.execPath, [join(folder, bin[command]), ...args], {
    cwd: root,
    stdio: 'inherit',
    env,
  });
  if (error !== undefined) return `${command} could not be started (${error.code})`;
  if (signal !== null) return `${command} was ended by ${signal}`;
  return status === 0 ? undefined : `${command} ended with exit code ${status}`;
}

/** Sums up vitest's own report. What failed outside of any test (a file that cannot be loaded, a stray error) counts as failed too. */
function finish(failure) {
  let files = [];
  try {
    files = JSON.parse(readFileSync(report, 'utf8')).testResults;
  } catch {
    console.log('vitest has left no report.');
  }
  const results = files.flatMap(({ name, assertionResults }) =>
    assertionResults.map((result) => ({ ...result, file: relative(root, name).replaceAll('\\', '/') })),
  );
  const count = (wanted) => results.filter(({ status }) => status === wanted).length;
  const broken = files.filter(
    ({ status, assertionResults }) => status === 'failed' && !assertionResults.some((result) => result.status === 'failed'),
  );
  const failed = count('failed') + broken.length;
  const skipped = results.filter(({ status }) => status !== 'passed' && status !== 'failed');
  // Where only some tests were chosen, the others count as skipped, and need no reason.
  const listed = skipped.filter(({ meta }) => chosen.length === 0 || meta.skipReason !== undefined);

  if (listed.length > 0) console.log('Skipped:');
  for (const { file, fullName, status, meta } of listed) {
    console.log(`  ${file}: ${fullName.trim()} (${meta.skipReason ?? (status === 'todo' ? 'still to be written' : 'no reason given')})`);
  }
  for (const { name, message } of broken) console.log(`Failed outside of its tests: ${relative(root, name)}: ${message.split('\n')[0]}`);
  if (failure !== undefined && failed === 0) console.log(`No test failed, but ${failure}.`);
  console.log(`${count('passed')} passed, ${failure === undefined ? failed : Math.max(failed, 1)} failed, ${skipped.length} skipped`);
  process.exit(failure === undefined && failed === 0 ? 0 : 1);
}
