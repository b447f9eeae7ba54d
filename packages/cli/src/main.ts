#!/usr/bin/env node
import { readFileSync } from 'node:fs';
import { runCommandLine } from './command.ts';
import { probe } from './probe/command.ts';
import { processTerminal } from './terminal.ts';

const manifest: unknown = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'));
const version = typeof manifest === 'object' && manifest !== null && 'version' in manifest ? String(manifest.version) : 'unknown';

process.exitCode = await runCommandLine([probe], version, process.argv.slice(2), processTerminal());
