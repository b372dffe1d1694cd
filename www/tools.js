// Tools that the model may call in the chat. All of them run here; none asks anybody else.

/** @typedef {import('./vendor/fanlight/dist/index.js').RunnableTool} RunnableTool */

/** What people read beside each. @type {{ label: string, tool: RunnableTool }[]} */
export const tools = [
  {
    label: 'The clock',
    tool: {
      type: 'function',
      function: {
        name: 'get_time',
        description: 'The date and the time of day, now.',
        parameters: {
          type: 'object',
          properties: { time_zone: { type: 'string', description: 'An IANA time zone such as Europe/Lisbon' } },
        },
        function: ({ time_zone }) =>
          new Date().toLocaleString('en-GB', {
            dateStyle: 'full',
            timeStyle: 'long',
            ...(time_zone && { timeZone: String(time_zone) }),
          }),
      },
    },
  },
  {
    label: 'Dice',
    tool: {
      type: 'function',
      function: {
        name: 'roll_dice',
        description: 'Rolls dice and gives what each shows.',
        parameters: {
          type: 'object',
          properties: { count: { type: 'integer', description: 'How many dice, at most 20' } },
          required: ['count'],
        },
        function: ({ count }) =>
          Array.from({ length: Math.min(20, Math.max(1, Number(count) || 1)) }, () => 1 + Math.floor(Math.random() * 6)),
      },
    },
  },
  {
    label: 'The weather (invented: nothing is looked up)',
    tool: {
      type: 'function',
      function: {
        name: 'get_weather',
        description: 'The weather in a city, now.',
        parameters: {
          type: 'object',
          properties: { city: { type: 'string', description: 'The name of the city' } },
          required: ['city'],
        },
        function: ({ city }) => ({ city, sky: 'sunny', celsius: 21 }),
      },
    },
  },
];
