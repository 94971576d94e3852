// Light, dark, or what the system says. A plain script in the head, so that the page never flashes in the wrong colours.
"use strict";
(() => {
  const order = ["auto", "dark", "light"];
  const root = document.documentElement;
  const kept = () => {
    try { return localStorage.getItem("theme"); } catch { return null; } // storage may be forbidden
  };
  const keep = (theme) => {
    try { localStorage.setItem("theme", theme); } catch { /* then it lasts until the page is left */ }
  };
  const show = (theme) => {
    root.dataset.theme = theme;
    const button = document.getElementById("theme");
    if (button) button.textContent = `Theme: ${theme}`;
  };
  show(order.includes(kept()) ? kept() : "auto");
  document.addEventListener("DOMContentLoaded", () => {
    show(root.dataset.theme);
    document.getElementById("theme").addEventListener("click", () => {
      const next = order[(order.indexOf(root.dataset.theme) + 1) % order.length];
      keep(next);
      show(next);
    });
  });
})();
