const find = (id) => document.getElementById(id);

find('ask').addEventListener('submit', async (event) => {
  event.preventDefault();
  find('answer').textContent = '…';
  const { answer, error } = await chrome.runtime.sendMessage({ ask: find('question').value });
  find('answer').textContent = answer ?? error;
});
