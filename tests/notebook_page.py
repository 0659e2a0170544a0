"""A notebook in JupyterLab, in Chromium: what the tests do there and look at."""

import math
import re
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import nbformat
from browser import JupyterLab, wait_until

WIDTH, HEIGHT = 1366, 768  # a laptop's screen
LIMIT = 100  # milliseconds that a slider may take longer than an empty one
PRESSES, ROUNDS = 5, 5
PATIENCE = 5_000  # milliseconds until a picture counts as missing

# The cell that is added to each notebook: a slider that does nothing but exchange two pictures.
EMPTY = """\
def _empty_slider():
    import io
    import ipywidgets
    from PIL import Image

    pictures = []
    for colour in ("white", "black"):
        Image.new("RGB", (8, 8), colour).save(file := io.BytesIO(), format="PNG")
        pictures.append(file.getvalue())
    slider = ipywidgets.IntSlider(0, 0, 1000, description="empty")
    picture = ipywidgets.Image(value=pictures[0], layout={"width": "8px"})
    slider.observe(lambda change: setattr(picture, "value", pictures[change.new % 2]), "value")
    return ipywidgets.VBox([slider, picture])


_empty_slider()
"""

# The time is taken in the page: from the key, as it reached the browser, to the picture's load.
WATCH = """
document.addEventListener('keydown', event => { window.pressed = event.timeStamp }, true);
window.expect = image => { image.coming = new Promise(resolve => image.addEventListener(
    'load', () => resolve(performance.now() - window.pressed), {once: true})) };
window.arrival = (image, patience) => Promise.race(
    [image.coming, new Promise(resolve => setTimeout(resolve, patience, null))]);
window.look = async image => {
    const canvas = new OffscreenCanvas(image.naturalWidth, image.naturalHeight);
    const context = canvas.getContext('2d');
    context.drawImage(image, 0, 0);
    const pixels = context.getImageData(0, 0, canvas.width, canvas.height).data;
    const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', pixels));
    return [...digest].map(byte => byte.toString(16)).join(' ') };
window.place = image => {  // of the picture in its output, and the height of what belongs to it
    const output = image.closest('.jp-OutputArea'), a = image.getBoundingClientRect();
    const b = output.getBoundingClientRect();
    return [a.x - b.x, a.y - b.y, a.width, a.height, b.height].map(Math.round) };
"""

# Kind: (what holds the label, what is operated, where its value stands)
CONTROLS = {
    "slider": (".widget-slider", ".noUi-handle", "e => e.getAttribute('aria-valuenow')"),
    "dropdown": (".widget-dropdown", "select", "e => e.selectedIndex"),
    "buttons": (
        ".widget-toggle-buttons",
        ".widget-toggle-button:first-child",
        "e => [...e.parentElement.children].findIndex(b => b.classList.contains('mod-active'))",
    ),
    "checkbox": (".widget-checkbox", "input", "e => e.checked"),
}
BOX_WITH_PICTURE = (
    "xpath=ancestor::*[contains(@class, 'widget-box')][.//img[contains(@class, 'widget-image')]][1]"
)


EMPTY_PROMPT = "[ ]:"
# JupyterLab says so of its own parts on a slow or busy machine; no other line is tolerated.
TOLERATED = re.compile(r"warning: Plugin \S+ .*took [\d.]+ ?ms to activate\.", re.DOTALL)


class Latency(NamedTuple):
    """Medians in milliseconds, from a key press to the new picture."""

    slider: str
    milliseconds: float
    empty: float

    def __str__(self) -> str:
        return f"{self.slider:32} {self.milliseconds:5.0f} ms, empty {self.empty:3.0f} ms"


