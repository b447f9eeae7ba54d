// Prints what came of the requests as a table.
import { printAnswers, printVerdict, style } from '@holdfast/example-main-job/report';
import { runHono } from './hono.ts';

const answers = (await runHono()).map(({ title, expected, status, challenges, reason }) => ({
  heading: 'Hono on Node',
  step: '',
  title,
  expected: String(expected),
  answer: String(status),
  challenges: challenges === '' ? [] : [challenges],
  reason,
}));
console.log(`\n ${style('bold', 'Holdfast with Hono: Request and Response')}`);
printAnswers(answers);
printVerdict(answers);
