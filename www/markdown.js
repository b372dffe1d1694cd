// What a model writes, as Markdown. A model's text is not trusted: markup in it is shown as text, and what Markdown makes of the
// rest passes through a filter that knows a short list of elements. Nothing that runs, loads or looks like the page gets through.

import DOMPurify from './vendor/dompurify.js';
import { Marked } from './vendor/marked.js';

const TAGS = 'a blockquote br code del em h3 h4 h5 h6 hr li ol p pre s strong table tbody td th thead tr ul'.split(' ');

const marked = new Marked({
  gfm: true,
  breaks: true,
  renderer: {
    /** Markup is text. */
    html: ({ text }) => escaped(text),
    /** An image would be fetched; its description is enough. */
    image: ({ text }) => escaped(text),
    checkbox: ({ checked }) => (checked ? '☑ ' : '☐ '),
    /** The page has headings of its own above these. */
    heading({ tokens, depth }) {
      const level = Math.min(6, depth + 2);
      return `<h${level}>${this.parser.parseInline(tokens)}</h${level}>`;
    },
  },
});

/** The elements of a text. @param {string} text */
export function markdown(text) {
  const fragment = DOMPurify.sanitize(marked.parse(text, { async: false }), {
    ALLOWED_TAGS: TAGS,
    ALLOWED_ATTR: ['href', 'start', 'align'],
    ALLOWED_URI_REGEXP: /^(?:https?:|mailto:)/i,
    ALLOW_DATA_ATTR: false,
    ALLOW_ARIA_ATTR: false,
    RETURN_DOM_FRAGMENT: true,
  });
  for (const link of fragment.querySelectorAll('a')) {
    link.target = '_blank';
    link.rel = 'noopener noreferrer';
  }
  for (const block of fragment.querySelectorAll('pre, table')) {
    if (block instanceof HTMLElement) block.tabIndex = 0; // it may scroll, so the keyboard must reach it
  }
  return fragment;
}

/** What the first text costs is paid while nobody waits for it: the browser compiles expressions when they are first used. */
export function warmUpMarkdown() {
  (globalThis.requestIdleCallback ?? setTimeout)(() => markdown('A *first* `text`.\n\n1. One\n2. Two'));
}

/** @param {string} text */
function escaped(text) {
  return text.replace(/[&<>"']/g, (letter) => `&#${letter.charCodeAt(0)};`);
}
