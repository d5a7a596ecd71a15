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

  // What somebody is filling in is left alone.
  const isChanged = (one) => one === document.activeElement
    || (one.options ? [...one.options].some((option) => option.selected !== option.defaultSelected && option.index > 0)
      : one.value !== one.defaultValue);
  const isFilledIn = () => [...live.querySelectorAll('input:not([type=hidden]), select, textarea')].some(isChanged);
  // A link that had the focus keeps it, and what was folded open stays so.
  const put = (html) => {
    if (isFilledIn()) return;
    const open = [...live.querySelectorAll('details')].map((one) => one.open);
    const at = live.contains(document.activeElement) ? document.activeElement.getAttribute('href') : null;
    live.innerHTML = policy.createHTML(html);
    live.querySelectorAll('details').forEach((one, nth) => { one.open = open[nth] ?? false; });
    if (at !== null) live.querySelector(`[href="${CSS.escape(at)}"]`)?.focus({ preventScroll: true });
  };
  const follow = () => {
    source = new EventSource('/live?path=' + encodeURIComponent(live.dataset.live));
    source.onopen = () => { lost.hidden = true; };
    source.onerror = () => {
      lost.hidden = false;
      // A browser that was turned away does not ask again by itself; the page says who has to sign in.
      if (source.readyState === EventSource.CLOSED) setTimeout(() => location.reload(), 5000);
    };
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