def prepare(source: Path, target: Path) -> None:
    """Copy a notebook without its outputs, with the empty slider in a last cell."""
    notebook = nbformat.read(source, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    notebook.metadata.pop("widgets", None)
    notebook.cells.append(nbformat.v4.new_code_cell(EMPTY))
    nbformat.write(notebook, target)


class NotebookPage:
    """One notebook, opened alone, with a kernel of its own."""

    def __init__(self, context, lab: JupyterLab, name: str):
        self.lab, self.name = lab, name
        self.console: list[str] = []
        self.page = page = context.new_page()
        page.set_default_timeout(60_000)
        page.add_init_script(WATCH)
        page.on("console", self._note)
        page.on("pageerror", lambda error: self.console.append(f"uncaught: {error}"))
        self.root = page.locator(".jp-NotebookPanel:visible .jp-Notebook")
        self.code_cells = self.root.locator(".jp-CodeCell")

    def open(self) -> None:
        self.page.goto(self.lab.address(self.name))
        self.root.wait_for()
        self.page.locator("#jupyterlab-splash").wait_for(state="detached")
        wait_until(self._kernel_is_ready, "the kernel")

    def _note(self, message) -> None:
        line = f"{message.type}: {message.text}"
        if message.type in ("error", "warning") and not TOLERATED.fullmatch(line):
            self.console.append(line)

    def _kernel_is_ready(self) -> bool:
        try:
            kernels = self.lab.api("kernels")
        except OSError:  # the server fails when asked while a kernel starts
            return False
        return [(k["execution_state"], k["connections"] > 0) for k in kernels] == [("idle", True)]

    def close(self) -> None:
        """Close the page and shut its kernel down."""
        self.page.close()
        for session in self.lab.api("sessions"):
            self.lab.api(f"sessions/{session['id']}", "DELETE")

    def choose(self, menu: str, item: str) -> None:
        """Choose from the menu bar."""
        self.page.get_by_role("menuitem", name=menu, exact=True).first.click()
        self.page.get_by_role("menuitem", name=item).first.click()

    def run_all(self, seconds: float = 240) -> None:
        self._run_all(lambda: self.choose("Run", "Run All Cells"), seconds)

    def restart_and_run_all(self, seconds: float = 240) -> None:
        def start() -> None:
            self.choose("Kernel", "Restart Kernel and Run All Cells")
            self.page.get_by_role("button", name="Confirm Kernel Restart").click()

        self._run_all(start, seconds)

    def _run_all(self, start: Callable[[], None], seconds: float) -> None:
        prompts = self.code_cells.locator(".jp-InputPrompt")
        before = prompts.last.text_content()
        start()
        prompts.filter(has_text="*").first.wait_for(state="attached")
        busy = time.monotonic()

        def done() -> bool:
            nonlocal busy
            texts = prompts.all_text_contents()
            if any("*" in text for text in texts):
                busy = time.monotonic()
                return False
            # JupyterLab may pause between two cells; after an error it runs no other.
            return texts[-1] not in (before, EMPTY_PROMPT) or time.monotonic() > busy + 20

        wait_until(done, "the cells", seconds)
        self.page.wait_for_timeout(500)  # widgets are drawn after their cell

    def run(self, cell) -> None:
        """Run one code cell."""
        prompt = cell.locator(".jp-InputPrompt")
        before = prompt.text_content()
        cell.locator(".cm-content").click()
        self.page.keyboard.press("Control+Enter")
        done = lambda text: text != before and "*" not in text  # noqa: E731
        wait_until(lambda: done(prompt.text_content()), "the cell")

    def errors(self) -> list[str]:
        """Return what the outputs say on standard error, and their errors."""
        kinds = ("error", "stderr")
        types = [f"[data-mime-type='application/vnd.jupyter.{kind}']" for kind in kinds]
        texts = self.root.locator(", ".join([*types, ".srlib-error"])).all_text_contents()
        return [text.strip()[-300:] for text in texts]

    def faults(self) -> list[str]:
        """Return what is wrong after all cells have run."""
        faults = self.errors()
        prompts = self.code_cells.locator(".jp-InputPrompt").all_text_contents()
        not_run = [k for k, prompt in enumerate(prompts) if not re.search(r"\d", prompt)]
        faults += [f"code cell {k} has not run" for k in not_run]
        pictures = self.root.locator(".jp-RenderedImage img")
        widths = pictures.evaluate_all("images => images.map(image => image.naturalWidth)")
        faults += [f"figure {k} is empty" for k, width in enumerate(widths) if not width]
        faults += ["there is no figure"] * (not widths)
        labels = self.root.locator(".widget-label:visible")
        cut = "all => all.filter(e => e.scrollWidth > e.clientWidth + 1).map(e => e.textContent)"
        return faults + [f"cut label: {text}" for text in labels.evaluate_all(cut)]

    def screenshot(self, path: Path) -> None:
        """Take the whole notebook, at a laptop's width."""
        path.parent.mkdir(parents=True, exist_ok=True)
        last = self.code_cells.last
        height, bottom = 0, 12_000
        for _ in range(6):  # what is out of sight has a guessed height
            if height == bottom:
                break
            height = bottom
            self.page.set_viewport_size({"width": WIDTH, "height": height})
            self.page.wait_for_timeout(500)
            self.root.evaluate("e => e.querySelector('.jp-WindowedPanel-outer').scrollTop = 0")
            bottom = int(last.evaluate("e => e.getBoundingClientRect().bottom")) + 60
        self.page.screenshot(path=path, type="jpeg", quality=85)
        self.page.set_viewport_size({"width": WIDTH, "height": HEIGHT})

    def controls(self) -> list["Control"]:
        """Return the notebook's controls; the last slider is the empty one."""
        found = []
        for kind, (holder, _, _) in CONTROLS.items():
            holders = self.root.locator(f"{holder}:visible")
            found += [Control(self, kind, holders.nth(k)) for k in range(holders.count())]
        return found

    def move_everything(self) -> tuple[list[str], list[Latency]]:
        """Move every control to both its ends, and each slider step by step.

        Return what is wrong, and the sliders' times.
        """
        controls = self.controls()
        sliders = [control for control in controls if control.kind == "slider"]
        if not sliders:
            return ["there is no slider"], []
        empty = sliders[-1]
        faults, latencies = [], []
        for control in controls:
            if control is empty:
                continue
            found = control.faults()
            faults += found
            if control.kind == "slider" and not found:
                latencies.append(latency := control.measure(empty))
                if latency.milliseconds > latency.empty + LIMIT:
                    faults.append(f"slow: {latency}")
        errors = self.errors()
        for slider in sliders:
            if slider.picture:
                slider.press("End", patience=1500)
        faults += [f"all at the end: {new}" for new in self.errors() if new not in errors]
        return faults, latencies


class Control:
    """Something that changes a picture."""

    def __init__(self, owner: NotebookPage, kind: str, holder):
        _, operated, self._value = CONTROLS[kind]
        self.owner, self.kind, self.holder = owner, kind, holder
        self.handle = holder.locator(operated).first
        texts = holder.locator(".widget-label, .widget-label-basic").all_text_contents()
        self.label = "".join(texts).strip("\u200b ")
        box = holder.locator(BOX_WITH_PICTURE)
        self.picture = box.locator("img.widget-image").first if box.count() else None

    def value(self):
        return self.handle.evaluate(self._value)

    def press(self, key: str, patience: int = PATIENCE) -> float | None:
        """Press a key on it; return the milliseconds to the new picture, None if there is none."""
        before = self.value()
        self.handle.evaluate("e => e.focus({preventScroll: true})")
        self.picture.evaluate("expect")
        self.owner.page.keyboard.press(key)
        return self.arrival(patience) if self.value() != before else None

    def arrival(self, patience: int = PATIENCE) -> float | None:
        return self.picture.evaluate("(image, patience) => arrival(image, patience)", patience)

    def to(self, position) -> None:
        """Set a control that is no slider."""
        if self.kind == "dropdown":
            self.handle.select_option(index=position)
        elif self.kind == "buttons":
            self.holder.locator(".widget-toggle-button").nth(position).click()
        else:
            self.handle.set_checked(position)

    def positions(self) -> list:
        """Return the first and the last value of a control that is no slider."""
        if self.kind == "checkbox":
            return [False, True]
        parts = "option" if self.kind == "dropdown" else ".widget-toggle-button"
        return [0, self.holder.locator(parts).count() - 1]

    def faults(self) -> list[str]:
        """Move it to both ends and back; return what is wrong."""
        name = f"{self.kind} '{self.label}'"
        if self.picture is None:
            return [f"{name}: has no picture"] if self.kind == "slider" else []
        self.holder.scroll_into_view_if_needed()
        box = self.handle.bounding_box()
        self.start = box["x"] + box["width"] / 2
        moves = self._slider_moves() if self.kind == "slider" else self._other_moves(self.value())
        seen, faults, errors = {}, [], self.owner.errors()
        place = self.picture.evaluate("place")
        for where, move in moves:
            before = self.value()
            self.picture.evaluate("expect")
            move()
            if self.value() == before:
                continue
            arrived = self.arrival() is not None
            if new := [error for error in self.owner.errors() if error not in errors]:
                return [*faults, f"{name} to the {where}: {new[0]}"]
            if not arrived:
                faults.append(f"{name} to the {where}: no new picture")
                continue
            seen[self.value()] = self.picture.evaluate("look")
            self.owner.page.wait_for_timeout(150)  # the caption comes after the picture
            if self.label != "photo" and place != (now := self.picture.evaluate("place")):
                faults.append(f"{name} to the {where}: the layout jumps, {place} to {now}")
        if len(seen) < 2:
            faults.append(f"{name}: cannot be moved")
        if len(set(seen.values())) < len(seen):
            faults.append(f"{name}: two of {list(seen)} have the same picture")
        return faults

    def _slider_moves(self):
        press = self.owner.page.keyboard.press
        ends = ["End", "Home"]
        if self.value() == self.handle.get_attribute("aria-valuemax"):
            ends.reverse()
        self.handle.focus()
        return [*((end, lambda end=end: press(end)) for end in ends), ("start", self._back)]

    def _back(self) -> None:
        """Click where the handle was in the beginning, or a few pixels beside."""
        track = self.handle.bounding_box()
        self.owner.page.mouse.click(self.start, track["y"] + track["height"] / 2)

    def _other_moves(self, start):
        ends = [end for end in self.positions() if end != start] + [start]
        return [(str(end), lambda end=end: self.to(end)) for end in ends]

    def measure(self, empty: "Control") -> Latency:
        """Press keys here and on the empty slider, by turns."""
        self.holder.scroll_into_view_if_needed()
        key = "ArrowRight"
        for _ in range(ROUNDS):  # what else the machine does can only add time
            own, others = [], []
            for _ in range(PRESSES):
                before = self.value()
                took = self.press(key, patience=1500)
                if self.value() == before:  # it is at its end
                    key = {"ArrowRight": "ArrowLeft", "Home": "End"}.get(key, "Home")
                    took = self.press(key, patience=1500)
                own.append(math.inf if took is None else took)
                if took is None:  # a step may be too small to change a pixel
                    key = "End"
                elif key in ("End", "Home"):
                    key = "Home" if key == "End" else "End"
                others.append(empty.press("ArrowRight"))
                self.owner.page.wait_for_timeout(50)
            result = Latency(self.label, statistics.median(own), statistics.median(others))
            if result.milliseconds <= result.empty + LIMIT:
                break
            self.owner.page.wait_for_timeout(1000)
        self._back()
        return result
