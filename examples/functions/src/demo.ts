// Prints what came of the calls as a table.
import { printAnswers, printVerdict, style } from '@holdfast/example-main-job/report';
import { runFunctions } from './functions.ts';

const answers = (await runFunctions()).map(({ platform, title, expected, status, challenges, reason }) => ({
  heading: platform,
  step: '',
  title,
  expected: String(expected),
  answer: String(status),
  challenges: challenges === '' ? [] : [challenges],
  reason,
}));
console.log(`\n ${style('bold', 'Holdfast in functions: the platform says which certificate the client has')}`);
printAnswers(answers);
printVerdict(answers);
