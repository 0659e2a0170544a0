// Where a saved widget stands, the page names it in data-view, for notebooks may hold no scripts;
// what draws the widgets looks for them in scripts.
for (const frame of document.querySelectorAll(".still-widget[data-view]")) {
  const view = document.createElement("script");
  view.type = "application/vnd.jupyter.widget-view+json";
  const version = { version_major: 2, version_minor: 0 };
  view.textContent = JSON.stringify({ ...version, model_id: frame.dataset.view });
  frame.append(view);
}

// A saved widget shows one state and answers nobody: its controls cannot be moved, and its picture
// gets in words what they stand at. build_site.py has written these words into data-shows.
const CONTROLS = "input, select, button, .slider-container, .widget-readout";

function hold(frame) {
  for (const picture of frame.querySelectorAll("img:not([alt])")) {
    picture.alt = frame.dataset.shows;
  }
  for (const control of frame.querySelectorAll(CONTROLS)) {
    control.inert = true;
  }
}

for (const frame of document.querySelectorAll(".still-widget")) {
  new MutationObserver(() => hold(frame)).observe(frame, { childList: true, subtree: true });
}

// What scrolls sideways can be reached with the keyboard.
for (const box of document.querySelectorAll(".picture, .still-widget, .output.text_html")) {
  box.tabIndex = 0;
}

// A label must hold the words that are seen: "Search Ctrl+K" and "Show the setup".
for (const button of document.querySelectorAll(".search-button-field, details.hide > summary")) {
  const seen = button.querySelector(".collapsed") ?? button;
  button.ariaLabel = seen.textContent.replace(/\s+/g, " ").trim();
}

// Search shows lines of the pages that it has found; in a folder a browser may not read them.
if (location.protocol === "file:") {
  DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;
}
