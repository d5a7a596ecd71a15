// Puts what changed in its place. Without it every page says how things stood when it was asked for.
(() => {
  const live = document.getElementById('live');
  const pause = document.getElementById('pause');
  const lost = document.getElementById('lost');
  const time = document.querySelector('.pulse time');
  if (!live || !window.EventSource) return;
  const plain = { createHTML: (text) => text };
  // What comes in was made and escaped by the same server as the page.
  const policy = window.trustedTypes ? window.trustedTypes.createPolicy('seinhuis', plain) : plain;
  let source;

  // A link that had the focus keeps it, and what was folded open stays so.
  const put = (html) => {
    const open = [...live.querySelectorAll('details')].map((one) => one.open);
    const at = live.contains(document.activeElement) ? document.activeElement.getAttribute('href') : null;
    live.innerHTML = policy.createHTML(html);
    live.querySelectorAll('details').forEach((one, nth) => { one.open = open[nth] ?? false; });
    if (at !== null) live.querySelector(`[href="${CSS.escape(at)}"]`)?.focus({ preventScroll: true });
  };
  const follow = () => {
    source = new EventSource('/live?path=' + encodeURIComponent(live.dataset.live));
    source.onopen = () => { lost.hidden = true; };
    source.onerror = () => { lost.hidden = false; };
    source.onmessage = (event) => {
      const end = event.data.indexOf('\n');
      lost.hidden = true;
      time.textContent = event.data.slice(0, end);
      put(event.data.slice(end + 1));
    };
    source.addEventListener('over', () => { source.close(); location.reload(); });
  };
  pause.hidden = false;
  pause.addEventListener('click', () => {
    const stops = pause.getAttribute('aria-pressed') === 'false';
    pause.setAttribute('aria-pressed', String(stops));
    pause.textContent = stops ? pause.dataset.go : pause.dataset.stop;
    if (stops) source.close(); else follow();
  });
  follow();
})();
