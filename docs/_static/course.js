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
