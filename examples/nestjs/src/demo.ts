// node examples/nestjs/dist/demo.js: tries everything on both platforms, and ends with an error where an answer is not as expected.
import { attemptsOn } from './attempts.ts';

for (const platform of ['express', 'fastify'] as const) {
  console.log(`\nNestJS on ${platform}`);
  for (const { title, status, expected, body } of await attemptsOn(platform)) {
    console.log(`  ${status}  ${title}${body === '' ? '' : `  ${body}`}`);
    if (status !== expected) process.exitCode = 1;
  }
}
