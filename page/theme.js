// Runs before the page is painted, so that a chosen theme does not flash.
(() => {
  try {
    const theme = JSON.parse(localStorage.getItem("lutmac.theme"));
    if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
  } catch {
    // storage is blocked, or holds something else: as the system
  }
})();
