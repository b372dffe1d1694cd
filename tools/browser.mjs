// A browser whose work is timed: for the tools that measure the package as a page would use it.

import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { chromium } from 'playwright-core';

/** @typedef {{ wall: number, cpu: number }} Cost in milliseconds */
/** @typedef {{ page: import('playwright-core').Page, timed(work: (argument: any) => unknown, argument: unknown): Promise<Cost & { value: any }> }} Browser */

/**
 * With a browser of its own, so that its processes are not mixed with others. It has a profile on the disk, as a visitor's has:
 * without one, Chromium keeps the storage of pages in the memory of another process, and reading it takes three times as long.
 * @template T
 * @param {string} url
 * @param {(browser: Browser) => Promise<T>} work
 */
export async function withBrowser(url, work) {
  const args = ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--disable-background-networking'];
  const profile = mkdtempSync(path.join(tmpdir(), 'fanlight-'));
  const context = await chromium.launchPersistentContext(profile, { executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args });
  try {
    const page = await context.newPage();
    page.setDefaultTimeout(0);
    await page.goto(`${url}tests/browser/support/blank.html`);
    const pid = browserOf(profile);
    return await work({
      page,
      async timed(task, argument) {
        const [began, before] = [performance.now(), processorMs(pid)];
        const value = await page.evaluate(task, argument);
        return { value, wall: performance.now() - began, cpu: processorMs(pid) - before };
      },
    });
  } finally {
    await context.close();
    rmSync(profile, { recursive: true, force: true, maxRetries: 3 });
  }
}

/** The first process of the browser that has this profile: a child of this one. @param {string} profile */
function browserOf(profile) {
  const children = readFileSync(`/proc/self/task/${process.pid}/children`, 'utf8').trim().split(' ').map(Number);
  const found = children.find((pid) => readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(profile));
  if (found === undefined) throw new Error('the browser is not a child of this process');
  return found;
}

/** Processor time of a process and all that it started, from /proc. @param {number} root */
function processorMs(root) {
  const perTick = 1000 / Number(execFileSync('getconf', ['CLK_TCK']));
  /** @type {Map<number, { parent: number, ticks: number }>} */
  const all = new Map();
  for (const entry of readdirSync('/proc')) {
    if (!/^\d+$/.test(entry)) continue;
    try {
      const stat = readFileSync(`/proc/${entry}/stat`, 'utf8');
      // The name in brackets may have spaces in it. After it: state, parent, …, user and system time in the 12th and 13th place.
      const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      all.set(Number(entry), { parent: Number(fields[1]), ticks: Number(fields[11]) + Number(fields[12]) });
    } catch {
      // It has ended meanwhile.
    }
  }
  let sum = 0;
  for (const [pid, { ticks }] of all) {
    let at = pid;
    while (at !== root && all.has(at)) at = all.get(at)?.parent ?? 0;
    if (at === root) sum += ticks * perTick;
  }
  return sum;
}
